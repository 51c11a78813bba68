//! What is told of the sound itself: levels and speech. Knows no stream and no message.

pub mod levels;
pub mod voice;
