//! Server messages: events in, JSON text out, with the envelope's `timestamp`, `reply_to` and `seq`.

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
    out.extend_from_slice(b"{\"type\":\"audio_received\",\"stream_id\":\"");
    out.extend_from_slice(a.stream_id.as_bytes()); // [A-Za-z0-9_-]: nothing to escape
    out.push(b'"');
    for (key, value) in [
        ("received_bytes", a.received_bytes),
        ("received_frames", a.received_frames),
        ("decoded_ms", a.decoded_ms),
        ("output_samples", a.output_samples),
        ("buffered_ms", a.buffered_ms),
        ("dropped_ms", a.dropped_ms),
        ("processing_us", a.processing_us),
    ] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        decimal(value, out);
    }
    encode_tail(envelope, out);
}

/// Appends the envelope to an event's head and closes the object.
pub fn encode_tail(envelope: Envelope<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"timestamp\":\"");
    write!(out, "{}", Timestamp(envelope.unix_ms)).expect("writing to a Vec cannot fail");
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
