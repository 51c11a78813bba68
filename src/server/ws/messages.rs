//! What a connection's messages cause: the session's effects, carried out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::lane::Lane;
use super::task::Task;
use crate::clock::rfc3339;
use crate::hub::Connection;
use crate::protocol::{BINARY, CloseCode, ConnectionInfo, ErrorCode, Event, ListenTarget, ProtocolError, ServerState};
use crate::server::admin;
use crate::server::api::health;
use crate::server::peer::shown;
use crate::server::state::App;
use crate::session::{Effect, PeopleAct, Query, Route};
use crate::upstream::{Question, Reply};

/// Listeners one connection may have; as many as a mixing desk has channels.
const LISTENERS_MAX: usize = 64;

impl Task {
    /// Takes a binary message.
    pub(super) fn binary(&mut self, payload: &[u8], now_us: u64, lane: &mut Lane) {
        lane.figures.message(BINARY);
        self.connection.counters.last_message_ms.store(now_us / 1_000, Relaxed);
        match self.session.route_binary(payload) {
            Route::Audio { index, skip } => self.audio(index, &payload[skip..], now_us, lane),
            Route::OpenFirst(open) => {
                let index = open.index;
                self.open_stream(*open, lane);
                self.audio(index, payload, now_us, lane);
            }
            Route::Refuse(Some(e)) => {
                self.connection.counters.errors.fetch_add(1, Relaxed);
                self.send(&Event::Error(e), None, lane);
            }
            Route::Refuse(None) | Route::Empty => {}
        }
    }

