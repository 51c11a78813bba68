//! What a sender does when its socket drops: whether it connects again, when, and with what it goes on (protocol sections 6 and 7).
//! Knows no socket; time and chance are parameters.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::error::ClientError;
use super::wire::SessionTicket;

/// Longest wait before the first try; each later one may be twice as long.
const DELAY_MIN: Duration = Duration::from_millis(500);
/// No wait is longer.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// How long a server that has not said so yet is given: the protocol's usual window.
const WINDOW_MS: u64 = 60_000;

/// What an end of a connection means to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The same again would end the same way.
    Stop,
    /// Another node, or this one in a moment.
    AtOnce,
    /// Later.
    BackOff,
}

/// A session, and how long it has been tried to come back to it.
#[derive(Debug, Default)]
pub(super) struct Comeback {
    ticket: Option<SessionTicket>,
    last_seq: u64,
    /// The first drop since something got on.
    dropped: Option<Instant>,
    tries: u32,
}

impl Comeback {
    /// Whether there is a session to come back to.
    pub(super) fn has_session(&self) -> bool {
        self.ticket.is_some()
    }

    /// The server said which session this is, or how it is resumed from now on.
    pub(super) fn set_ticket(&mut self, ticket: SessionTicket) {
        self.ticket = Some(ticket);
    }

    /// A session event came.
    pub(super) fn seen(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }

    /// Something got on: a drop after this is a new one.
    pub(super) fn got_on(&mut self) {
        (self.dropped, self.tries) = (None, 0);
    }

    /// The message that resumes the session, where there is one.
    pub(super) fn message(&self) -> Option<String> {
        let ticket = self.ticket.as_ref()?;
        let message = json!({
            "type": "resume", "id": "resume", "session_id": ticket.id, "resume_token": ticket.resume_token,
            "last_seq": self.last_seq,
        });
        Some(message.to_string())
    }

    /// How long to wait before connecting again. `share` is a random number from 0 to 1: full jitter, so that clients that were cut off
    /// together do not come back together.
    ///
    /// # Errors
    /// The error itself, where it is not worth it or nobody waits any more.
    pub(super) fn after(&mut self, error: ClientError, now: Instant, share: f64) -> Result<Duration, ClientError> {
        let next = self.next(&error);
        let window = Duration::from_millis(self.ticket.as_ref().map_or(WINDOW_MS, |t| t.resume_window_ms));
        let dropped = *self.dropped.get_or_insert(now);
        let tries = self.tries;
        self.tries += 1;
        let ceiling = DELAY_MIN.saturating_mul(1 << tries.min(16)).min(DELAY_MAX);
        let wait = ceiling.mul_f64(share.clamp(0.0, 1.0));
        match next {
            Next::Stop => Err(error),
            Next::AtOnce if tries == 0 => Ok(Duration::ZERO),
            Next::AtOnce | Next::BackOff if now + wait > dropped + window => Err(error),
            Next::AtOnce | Next::BackOff => Ok(wait),
        }
    }

    fn next(&self, error: &ClientError) -> Next {
        match error {
            // Codes that name a fault of ours: the next connection would have it too.
            ClientError::Closed { code: 1000 | 1002 | 1003 | 1007..=1010 | 4000..=4099, .. } => Next::Stop,
            ClientError::Closed { code: 4200..=4299, .. } => Next::AtOnce,
            ClientError::Closed { .. } => Next::BackOff,
            // Before there is a session nothing is lost, and whoever waits wants to know.
            _ if !self.has_session() => Next::Stop,
            ClientError::Io(_)
            | ClientError::Connect { .. }
            | ClientError::Tls { .. }
            | ClientError::Handshake { .. }
            | ClientError::Timeout { .. } => Next::BackOff,
            ClientError::Refused { status: 429 | 500..=599, .. } => Next::BackOff,
            ClientError::Refused { .. }
            | ClientError::Url { .. }
            | ClientError::Trust { .. }
            | ClientError::WebSocket(_)
            | ClientError::Server { .. }
            | ClientError::NotResumed { .. }
            | ClientError::Message(_) => Next::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> ClientError {
        ClientError::Closed { code, reason: String::new() }
    }

    fn comeback() -> Comeback {
        let ticket = SessionTicket { id: "s".into(), resume_token: "t".into(), resume_window_ms: 60_000 };
        Comeback { ticket: Some(ticket), ..Comeback::default() }
    }

    #[test]
    fn the_close_code_says_whether_and_when_to_come_back() {
        let now = Instant::now();
        for code in [1000, 1002, 1007, 1009, 4000, 4001, 4003, 4005, 4009, 4010, 4099] {
            assert!(comeback().after(closed(code), now, 0.5).is_err(), "{code}");
        }
        for code in [4200, 4202, 4299] {
            assert_eq!(comeback().after(closed(code), now, 1.0).unwrap(), Duration::ZERO, "{code}");
        }
        for code in [1001, 1006, 1011, 1013, 4108, 4111, 4129] {
            assert_eq!(comeback().after(closed(code), now, 1.0).unwrap(), DELAY_MIN, "{code}");
        }
    }

    #[test]
    fn waits_grow_to_ten_seconds_are_jittered_and_begin_anew_when_something_got_on() {
        let (mut c, now) = (comeback(), Instant::now());
        let waits: Vec<u128> = (0..7).map(|_| c.after(closed(1006), now, 1.0).unwrap().as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(c.after(closed(1006), now, 0.0).unwrap(), Duration::ZERO);
        assert_eq!(c.after(closed(4202), now, 0.5).unwrap().as_millis(), 5_000, "not at once for ever");
        c.got_on();
        assert_eq!(c.after(closed(1006), now, 0.5).unwrap().as_millis(), 250);
    }

    #[test]
    fn it_is_given_up_when_the_session_is_gone_by_then() {
        let (mut c, now) = (comeback(), Instant::now());
        assert!(c.after(closed(1006), now, 0.0).is_ok());
        assert!(c.after(closed(1006), now + Duration::from_secs(59), 0.0).is_ok());
        assert!(c.after(closed(1006), now + Duration::from_secs(61), 0.0).is_err());
    }

    #[test]
    fn without_a_session_only_a_server_that_says_later_is_asked_again() {
        let now = Instant::now();
        let broken = || ClientError::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(Comeback::default().after(broken(), now, 0.5).is_err());
        assert!(Comeback::default().after(closed(1013), now, 0.5).is_ok());
        assert!(comeback().after(broken(), now, 0.5).is_ok());
        let refused = |status| ClientError::Refused { status, detail: String::new() };
        assert!(comeback().after(refused(401), now, 0.5).is_err());
        assert!(comeback().after(refused(503), now, 0.5).is_ok());
    }
}
