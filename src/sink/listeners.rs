//! The sink of those who listen live: each block encoded once, whoever gets it. Knows no connection, only whom to hand it to.

use std::sync::Arc;

use bytes::Bytes;

use super::{Block, Push, Sink, SinkEvent};
use crate::audio::PcmSpec;
use crate::websocket::{OpCode, encode_header};

/// Whom a stream's audio is handed to. Never waits: who cannot keep up loses its oldest.
pub trait Publish: Send + Sync {
    /// The stream's number in listeners' frames.
    fn listen_index(&self) -> u16;
    /// Whether anybody listens.
    fn is_heard(&self) -> bool;
    /// Hands a frame to all listeners, to the last of them a little later.
    fn publish(&self, frame: Bytes);
    /// The stream has come to this position (samples per channel).
    fn at(&self, spec: PcmSpec, position: u64);
}

/// Encodes blocks for listeners while there are any.
pub struct Listeners<P> {
    to: Arc<P>,
    position: u64,
}

impl<P: Publish> Listeners<P> {
    /// A sink at the start of a stream.
    pub fn new(to: Arc<P>) -> Self {
        Self { to, position: 0 }
    }
}

impl<P: Publish> Sink for Listeners<P> {
    fn name(&self) -> &'static str {
        "listeners"
    }

    fn wants_s16(&self) -> bool {
        self.to.is_heard()
    }

    fn push(&mut self, block: &Block<'_>, _: &mut Vec<SinkEvent>) -> Push {
        self.position = block.position + (block.samples.len() / usize::from(block.spec.channels)) as u64;
        self.to.at(block.spec, self.position);
        // A listener may have come since `wants_s16` was asked: it hears the next block.
        if !block.s16.is_empty() && self.to.is_heard() {
            let frame = listener_frame(self.to.listen_index(), block.position, block.after_gap, false, block.s16);
            self.to.publish(frame);
        }
        Push::Taken
    }

    fn finish(&mut self, _: &mut Vec<SinkEvent>) {
        if self.to.is_heard() {
            self.to.publish(listener_frame(self.to.listen_index(), self.position, false, true, &[]));
        }
    }
}

/// A listener's frame (protocol section 5) as a whole WebSocket frame: 16 bytes of header, then the samples, little-endian.
/// `position` counts samples per channel.
pub fn listener_frame(listen_index: u16, position: u64, after_gap: bool, last: bool, samples: &[i16]) -> Bytes {
    const HEADER_BYTES: usize = 16;
    const VERSION: u8 = 1;
    const KIND_PCM_S16LE: u8 = 1;
    let payload = HEADER_BYTES + samples.len() * 2;
    let mut f = Vec::with_capacity(10 + payload);
    encode_header(&mut f, OpCode::Binary, payload);
    f.extend_from_slice(&[VERSION, KIND_PCM_S16LE]);
    f.extend_from_slice(&listen_index.to_le_bytes());
    f.extend_from_slice(&(u32::from(after_gap) | u32::from(last) << 1).to_le_bytes());
    f.extend_from_slice(&position.to_le_bytes());
    f.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    f.into()
}
