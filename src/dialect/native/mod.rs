//! The project's own dialect: one JSON object a text frame (protocol section 1).

mod decode;
mod encode;
mod schema;
mod types;

pub use decode::{
    DecodeLimits, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, decode, in_plain_words, read_body, read_broadcast,
    read_content,
};
pub use encode::{Envelope, encode, encode_audio_received, encode_head, encode_tail};
pub use schema::{Place, asyncapi};
pub use types::{BroadcastRequest as BroadcastBody, Content as ContentBody};

#[cfg(test)]
mod tests;
