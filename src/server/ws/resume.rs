//! What outlives a socket (protocol section 6): a session whose socket dropped waits with its streams, and goes on with the next one. The
//! task that has the session keeps it; the new connection's task hands its socket over by mail and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::lane::Lane;
use super::mail::{Letter, Newcomer, Said};
use super::task::{Phase, Task};
use crate::clock::unix_ms;
use crate::protocol::{CloseCode, EndReason, ErrorCode, Event, ProtocolError, ResumeRequest, SessionInfo};
use crate::store::{SessionEnd, SessionRecord};
use crate::websocket::{self, OpCode};

/// How long a session waits whose socket was closed for a newer one of the same client: if that one is there to resume it, it does so
/// first thing.
const SUPERSEDED_WINDOW_MS: u64 = 5_000;

impl Task {
    /// `resume`: this connection goes over into another session, once all it has said by now is read.
    pub(super) fn resume(&mut self, request: ResumeRequest, reply_to: Option<String>, lane: &mut Lane) {
        let used = !self.streams.is_empty() || !self.listeners.is_empty();
        if used || request.session_id == self.connection.session_id() {
            let e = ProtocolError::new(ErrorCode::ResumeFailed, "send resume first on a new socket, before any stream");
            return self.fault(e, reply_to, lane);
        }
        self.phase = Phase::Leaving;
        self.resuming = Some(Box::new((request, reply_to)));
    }

    /// Keeps what is said while the connection goes over.
    pub(super) fn keep_said(&mut self, said: Said) {
        self.said.push(said);
    }

    /// Gives everything to the task of the session that is to be resumed, or tells why not and stays what it is.
    pub(super) fn hand_over(&mut self, lane: &mut Lane) {
        let Some(resuming) = self.resuming.take() else { return };
        let (ResumeRequest { session_id, resume_token, last_seq }, reply_to) = *resuming;
        let app = Arc::clone(&self.app);
        let identity = Arc::clone(self.session.identity());
        let user_id = identity.user_id.clone();
        let id = reply_to.clone();
        let handed = app.sessions.hand_over(session_id, &resume_token, user_id.as_deref(), |token| {
            let socket = self.socket.take()?.pack().ok()?;
            let mut unsent = std::mem::take(&mut self.out);
            unsent.append(&mut lane.out);
            Some(Letter::Resumed(Box::new(Newcomer {
                socket,
                slot: self.slot.take(),
                reader: self.reader.take()?,
                unsent,
                said: std::mem::take(&mut self.said),
                connection: Arc::clone(&self.connection),
                identity,
                expires_ms: self.session.expires_ms(),
                token,
                last_seq,
                reply_to: id,
            })))
        });
        if handed || self.socket.is_none() {
            return self.gone(EndReason::Disconnected);
        }
        self.phase = Phase::Open;
        let e = ProtocolError::new(
            ErrorCode::ResumeFailed,
            "no session of yours is resumed by this token: it has ended, or the token was used; begin anew",
        );
        self.fault(e, reply_to, lane);
        for said in std::mem::take(&mut self.said) {
            self.hear(&said, lane);
        }
    }

    fn hear(&mut self, said: &Said, lane: &mut Lane) {
        let now_us = lane.now_us;
        match said {
            Said::Text(text) => self.text(text, now_us, lane),
            Said::Binary(payload) => self.binary(payload, now_us, lane),
        }
    }

    /// The socket is gone. The session waits for another, unless it is over.
    pub(super) fn lost(&mut self) {
        if matches!(self.phase, Phase::Gone | Phase::Detached(_)) {
            return;
        }
        let stays = !self.over && self.session.is_known() && self.app.drain_deadline_ms().is_none();
        if !stays || !self.app.connections.detach(&self.connection) {
            return self.gone(EndReason::Disconnected);
        }
        let mut window_ms = self.app.config.session.resume_window_ms;
        if self.superseded {
            window_ms = window_ms.min(SUPERSEDED_WINDOW_MS);
        }
        self.detach(self.app.clock.now_ms() + window_ms);
        self.look_within(window_ms);
        let _span = self.span();
        tracing::debug!("socket lost, session kept");
    }

    fn detach(&mut self, until_ms: u64) {
        self.phase = Phase::Detached(until_ms);
        self.connection.outbox.set_shortcut(None);
        self.connection.outbox.take_cut(); // of a frame nobody gets
        (self.socket, self.slot) = (None, None);
        (self.out, self.deferred, self.pinged_ms) = (Vec::new(), false, None);
        self.connection.outbox.set_blocked(false);
        self.connection.outbox.reopen();
        self.session.lost(self.connection.outbox.take_lost());
        self.connection.outbox.wake(); // what waits there is kept for later
    }

    /// What is told to a client that is away: session events are kept, the rest is not worth it.
    pub(super) fn keep_notices(&mut self, lane: &mut Lane) {
        while let Some((notice, reply_to)) = self.connection.outbox.pop_notice() {
            self.pass_on(&notice, reply_to.as_deref(), lane);
        }
        match self.connection.outbox.closing() {
            Some((code, _)) if code.ends_session() => self.gone(EndReason::Disconnected),
            Some(_) => {
                self.connection.outbox.reopen();
                self.session.lost(self.connection.outbox.take_lost());
            }
            None => {}
        }
    }

