//! What every route and connection shares: one struct of live objects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::index::RecordingIndex;
use super::monitor::{HealthStatus, Monitor, assess};
use super::tls::{ServerTls, TlsError};
use super::ws::Sessions;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{Config, OriginRule};
use crate::dialect::native::DecodeLimits;
use crate::hub::{Admission, Connections, Conversations, Directory};
use crate::journal::Journal;
use crate::pipeline::MemoryBudget;
use crate::protocol::ServerState;
use crate::resilience::Breakers;
use crate::sink::recorder::RecorderService;
use crate::store::Store;
use crate::telemetry::SystemMeter;
use crate::upstream::Responder;

/// The running server, without its sockets.
pub struct App {
    /// As it was checked at the start.
    pub config: Config,
    /// Timers follow it.
    pub clock: Clock,
    /// Who is connected.
    pub connections: Connections,
    /// Their sessions, for those who come back.
    pub(super) sessions: Sessions,
    /// Who is in which conversation.
    pub conversations: Conversations,
    /// What is live.
    pub streams: Directory,
    /// Where recordings go; `None` where recording is off.
    pub recorder: Option<RecorderService>,
    /// Where the bytes of open streams are kept; `None` where an acknowledgement promises no more than that they were decoded.
    pub journal: Option<Journal>,
    /// How the store lists them.
    pub recordings: Arc<RecordingIndex>,
    /// Who answers `text`; `None` where nobody does.
    pub responder: Option<Box<dyn Responder>>,
    /// Who is left alone for a while.
    pub breakers: Arc<Breakers>,
    /// What lasts.
    pub store: Arc<dyn Store>,
    /// Who checks tokens; `None` where authentication is off.
    pub auth: Option<Arc<Authenticator>>,
    /// The certificate; `None` where TLS is another's business.
    pub(super) tls: Option<Arc<ServerTls>>,
    /// What all streams may hold.
    pub memory: Arc<MemoryBudget>,
    /// Pages of other origins that may connect.
    pub origins: Box<[OriginRule]>,
    /// Files that may be decoded at once in one request each.
    pub decode_places: Semaphore,
    /// What the process uses.
    pub system: SystemMeter,
    /// What is known of it beside its state.
    pub(super) monitor: Arc<Monitor>,
    /// This server's name among others.
    pub node: String,
    /// Cancelled when the server begins to drain.
    pub draining: CancellationToken,
    /// When draining ends, on [`App::clock`]; `u64::MAX` while it has not begun.
    drain_deadline_ms: AtomicU64,
}

/// What a server is made of beside its own state.
pub struct Parts {
    /// Where recordings go; `None` where recording is off.
    pub recorder: Option<RecorderService>,
    /// Where the bytes of open streams are kept, where they are.
    pub journal: Option<Journal>,
    /// How the store lists them.
    pub recordings: Arc<RecordingIndex>,
    /// Who answers `text`; `None` where nobody does.
    pub responder: Option<Box<dyn Responder>>,
    /// Who is left alone for a while.
    pub breakers: Arc<Breakers>,
    /// What lasts.
    pub store: Arc<dyn Store>,
    /// Who checks tokens; `None` where authentication is off.
    pub auth: Option<Arc<Authenticator>>,
}

impl App {
    /// The shared state of a server that has not begun to listen.
    ///
    /// # Errors
    /// [`TlsError`] where a certificate is configured that cannot be used.
    pub fn new(config: Config, parts: Parts) -> Result<Arc<Self>, TlsError> {
        let Parts { recorder, recordings, journal, responder, store, auth, breakers } = parts;
        let streams = Directory::new(config.audio.max_streams);
        let memory = MemoryBudget::new(config.audio.memory_budget_bytes);
        let admission = Admission::new(config.server.max_connections, &config.connections);
        let clock = Clock::start();
        let monitor = Monitor::new(&config.monitoring, clock);
        monitor.watch(&breakers);
        // Those that cannot be read were told as faults of the configuration; here they allow nobody.
        let origins = config.server.allowed_origins.iter().filter_map(|o| OriginRule::parse(o).ok()).collect();
        let tls = match (&config.server.tls_cert, &config.server.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(ServerTls::open(cert, key)?)),
            (None, _) | (_, None) => None, // one without the other is refused with the configuration
        };
        Ok(Arc::new(Self {
            config,
            clock,
            monitor,
            connections: Connections::new(admission),
            sessions: Sessions::default(),
            conversations: Conversations::default(),
            streams,
            recorder,
            journal,
            recordings,
            responder,
            breakers,
            store,
            auth,
            tls,
            memory,
            origins,
            decode_places: Semaphore::new(super::api::decode::AT_ONCE_MAX),
            system: SystemMeter::default(),
            node: uuid::Uuid::now_v7().simple().to_string()[20..].to_owned(),
            draining: CancellationToken::new(),
            drain_deadline_ms: AtomicU64::new(u64::MAX),
        }))
    }

    /// Takes up renewed certificates for as long as it runs; for ever idle without TLS.
    pub fn watch_certificate(&self) -> impl Future<Output = ()> + Send + 'static {
        let tls = self.tls.clone();
        async move {
            match tls {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Bounds on JSON before it is parsed.
    pub fn decode_limits(&self) -> DecodeLimits {
        DecodeLimits { json_depth: self.config.limits.json_depth }
    }

    /// Begins to drain: no new connections, `status_update` to all, streams may end until the deadline. Once.
    pub fn begin_drain(&self) {
        let deadline = self.clock.now_ms() + self.config.server.drain_ms;
        if self.drain_deadline_ms.compare_exchange(u64::MAX, deadline, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            tracing::info!(drain_ms = self.config.server.drain_ms, "draining");
            self.draining.cancel();
            for c in self.connections.all() {
                c.outbox.wake();
            }
        }
    }

    /// When draining ends, on [`App::clock`]; `None` while it has not begun.
    pub fn drain_deadline_ms(&self) -> Option<u64> {
        Some(self.drain_deadline_ms.load(Ordering::Acquire)).filter(|&d| d != u64::MAX)
    }

    /// How healthy the server is.
    pub fn health(&self) -> HealthStatus {
        assess(self).0
    }

    /// Whether the memory budget has no room for one more ordinary stream.
    pub fn memory_is_short(&self) -> bool {
        self.memory.is_exhausted(super::ws::STREAM_RESERVED_BYTES)
    }

    /// `status_update`'s figures.
    pub fn server_state(&self) -> ServerState {
        let now_ms = self.clock.now_ms();
        let (uptime_ms, connections, streams) = (now_ms, self.connections.len(), self.streams.len());
        match (self.drain_deadline_ms(), self.health()) {
            (Some(deadline), _) => {
                ServerState::Draining { uptime_ms, connections, streams, deadline_ms: deadline.saturating_sub(now_ms) }
            }
            (None, HealthStatus::Healthy) => ServerState::Ok { uptime_ms, connections, streams },
            (None, HealthStatus::Degraded | HealthStatus::Unhealthy | HealthStatus::Critical) => {
                ServerState::Degraded { uptime_ms, connections, streams }
            }
        }
    }
}
