//! What is fuzzed: one function a parser of outside bytes. The fuzzer's targets call them, and so does `cargo test` on the seeds and
//! on mutations of them, so that a machine without a fuzzer runs the same checks.
//!
//! Each function panics when the parser breaks its contract and returns otherwise.

mod config;
mod decoder;
mod message;
mod random;
mod resume;
mod script;
mod session;
mod websocket;

pub use config::config;
pub use decoder::{adts, aiff, caf, flac, mp3, mp4, ogg, opus, sniff, wav, webm};
pub use message::message;
pub use random::{Random, mutate};
pub use resume::resume;
pub use session::session;
pub use websocket::websocket;

/// A checked function.
pub type Target = fn(&[u8]);

/// Every target and the name of its file in `fuzz_targets/` and of its folder in `seeds/`.
pub const TARGETS: [(&str, Target); 16] = [
    ("message", message),
    ("session", session),
    ("resume", resume),
    ("websocket", websocket),
    ("config", config),
    ("opus", opus),
    ("sniff", sniff),
    ("wav", wav),
    ("aiff", aiff),
    ("caf", caf),
    ("flac", flac),
    ("mp3", mp3),
    ("adts", adts),
    ("ogg", ogg),
    ("webm", webm),
    ("mp4", mp4),
];
