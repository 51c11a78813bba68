//! The receiving half: bytes as they come from the socket, whole messages out.

use super::frame::{Header, OpCode, apply_mask};

/// Which end of the connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Frames must come masked.
    Server,
    /// Frames must come unmasked.
    Client,
}

/// Bounds of what a peer may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message, all fragments together.
    pub message_bytes: usize,
    /// Fragments of one message.
    pub fragments: u32,
    /// Time from a message's first fragment to its last.
    pub assembly_ms: u64,
}

/// A message, lent from the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping: answer with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer closes: its code (1005 where it gave none) and reason.
    Close(u16, &'a str),
}

/// What the peer did wrong; the connection closes with [`WebSocketError::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// A broken framing rule (1002).
    #[error("{0}")]
    Protocol(&'static str),
    /// Text or a close reason that is not UTF-8 (1007).
    #[error("text is not valid UTF-8")]
    Utf8,
    /// A message beyond [`Limits::message_bytes`] (1009).
    #[error("a message may have {limit} bytes at the most")]
    TooBig {
        /// The limit.
        limit: usize,
    },
    /// Too many fragments, or too slow (1008).
    #[error("{0}")]
    Policy(&'static str),
}

impl WebSocketError {
    /// The close code of RFC 6455 section 7.4.1.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooBig { .. } => 1009,
            Self::Policy(_) => 1008,
        }
    }
}

/// A message of several frames, so far.
#[derive(Debug)]
struct Assembly {
    text: bool,
    data: Vec<u8>,
    /// So much of a text is known to be UTF-8; what follows is the beginning of a character at the most.
    checked: usize,
    fragments: u32,
    since_ms: u64,
}

impl Assembly {
    /// Text that cannot become UTF-8 any more ends the connection here, not when its last fragment comes.
    fn check_text(&mut self) -> Result<(), WebSocketError> {
        if self.text {
            match std::str::from_utf8(&self.data[self.checked..]) {
                Ok(_) => self.checked = self.data.len(),
                Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
                Err(_) => return Err(WebSocketError::Utf8),
            }
        }
        Ok(())
    }
}

/// Cuts a byte stream into messages. After an error it must not be fed again.
#[derive(Debug)]
pub struct Reader {
    role: Role,
    limits: Limits,
    /// The frame that the last read cut.
    pub(super) carry: Vec<u8>,
    assembly: Option<Box<Assembly>>,
}

/// Memory a finished large frame may leave behind for the next one.
const CARRY_KEPT_BYTES: usize = 4_096;

