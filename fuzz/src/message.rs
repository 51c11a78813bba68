//! The JSON of a client: any text gives a command or an error, and a session that is told it stays usable.

use std::sync::Arc;

use uuid::Uuid;
use voxgate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use voxgate::dialect::native::{DecodeLimits, decode};
use voxgate::session::{Authentication, Effect, Session, SessionLimits, StreamDefaults};

/// As the configuration's default.
pub(crate) const LIMITS: DecodeLimits = DecodeLimits { json_depth: 16 };

/// Bytes of an error's message: it may quote a name, never the input.
const ERROR_BYTES_MAX: usize = 1_024;

pub(crate) fn session_of(streams_max: usize, faults_max: u32) -> Session {
    let limits = SessionLimits { streams_max, conversations_max: 4, faults_max, event_ring: 8, decode: LIMITS };
    let defaults = StreamDefaults {
        format: StreamFormat { encoding: Encoding::Auto, sample_rate: None, channels: None },
        output: OutputFormat { rate_hz: 16_000, channels: OutputChannels::Mono },
    };
    let known = Authentication::Known { identity: Arc::default(), expires_ms: None };
    Session::new(limits, defaults, known, Uuid::new_v4)
}

/// One message a line, as text; a line is told to the dialect alone and to a session that lives through all of them.
pub fn message(data: &[u8]) {
    let mut session = session_of(4, u32::MAX);
    let (mut scratch, mut effects) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(data).lines() {
        if let Err(failed) = decode(line, LIMITS) {
            assert!(failed.1.message.len() <= ERROR_BYTES_MAX, "an error of {} bytes", failed.1.message.len());
        }
        effects.clear();
        session.handle_text(line, 0, &mut scratch, &mut effects);
        for effect in &effects {
            if let Effect::Audio { skip, .. } = effect {
                assert!(scratch.len() <= line.len(), "base64 grew");
                assert!(*skip <= scratch.len(), "{skip} bytes skipped of {}", scratch.len());
            }
        }
    }
}
