//! Whether the client has said who it is, until when that holds, and what happens then. Knows no token: the runtime verifies.

use std::sync::Arc;

use super::{Effect, Session};
use crate::protocol::{CloseCode, ErrorCode, Event, Identity, ProtocolError, Timestamp, Topic};

/// Time a client has to authenticate after the upgrade (protocol section 1).
const AUTHENTICATE_WITHIN_MS: u64 = 5_000;
/// Time an expired token still holds, so that a refresh under way arrives (failures.md row 21).
const EXPIRED_GRACE_MS: u64 = 25_000;

/// How a session begins.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The client is known; a token holds until `expires_ms` on the caller's clock.
    Known {
        /// Who it is.
        identity: Arc<Identity>,
        /// When its token ends; none: never.
        expires_ms: Option<u64>,
    },
    /// It must send `authenticate`.
    Awaited {
        /// Now, on the caller's clock.
        now_ms: u64,
    },
}

#[derive(Debug)]
enum State {
    /// Nothing but `authenticate` is taken until then.
    Awaited { until_ms: u64 },
    /// Known; a token ends then.
    Known { expires_ms: Option<u64> },
    /// The token has ended and the client was told; the connection closes then.
    Expired { until_ms: u64 },
}

#[derive(Debug)]
pub(super) struct Access {
    identity: Arc<Identity>,
    state: State,
}

impl Access {
    pub(super) fn new(authentication: Authentication) -> Self {
        match authentication {
            Authentication::Known { identity, expires_ms } => Self { identity, state: State::Known { expires_ms } },
            Authentication::Awaited { now_ms } => {
                Self { identity: Arc::default(), state: State::Awaited { until_ms: now_ms + AUTHENTICATE_WITHIN_MS } }
            }
        }
    }

    pub(super) fn is_known(&self) -> bool {
        !matches!(self.state, State::Awaited { .. })
    }

    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Refuses everything while the client has not said who it is.
    pub(super) fn check(&self) -> Result<(), ProtocolError> {
        match self.state {
            State::Known { .. } | State::Expired { .. } => Ok(()),
            State::Awaited { .. } => Err(ProtocolError::new(
                ErrorCode::Unauthenticated,
                "send authenticate with a token first: no other message is taken before",
            )),
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Awaited { until_ms } | State::Expired { until_ms } => Some(until_ms),
            State::Known { expires_ms } => expires_ms,
        }
    }
}

impl Session {
    /// Whether the client has said who it is, or need not.
    pub fn is_known(&self) -> bool {
        self.access.is_known()
    }

    /// When its token ends, on the caller's clock.
    pub fn expires_ms(&self) -> Option<u64> {
        match self.access.state {
            State::Known { expires_ms } => expires_ms,
            State::Awaited { .. } | State::Expired { .. } => Some(0),
        }
    }

    /// The client proved who it is, at the beginning or anew; the token ends at `expires_ms` on the caller's clock. What it may no
    /// longer have is taken from it.
    pub fn authenticated(
        &mut self,
        identity: Arc<Identity>,
        expires_ms: Option<u64>,
        reply_to: Option<String>,
        fx: &mut Vec<Effect>,
    ) {
        let first = matches!(self.access.state, State::Awaited { .. });
        if !first && identity.user_id != self.access.identity.user_id {
            let e = ProtocolError::new(
                ErrorCode::Forbidden,
                "the token is another user's: a connection belongs to one user, open another",
            );
            return self.fault(e, reply_to, fx);
        }
        let expires_at = identity.expires_unix_s.map(|s| Timestamp(s.saturating_mul(1_000)).to_string());
        fx.push(Effect::Send(
            Event::Authenticated { user_id: identity.user_id.clone(), roles: identity.roles.clone(), expires_at },
            reply_to,
        ));
        self.is_now(identity, expires_ms, fx);
    }

    /// The session goes on with another socket, whose identity counts from now on; that it is the same user's has been checked.
    pub fn resumed(&mut self, identity: Arc<Identity>, expires_ms: Option<u64>, fx: &mut Vec<Effect>) {
        self.is_now(identity, expires_ms, fx);
    }

    fn is_now(&mut self, identity: Arc<Identity>, expires_ms: Option<u64>, fx: &mut Vec<Effect>) {
        if !identity.admin {
            let before = self.subscriptions;
            Topic::ALL.into_iter().filter(|t| t.is_admin_only()).for_each(|t| self.subscriptions.remove(t));
            if self.subscriptions != before {
                fx.push(Effect::Subscriptions(self.subscriptions));
            }
        }
        self.access = Access { identity, state: State::Known { expires_ms } };
        self.leave_forbidden(fx);
        self.join_awaited(fx);
    }

    /// Does what time brings. Returns when to call again; calling earlier or later does no harm.
    pub fn on_time(&mut self, now_ms: u64, fx: &mut Vec<Effect>) -> Option<u64> {
        if self.access.deadline_ms().is_some_and(|d| now_ms >= d) {
            match self.access.state {
                State::Awaited { .. } => {
                    fx.push(Effect::Close(CloseCode::Unauthenticated, "not authenticated in time"));
                }
                State::Expired { .. } => fx.push(Effect::Close(CloseCode::Unauthenticated, "the token has expired")),
                State::Known { .. } => {
                    self.access.state = State::Expired { until_ms: now_ms + EXPIRED_GRACE_MS };
                    let e = ProtocolError::new(
                        ErrorCode::TokenExpired,
                        "the token has expired: send authenticate with a fresh one",
                    )
                    .detail("grace_ms", EXPIRED_GRACE_MS);
                    self.fault(e, None, fx);
                }
            }
        }
        let typing = self.typing_times_out(now_ms, fx);
        [self.access.deadline_ms().filter(|&d| d > now_ms), typing].into_iter().flatten().min()
    }
}