    /// Time passes while the client is away. Returns when to look again.
    pub(super) fn wait_for_return(&mut self, until_ms: u64, now_ms: u64, lane: &mut Lane) -> u64 {
        if now_ms >= until_ms {
            if self.app.sessions.end_unless_resumed(self.connection.session_id()) {
                let _span = self.span();
                tracing::debug!("nobody came back for the session");
                self.gone(EndReason::Disconnected);
            } else {
                self.read_mail(lane);
            }
            return now_ms + 1;
        }
        let mut effects = Vec::new();
        let next_ms = self.session.on_time(now_ms, &mut effects).unwrap_or(until_ms);
        self.carry_out_all(effects, lane);
        next_ms.min(until_ms)
    }

    /// The client is back on another socket: it and all that belongs to it takes the place of the old one.
    pub(super) fn take_over(&mut self, newcomer: Newcomer, lane: &mut Lane) {
        if self.over || self.phase == Phase::Gone {
            return; // it came too late by a hair: its socket closes, its next attempt is told why
        }
        let Newcomer {
            socket,
            slot,
            reader,
            unsent,
            said,
            connection,
            identity,
            expires_ms,
            token,
            last_seq,
            reply_to,
        } = newcomer;
        self.part_with_old_socket(lane);
        self.app.connections.take_over(&self.connection, &connection);
        self.connection.outbox.reopen();
        self.connection.outbox.wake();
        let now_ms = lane.now_us / 1_000;
        self.connection.counters.last_activity_ms.store(now_ms, Relaxed);
        self.connection.counters.last_message_ms.store(now_ms, Relaxed);
        self.streams.iter_mut().for_each(|s| s.heard_ms = now_ms);
        (self.socket, self.slot, self.reader) = (socket.unpack().ok(), slot, Some(reader));
        (self.out, self.deferred, self.pinged_ms, self.wrote_ms) = (unsent, false, None, now_ms);
        (self.phase, self.superseded, self.unsettled) = (Phase::Open, false, true);
        if self.socket.is_none() {
            return self.lost();
        }
        if !self.listeners.is_empty() {
            self.lend_socket();
        }
        self.look_within(0);
        self.session.lost(self.connection.outbox.take_lost());
        self.session.has_seen(last_seq.unwrap_or(0));
        self.note_in_journal(); // the new token, and whose answer it is, survive before they are told
        self.hold_output();
        let replay = self.session.replay(last_seq);
        let (replayed, missed) = (replay.events.len(), replay.missed);
        let mut again = Vec::new();
        replay.events.iter().for_each(|text| websocket::encode(&mut again, OpCode::Text, text));
        let session = SessionInfo {
            id: self.connection.session_id(),
            resume_token: token,
            resume_window_ms: self.app.config.session.resume_window_ms,
        };
        let resumed = Event::Resumed { session, streams: self.session.resumable(), replayed, missed };
        lane.figures.resumed();
        self.send(&resumed, reply_to.as_deref(), lane);
        lane.out.append(&mut again);
        let mut effects = Vec::new();
        self.session.resumed(identity, expires_ms, &mut effects);
        self.carry_out_all(effects, lane);
        let _span = self.span();
        tracing::debug!(replayed, missed, "session resumed");
        for said in said {
            self.settle();
            self.hear(&said, lane);
        }
        self.acknowledge(lane);
    }

    /// The old socket may look alive still: whoever holds it is told that he is no more the one.
    fn part_with_old_socket(&mut self, lane: &mut Lane) {
        let Some(mut old) = self.socket.take() else { return lane.out.clear() };
        self.connection.outbox.set_shortcut(None);
        self.finish_cut(lane.now_us);
        let mut last = std::mem::take(&mut self.out);
        last.append(&mut lane.out);
        if self.phase == Phase::Open {
            let reason = websocket::close_payload(CloseCode::Superseded.code(), "the session was resumed elsewhere");
            websocket::encode(&mut last, OpCode::Close, &reason);
        }
        old.try_write(&last); // what it does not take nobody reads any more
    }

    /// The client was heard on its new socket.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.unsettled) {
            self.app.sessions.settle(self.connection.session_id());
            self.note_in_journal();
        }
    }

    /// Notes in the store that there is this session. One that only goes over into another is not worth it.
    pub(super) fn note_session(&mut self) {
        if self.phase != Phase::Open || !self.session.is_known() {
            return;
        }
        self.noted = true;
        let record = SessionRecord {
            id: self.connection.session_id(),
            client_id: self.connection.client_id().to_owned(),
            user_id: self.session.identity().user_id.clone(),
            created_at_ms: self.connection.created_unix_ms(),
            ended: None,
        };
        if let Err(e) = self.app.store.session_started(record, Box::new(log_failure)) {
            log_failure(Err(e));
        }
    }

    /// Notes in the store that this session is over.
    pub(super) fn note_end(&self) {
        if self.noted {
            let reason = if self.over { "closed" } else { "disconnected" }.to_owned();
            let end = SessionEnd { at_ms: unix_ms(), reason };
            let done = Box::new(|r: Result<bool, _>| log_failure(r.map(|_| ())));
            if let Err(e) = self.app.store.session_ended(self.connection.session_id(), end, done) {
                log_failure(Err(e));
            }
        }
    }
}

/// A session works without its record: it is only for the list.
fn log_failure(kept: Result<(), crate::store::StoreError>) {
    if let Err(e) = kept {
        tracing::debug!(error = %e, "a session was not noted in the store");
    }
}
