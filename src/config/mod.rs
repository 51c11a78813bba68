//! Configuration: defaults, then the file, then the environment, then flags; checked as a whole, every fault at once.
//!
//! One struct a section, its fields named as the keys. Knows no command line and no runtime; reads the file it is given.

mod audio;
mod auth;
mod check;
mod connections;
mod fault;
mod ip_range;
mod limits;
mod load;
mod origin;
mod secret;
mod server;
mod services;
mod setting;
mod show;
mod telemetry;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use audio::{AudioConfig, Durability, RecordingConfig};
pub use auth::{AuthConfig, AuthMode, HS256_SECRET_BYTES_MIN};
pub use connections::{ConnectionsConfig, OnDuplicate, SessionConfig};
pub use fault::{ConfigError, ConfigFault, Origin};
pub use ip_range::IpRange;
pub use limits::{LimitsConfig, MESSAGES_BURST_S};
pub use load::{ConfigFile, ENV_PREFIX, FILE_NAME, Flag, Loaded, load};
pub use origin::{OriginRule, OriginRuleError, may_be_rebound};
pub use secret::{MASK, Secret, ServiceUrl};
pub use server::ServerConfig;
pub use services::{LogConfig, LogFormat, MonitoringConfig, ResponderConfig, ResponderKind, StoreConfig};
pub use telemetry::TelemetryConfig;

use setting::Section;

/// The whole configuration. Serialising masks secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// Where the server listens, what it lets in and how it stops.
    pub server: ServerConfig,
    /// Who may connect.
    pub auth: AuthConfig,
    /// How many connections a client may have, and when one is dead.
    pub connections: ConnectionsConfig,
    /// What outlives a dropped socket.
    pub session: SessionConfig,
    /// What streams become and how many there may be.
    pub audio: AudioConfig,
    /// What is kept of streams.
    pub recording: RecordingConfig,
    /// The size and rate of what one connection sends.
    pub limits: LimitsConfig,
    /// Where lasting things are kept.
    pub store: StoreConfig,
    /// Who answers `text`.
    pub responder: ResponderConfig,
    /// What is logged, how and where.
    pub log: LogConfig,
    /// The history of measurements kept in memory.
    pub monitoring: MonitoringConfig,
    /// Whereto traces are exported.
    pub telemetry: TelemetryConfig,
}

/// The sections in the order of the documentation.
const SECTIONS: [&str; 12] = [
    "server",
    "auth",
    "connections",
    "session",
    "audio",
    "recording",
    "limits",
    "store",
    "responder",
    "log",
    "monitoring",
    "telemetry",
];

impl Config {
    fn section(&self, name: &str) -> Option<&dyn Section> {
        Some(match name {
            "server" => &self.server,
            "auth" => &self.auth,
            "connections" => &self.connections,
            "session" => &self.session,
            "audio" => &self.audio,
            "recording" => &self.recording,
            "limits" => &self.limits,
            "store" => &self.store,
            "responder" => &self.responder,
            "log" => &self.log,
            "monitoring" => &self.monitoring,
            "telemetry" => &self.telemetry,
            _ => return None,
        })
    }

    fn section_mut(&mut self, name: &str) -> Option<&mut dyn Section> {
        Some(match name {
            "server" => &mut self.server,
            "auth" => &mut self.auth,
            "connections" => &mut self.connections,
            "session" => &mut self.session,
            "audio" => &mut self.audio,
            "recording" => &mut self.recording,
            "limits" => &mut self.limits,
            "store" => &mut self.store,
            "responder" => &mut self.responder,
            "log" => &mut self.log,
            "monitoring" => &mut self.monitoring,
            "telemetry" => &mut self.telemetry,
            _ => return None,
        })
    }

    fn check(&self, checker: &mut check::Checker<'_>) {
        self.server.check(&self.auth, checker);
        self.auth.check(checker);
        self.connections.check(checker);
        self.session.check(checker);
        self.audio.check(checker);
        self.recording.check(checker);
        self.limits.check(checker);
        self.store.check(checker);
        self.responder.check(checker);
        self.log.check(checker);
        self.monitoring.check(checker);
        self.telemetry.check(checker);
    }
}
