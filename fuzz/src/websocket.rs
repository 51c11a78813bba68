//! WebSocket framing: any cut of the bytes gives the same messages and the same end; what is held is bounded.

use voxgate::websocket::{Incoming, Limits, Reader, Role, WebSocketError};

use crate::Random;

/// Small, so that inputs reach it.
const LIMITS: Limits = Limits { message_bytes: 2_048, fragments: 16, assembly_ms: 10_000 };
/// Beside a message's fragments: the frame that is cut, a control frame's 125 bytes and the longest header.
const HELD_BESIDE_BYTES: usize = 125 + 14;

#[derive(Debug, PartialEq)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

impl From<Incoming<'_>> for Message {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(t) => Self::Text(t.to_owned()),
            Incoming::Binary(b) => Self::Binary(b.to_vec()),
            Incoming::Ping(b) => Self::Ping(b.to_vec()),
            Incoming::Pong(b) => Self::Pong(b.to_vec()),
            Incoming::Close(code, reason) => Self::Close(code, reason.to_owned()),
        }
    }
}

fn read(
    role: Role,
    bytes: &[u8],
    mut piece_bytes: impl FnMut() -> usize,
) -> (Vec<Message>, Result<(), WebSocketError>) {
    let mut reader = Reader::new(role, LIMITS);
    let mut messages = Vec::new();
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        let n = piece_bytes().clamp(1, rest.len());
        let (piece, later) = std::mem::take(&mut rest).split_at_mut(n);
        rest = later;
        if let Err(e) = reader.feed(piece, 0, &mut |m| messages.push(m.into())) {
            return (messages, Err(e));
        }
        let held = reader.held_bytes();
        assert!(held <= LIMITS.message_bytes + HELD_BESIDE_BYTES, "{held} bytes held");
    }
    (messages, Ok(()))
}

/// The first byte's lowest bit says which end reads; the rest is what came from the socket.
pub fn websocket(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let whole = read(role, bytes, || usize::MAX);
    let mut random = Random::of(bytes);
    assert_eq!(whole, read(role, bytes, || 1 + random.below(90)), "cut");
    assert_eq!(whole, read(role, bytes, || 1), "one byte at a time");
    for message in &whole.0 {
        if let Message::Binary(b) | Message::Ping(b) | Message::Pong(b) = message {
            assert!(b.len() <= LIMITS.message_bytes);
        }
        if let Message::Text(t) = message {
            assert!(t.len() <= LIMITS.message_bytes);
        }
    }
}