impl Reader {
    /// A reader at the start of a connection.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, carry: Vec::new(), assembly: None }
    }

    /// Bounds whole messages from now on: a peer may be trusted with larger ones later than at first.
    pub fn set_message_bytes(&mut self, max: usize) {
        self.limits.message_bytes = max;
    }

    /// Bytes held for messages that are not whole yet.
    pub fn held_bytes(&self) -> usize {
        self.carry.len() + self.assembly.as_ref().map_or(0, |a| a.data.len())
    }

    /// Takes bytes, unmasks them in place and calls `on` for each message that is whole.
    ///
    /// # Errors
    /// [`WebSocketError`] at the first broken rule; messages before it have been handed out.
    pub fn feed(
        &mut self,
        mut buf: &mut [u8],
        now_ms: u64,
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), WebSocketError> {
        self.check_age(now_ms)?;
        while !buf.is_empty() {
            if self.carry.is_empty() {
                let whole = match Header::parse(buf) {
                    Some(h) => self.check(&h)?.filter(|&n| n <= buf.len()).map(|n| (h, n)),
                    None => None,
                };
                let Some((h, frame_bytes)) = whole else {
                    self.carry.extend_from_slice(buf);
                    return Ok(());
                };
                let (frame, rest) = buf.split_at_mut(frame_bytes);
                self.frame(&h, &mut frame[h.header_bytes..], now_ms, on)?;
                buf = rest;
            } else {
                let taken = self.complete_carry(buf, now_ms, on)?;
                buf = &mut buf[taken..];
            }
        }
        Ok(())
    }

    /// Moves bytes to the frame that was cut, and handles it once it is whole. Returns the bytes taken.
    fn complete_carry(
        &mut self,
        buf: &[u8],
        now_ms: u64,
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, WebSocketError> {
        let mut taken = 0;
        let h = loop {
            match Header::parse(&self.carry) {
                Some(h) => break h,
                None if taken == buf.len() => return Ok(taken),
                None => self.carry.push(buf[taken]), // a header has 14 bytes at the most
            }
            taken += 1;
        };
        let Some(frame_bytes) = self.check(&h)? else { return Err(WebSocketError::Protocol("frame length overflows")) };
        let part = (frame_bytes - self.carry.len()).min(buf.len() - taken);
        self.carry.extend_from_slice(&buf[taken..taken + part]);
        taken += part;
        if self.carry.len() == frame_bytes {
            let mut frame = std::mem::take(&mut self.carry);
            self.frame(&h, &mut frame[h.header_bytes..], now_ms, on)?;
            frame.clear();
            if frame.capacity() <= CARRY_KEPT_BYTES {
                self.carry = frame;
            }
        }
        Ok(taken)
    }

    fn check_age(&self, now_ms: u64) -> Result<(), WebSocketError> {
        match &self.assembly {
            Some(a) if now_ms.saturating_sub(a.since_ms) > self.limits.assembly_ms => {
                Err(WebSocketError::Policy("a fragmented message took too long"))
            }
            _ => Ok(()),
        }
    }

    /// Checks a header before a byte of its payload is kept. Returns the frame's length, header included.
    fn check(&self, h: &Header) -> Result<Option<usize>, WebSocketError> {
        use WebSocketError::Protocol;
        if h.reserved {
            return Err(Protocol("reserved bits are set and no extension was negotiated"));
        }
        let Some(opcode) = h.opcode else { return Err(Protocol("reserved opcode")) };
        match (self.role, h.mask) {
            (Role::Server, None) => return Err(Protocol("frames from a client must be masked")),
            (Role::Client, Some(_)) => return Err(Protocol("frames from a server must not be masked")),
            (Role::Server, Some(_)) | (Role::Client, None) => {}
        }
        if !h.shortest {
            return Err(Protocol("a length must be written in the fewest bytes that hold it"));
        }
        if h.payload_bytes >> 63 != 0 {
            return Err(Protocol("the most significant bit of a length must be 0"));
        }
        if opcode.is_control() {
            if !h.fin {
                return Err(Protocol("control frames must not be fragmented"));
            }
            if h.payload_bytes > 125 {
                return Err(Protocol("control frames carry 125 bytes at the most"));
            }
        } else {
            match (opcode == OpCode::Continuation, &self.assembly) {
                (true, None) => return Err(Protocol("a continuation of nothing")),
                (false, Some(_)) => return Err(Protocol("a new message inside a fragmented one")),
                (true, Some(_)) | (false, None) => {}
            }
            let held = self.assembly.as_ref().map_or(0, |a| a.data.len()) as u64;
            if held + h.payload_bytes > self.limits.message_bytes as u64 {
                return Err(WebSocketError::TooBig { limit: self.limits.message_bytes });
            }
        }
        Ok(usize::try_from(h.payload_bytes).ok().and_then(|n| n.checked_add(h.header_bytes)))
    }

    fn frame(
        &mut self,
        h: &Header,
        payload: &mut [u8],
        now_ms: u64,
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), WebSocketError> {
        if let Some(mask) = h.mask {
            apply_mask(payload, mask);
        }
        match h.opcode {
            Some(OpCode::Ping) => on(Incoming::Ping(payload)),
            Some(OpCode::Pong) => on(Incoming::Pong(payload)),
            Some(OpCode::Close) => {
                let (code, reason) = parse_close(payload)?;
                on(Incoming::Close(code, reason));
            }
            Some(OpCode::Text) if h.fin => deliver(true, payload, on)?,
            Some(OpCode::Binary) if h.fin => deliver(false, payload, on)?,
            Some(op @ (OpCode::Text | OpCode::Binary)) => {
                let text = op == OpCode::Text;
                let data = payload.to_vec();
                let mut a = Box::new(Assembly { text, data, checked: 0, fragments: 1, since_ms: now_ms });
                a.check_text()?;
                self.assembly = Some(a);
            }
            Some(OpCode::Continuation) => self.continuation(h.fin, payload, on)?,
            None => return Err(WebSocketError::Protocol("reserved opcode")),
        }
        Ok(())
    }

    fn continuation(
        &mut self,
        fin: bool,
        payload: &[u8],
        on: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), WebSocketError> {
        let Some(mut a) = self.assembly.take() else {
            return Err(WebSocketError::Protocol("a continuation of nothing"));
        };
        a.fragments += 1;
        if a.fragments > self.limits.fragments {
            return Err(WebSocketError::Policy("a message has too many fragments"));
        }
        a.data.extend_from_slice(payload);
        if fin {
            return deliver(a.text, &a.data, on);
        }
        a.check_text()?;
        self.assembly = Some(a);
        Ok(())
    }
}

fn deliver(text: bool, payload: &[u8], on: &mut dyn FnMut(Incoming<'_>)) -> Result<(), WebSocketError> {
    if text {
        on(Incoming::Text(std::str::from_utf8(payload).map_err(|_| WebSocketError::Utf8)?));
    } else {
        on(Incoming::Binary(payload));
    }
    Ok(())
}

/// RFC 6455 section 5.5.1 and 7.4: nothing, or a code that may be sent and a UTF-8 reason.
fn parse_close(payload: &[u8]) -> Result<(u16, &str), WebSocketError> {
    match payload {
        [] => Ok((1005, "")),
        [_] => Err(WebSocketError::Protocol("a close payload of one byte")),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => {
                    Ok((code, std::str::from_utf8(reason).map_err(|_| WebSocketError::Utf8)?))
                }
                _ => Err(WebSocketError::Protocol("a close code that must not be sent")),
            }
        }
    }
}