    /// Takes a text message.
    pub(super) fn text(&mut self, text: &str, now_us: u64, lane: &mut Lane) {
        let message = self.session.read(text);
        let timed = !message.is_audio();
        lane.figures.message(message.kind());
        if !message.is_heartbeat() {
            self.connection.counters.last_message_ms.store(now_us / 1_000, Relaxed);
        }
        if !message.is_audio()
            && let Err(e) = self.limits.message()
        {
            self.fault(e, message.into_id(), lane);
            self.close_if_ignored(lane);
            return;
        }
        let _span = timed.then(|| self.span());
        let mut base64 = std::mem::take(&mut lane.base64);
        let mut effects = std::mem::take(&mut lane.effects);
        self.session.handle(message, now_us / 1_000, &mut base64, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect, &base64, now_us, lane);
        }
        lane.base64 = base64;
        lane.effects = effects;
        if timed {
            lane.figures.processing.add(self.app.clock.now_us().saturating_sub(now_us));
        }
    }

    /// Counts a control frame among the messages and tells whether it is within their rate. One that is not gets no answer.
    pub(super) fn is_control_taken(&mut self, lane: &mut Lane) -> bool {
        let taken = self.limits.message().is_ok();
        self.close_if_ignored(lane);
        taken
    }

    fn close_if_ignored(&mut self, lane: &mut Lane) {
        if self.limits.are_ignored() {
            self.close(CloseCode::RateLimited, "too many messages a second", lane);
        }
    }

    /// Carries out what something other than a message caused.
    pub(super) fn carry_out_all(&mut self, effects: Vec<Effect>, lane: &mut Lane) {
        for effect in effects {
            self.carry_out(effect, &[], 0, lane);
        }
    }

    /// Tells the client of an error and counts it.
    pub(super) fn fault(&mut self, error: ProtocolError, reply_to: Option<String>, lane: &mut Lane) {
        let mut effects = Vec::new();
        self.session.fault(error, reply_to, &mut effects);
        self.carry_out_all(effects, lane);
    }

    fn carry_out(&mut self, effect: Effect, audio: &[u8], now_us: u64, lane: &mut Lane) {
        match effect {
            Effect::Send(event, reply_to) => {
                if let Event::Error(_) = event {
                    self.connection.counters.errors.fetch_add(1, Relaxed);
                }
                self.send(&event, reply_to.as_deref(), lane);
            }
            Effect::Open(open) => self.open_stream(*open, lane),
            Effect::Audio { index, skip, reply_to } => {
                if skip < audio.len() {
                    self.audio(index, &audio[skip..], now_us, lane);
                }
                if reply_to.is_some() {
                    self.flush_stream(index, reply_to);
                }
            }
            Effect::Flush(index, reply_to) => self.flush_stream(index, reply_to),
            Effect::End(index, reply_to) => self.finish_stream(index, reply_to),
            Effect::Cancel(index, reply_to) => self.cancel_stream(index, reply_to),
            Effect::Listen(target, reply_to) => self.listen(&target, reply_to, lane),
            Effect::StopListening(id, reply_to) => self.stop_listening(id, reply_to, lane),
            Effect::Subscriptions(events) => {
                self.connection.set_subscriptions(events);
                self.update_sinks();
                self.note_in_journal();
            }
            Effect::Respond { text, conversation_id, reply_to } => self.respond(text, conversation_id, reply_to, lane),
            Effect::Ask(query, reply_to) => self.answer(&query, reply_to, lane),
            Effect::People(act, reply_to) => {
                let moves = matches!(act, PeopleAct::Join(_) | PeopleAct::Leave(_));
                self.people(act, reply_to, lane);
                if moves {
                    self.note_in_journal();
                }
            }
            Effect::Authenticate(token, reply_to) => self.authenticate(token, reply_to, lane),
            Effect::Resume(request, reply_to) => self.resume(request, reply_to, lane),
            Effect::Admin(command, reply_to) => {
                let request = command.name();
                let data = admin::carry_out(&self.app, command, &self.connection.speaker());
                self.send(&Event::AdminResult { request, data }, reply_to.as_deref(), lane);
            }
            Effect::Close(code, reason) => self.close(code, reason, lane),
        }
    }

    fn listen(&mut self, target: &ListenTarget, reply_to: Option<String>, lane: &mut Lane) {
        if self.listeners.len() >= LISTENERS_MAX {
            let e = ProtocolError::new(
                ErrorCode::StreamLimit,
                format!("{LISTENERS_MAX} listeners are open: stop one first"),
            );
            return self.fault(e, reply_to, lane);
        }
        let session = &self.session;
        let member = |c: &str| session.conversations().iter().any(|joined| joined == c);
        match self.app.streams.listen(&self.connection, target, |name| session.own_stream(name), member) {
            Some(l) => {
                self.listeners.push(l.listener_id);
                self.lend_socket();
                let event = Event::Listening { listener_id: l.listener_id.to_string(), streams: l.streams };
                self.send(&event, reply_to.as_deref(), lane);
            }
            None => {
                let e = ProtocolError::new(
                    ErrorCode::StreamNotFound,
                    "no such stream or conversation is yours to hear: one's own, one's conversation's, or as admin any",
                );
                self.fault(e, reply_to, lane);
            }
        }
    }

    fn stop_listening(&mut self, id: String, reply_to: Option<String>, lane: &mut Lane) {
        let own = self.listeners.iter().position(|l| l.to_string() == id);
        match own {
            Some(at) => {
                self.app.streams.stop_listening(self.listeners.swap_remove(at));
                self.send(&Event::ListeningStopped { listener_id: id }, reply_to.as_deref(), lane);
            }
            None => {
                self.fault(
                    ProtocolError::new(ErrorCode::NotFound, "listener_id: you have no such listener"),
                    reply_to,
                    lane,
                );
            }
        }
    }

    fn respond(&mut self, text: String, conversation_id: Option<String>, reply_to: Option<String>, lane: &mut Lane) {
        let Some(responder) = &self.app.responder else {
            let e = ProtocolError::new(ErrorCode::UpstreamUnavailable, "no responder is configured");
            return self.fault(e, reply_to, lane);
        };
        let reply = Reply::new(Arc::clone(&self.connection), reply_to.clone());
        let question = Question {
            text,
            conversation_id,
            session_id: self.connection.session_id(),
            user: self.connection.identity().user_id.clone(),
        };
        responder.respond(question, reply);
        self.send(&Event::StatusUpdate(ServerState::Processing), reply_to.as_deref(), lane);
    }

    fn answer(&mut self, query: &Query, reply_to: Option<String>, lane: &mut Lane) {
        let now_ms = self.app.clock.now_ms();
        let event = match query {
            Query::Status => Event::StatusUpdate(self.app.server_state()),
            Query::Health => Event::Health(health::body(&self.app, self.session.identity().admin)),
            Query::ConnectionInfo(None) => {
                Event::ConnectionInfo(Box::new(connection_info(&self.app, &self.connection)))
            }
            Query::ConnectionInfo(Some(id)) => match self.app.connections.get(*id) {
                Some(c) => Event::ConnectionInfo(Box::new(connection_info(&self.app, &c))),
                None => {
                    let e = ProtocolError::new(ErrorCode::NotFound, "connection_id: no such connection");
                    return self.fault(e, reply_to, lane);
                }
            },
            Query::ConnectionStatus => {
                let c = &self.connection;
                Event::ConnectionStatus {
                    state: c.state(),
                    connected_ms: now_ms.saturating_sub(c.meta().connected_ms),
                    last_activity: rfc3339(self.app.clock.unix_ms_of(c.counters.last_activity_ms())),
                    rtt_ms: self.rtt_ms,
                    consecutive_errors: self.session.faults_in_a_row(),
                    queue: c.outbox.info(),
                }
            }
        };
        self.send(&event, reply_to.as_deref(), lane);
    }
}

/// What is told of a connection.
pub(crate) fn connection_info(app: &App, c: &Connection) -> ConnectionInfo {
    let (n, meta, identity) = (&c.counters, c.meta(), c.identity());
    ConnectionInfo {
        connection_id: meta.id,
        client_id: c.client_id().to_owned(),
        user_id: identity.user_id.clone(),
        roles: identity.roles.clone(),
        remote_addr: shown(meta.remote_addr),
        user_agent: meta.user_agent.clone(),
        state: c.state(),
        connected_at: rfc3339(meta.connected_unix_ms),
        last_activity: rfc3339(app.clock.unix_ms_of(n.last_activity_ms())),
        messages_in: n.messages_in.load(Relaxed),
        messages_out: n.messages_out.load(Relaxed),
        bytes_in: n.bytes_in.load(Relaxed),
        bytes_out: c.outbox.bytes_out.load(Relaxed),
        errors: n.errors.load(Relaxed),
        conversations: c.conversations(),
        subscriptions: c.subscriptions().topics(),
        streams: app.streams.of_connection(c),
    }
}
