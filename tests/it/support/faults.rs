//! Decoders that fail as no input makes one fail, under rates that nobody else declares.

use std::sync::{Condvar, Mutex};

use voxgate::audio::PcmSpec;
use voxgate::decode::{DecodeError, DecodeOut, DecodeParams, Decoder, Step, faults};

/// Under it a stream gets a decoder that is silent until it panics, which it does at bytes that end in `panic`.
pub const PANICKING_HZ: u32 = 47_777;
/// Under it a stream gets a decoder that holds its worker up until [`release`].
pub const HANGING_HZ: u32 = 47_778;

static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Lets what hangs go on.
pub fn release() {
    *RELEASED.0.lock().unwrap() = true;
    RELEASED.1.notify_all();
}

/// Has streams of those rates get those decoders, in the whole process.
pub fn install() {
    faults::stand_in(|params: &DecodeParams| -> Option<Box<dyn Decoder>> {
        match params.format.sample_rate {
            Some(PANICKING_HZ) => Some(Box::new(Panicking)),
            Some(HANGING_HZ) => Some(Box::new(Hanging)),
            _ => None,
        }
    });
}

struct Panicking;

impl Decoder for Panicking {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        assert!(!input.ends_with(b"panic"), "as asked for");
        out.pcm.spec = PcmSpec { rate_hz: 16_000, channels: 1 };
        out.pcm.samples.resize(input.len(), 0.0);
        Ok(Step { consumed: input.len(), more: false })
    }

    fn finish(&mut self, _: &mut DecodeOut) -> Result<bool, DecodeError> {
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}

struct Hanging;

impl Decoder for Hanging {
    fn decode(&mut self, input: &[u8], _: &mut DecodeOut) -> Result<Step, DecodeError> {
        let released = RELEASED.0.lock().unwrap();
        drop(RELEASED.1.wait_while(released, |released| !*released).unwrap());
        Ok(Step { consumed: input.len(), more: false })
    }

    fn finish(&mut self, _: &mut DecodeOut) -> Result<bool, DecodeError> {
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}
