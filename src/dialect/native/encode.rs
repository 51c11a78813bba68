//! Server messages: events in, JSON text out, with the envelope's `timestamp`, `reply_to` and `seq`.

use std::cell::Cell;
use std::io::Write as _;

use crate::protocol::{AudioReceived, Event, Timestamp};

/// What stands around an event.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The `id` it answers.
    pub reply_to: Option<&'a str>,
    /// Its number in the session, for session events.
    pub seq: Option<u64>,
}

/// Appends an event as one JSON object.
pub fn encode(event: &Event, envelope: Envelope<'_>, out: &mut Vec<u8>) {
    if let Event::AudioReceived(a) = event {
        return encode_audio_received(a, envelope, out);
    }
    encode_head(event, out);
    encode_tail(envelope, out);
}

/// Appends an event without its envelope, the object still open: what all who get it have in common.
pub fn encode_head(event: &Event, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and the types have only string keys.
    serde_json::to_writer(&mut *out, event).expect("events serialise");
    let closing = out.pop();
    debug_assert_eq!(closing, Some(b'}'));
}

/// The acknowledgement, written by hand: it is the one message a stream causes many times a second.
pub fn encode_audio_received(a: &AudioReceived, envelope: Envelope<'_>, out: &mut Vec<u8>) {
    /// Longer than all keys, ten figures and the envelope: one growth at the most.
    const USUAL_BYTES: usize = 384;
    out.reserve(USUAL_BYTES);
    out.extend_from_slice(b"{\"type\":\"audio_received\",\"stream_id\":\"");
    out.extend_from_slice(a.stream_id.as_bytes()); // [A-Za-z0-9_-]: nothing to escape
    field(b"\",\"received_bytes\":", a.received_bytes, out);
    field(b",\"received_frames\":", a.received_frames, out);
    field(b",\"decoded_ms\":", a.decoded_ms, out);
    field(b",\"output_samples\":", a.output_samples, out);
    field(b",\"buffered_ms\":", a.buffered_ms, out);
    field(b",\"dropped_ms\":", a.dropped_ms, out);
    field(b",\"processing_us\":", a.processing_us, out);
    encode_tail(envelope, out);
}

/// A key of known length costs a few moves, not a call.
#[inline]
fn field<const N: usize>(key: &[u8; N], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    decimal(value, out);
}

/// Appends the envelope to an event's head and closes the object.
pub fn encode_tail(envelope: Envelope<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"timestamp\":\"");
    timestamp(envelope.unix_ms, out);
    out.push(b'"');
    if let Some(id) = envelope.reply_to {
        out.extend_from_slice(b",\"reply_to\":");
        serde_json::to_writer(&mut *out, id).expect("strings serialise");
    }
    if let Some(seq) = envelope.seq {
        out.extend_from_slice(b",\"seq\":");
        decimal(seq, out);
    }
    out.push(b'}');
}

/// Bytes of a timestamp up to year 9999: `2026-01-02T03:04:05.678Z`.
const STAMP_BYTES: usize = 24;
/// Where its milliseconds stand.
const STAMP_MS_AT: usize = 20;
/// 9999-12-31 in seconds since the Unix epoch.
const STAMP_END_S: u64 = 253_402_214_400;

thread_local! {
    /// The second last written: within it only three digits change, and the calendar costs more than the rest of a message.
    static STAMP: Cell<(u64, [u8; STAMP_BYTES])> = const { Cell::new((u64::MAX, [0; STAMP_BYTES])) };
}

fn timestamp(unix_ms: u64, out: &mut Vec<u8>) {
    let (second, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (known, mut stamp) = STAMP.get();
    if known != second {
        let from = out.len();
        write!(out, "{}", Timestamp(unix_ms)).expect("writing to a Vec cannot fail");
        // Past year 9999 every moment is written alike: nothing to patch.
        if let (Ok(written), true) = (<[u8; STAMP_BYTES]>::try_from(&out[from..]), second < STAMP_END_S) {
            STAMP.set((second, written));
        }
        return;
    }
    for (digit, unit) in [100, 10, 1].into_iter().enumerate() {
        stamp[STAMP_MS_AT + digit] = b'0' + (ms / unit % 10) as u8;
    }
    out.extend_from_slice(&stamp);
}

fn decimal(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
