//! Who a connection is: tokens on the socket, letters that answer them, and what a new identity changes.

use std::sync::Arc;

use super::lane::Lane;
use super::mail::Letter;
use super::task::Task;
use crate::auth::AuthError;
use crate::clock::Clock;
use crate::hub::Connection;
use crate::protocol::{CloseCode, ErrorCode, Identity, ProtocolError};
use crate::server::state::App;

/// When a token ends, on the monotonic clock: a wall clock that jumps ends nobody's session.
pub(super) fn expires_ms(clock: &Clock, identity: &Identity) -> Option<u64> {
    let left_ms = identity.expires_unix_s?.saturating_mul(1_000).saturating_sub(crate::clock::unix_ms());
    Some(clock.now_ms().saturating_add(left_ms))
}

/// What a client is told of a token that is not accepted.
pub(in crate::server) fn refusal(e: AuthError) -> ProtocolError {
    let told = ProtocolError::new(e.code(), e.to_string());
    match e.retry_after_ms() {
        Some(ms) => told.retry_after_ms(ms),
        None => told,
    }
}

impl Task {
    pub(super) fn authenticate(&mut self, token: String, reply_to: Option<String>, lane: &mut Lane) {
        let Some(auth) = &self.app.auth else {
            let e = ProtocolError::new(ErrorCode::InvalidMessage, "this server takes no tokens: authentication is off");
            return self.fault(e, reply_to, lane);
        };
        if std::mem::replace(&mut self.verifying, true) {
            let e = ProtocolError::new(ErrorCode::RateLimited, "the token before is still being checked");
            return self.fault(e.retry_after_ms(1_000), reply_to, lane);
        }
        let (auth, mail, connection) = (Arc::clone(auth), Arc::clone(&self.mail), Arc::clone(&self.connection));
        tokio::spawn(async move {
            let result = auth.verify(token).await;
            mail.put(Letter::Verified { result, reply_to });
            connection.outbox.wake();
        });
    }

    /// Reads what came from elsewhere.
    pub(super) fn read_mail(&mut self, lane: &mut Lane) {
        while let Some(letter) = self.mail.take() {
            match letter {
                Letter::Verified { result, reply_to } => {
                    self.verifying = false;
                    match result {
                        Ok(identity) => self.verified(Arc::new(identity), reply_to, lane),
                        Err(e) => self.fault(refusal(e), reply_to, lane),
                    }
                }
                Letter::Resumed(newcomer) => self.take_over(*newcomer, lane),
            }
        }
    }

    fn verified(&mut self, identity: Arc<Identity>, reply_to: Option<String>, lane: &mut Lane) {
        let mut effects = Vec::new();
        let expires_ms = expires_ms(&self.app.clock, &identity);
        self.session.authenticated(identity, expires_ms, reply_to, &mut effects);
        let now_known = Arc::clone(self.session.identity());
        // The hub knows it first: whoever it meets in a conversation is told who it is.
        if let Err(refused) = self.app.connections.identify(&self.connection, now_known) {
            return self.close(refused.close_code(), &refused.to_string(), lane);
        }
        self.carry_out_all(effects, lane);
        self.take_large_messages();
        self.look_within(0); // the token's end is another one now
        if revoked(&self.app, &self.connection) {
            self.close(CloseCode::Unauthenticated, "the token has been revoked", lane);
        }
    }
}

/// Whether a connection's token was revoked, which may happen between its check and its registration.
pub(super) fn revoked(app: &App, connection: &Connection) -> bool {
    app.auth.as_ref().is_some_and(|auth| auth.is_revoked(&connection.identity()))
}
