//! The state machine of one client: what it said goes in, what must happen comes out. No socket, clock, queue or codec.
//!
//! Order of calls: [`Session::handle_text`] and [`Session::route_binary`] as messages come, [`Session::on_time`] when its deadline has
//! passed; the runtime carries the effects out in order and reports back by [`Session::opened`], [`Session::closed`],
//! [`Session::authenticated`] and [`Session::fault`]. Nothing else changes the state.

mod effect;
mod identity;
mod people;
mod restore;
mod ring;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::dialect::native;
use crate::protocol::{
    CloseCode, Command, Envelope, ErrorCode, Event, EventSet, Identity, ProtocolError, ResumedStream, Topic, UNREADABLE,
};

pub use effect::{Effect, OpenStream, Query, SessionLimits, StreamDefaults};
use identity::Access;
pub use identity::Authentication;
use people::Conversations;
pub use people::{PeopleAct, TYPING_MS};
pub use ring::Replay;
use ring::Ring;
pub use streams::Route;
use streams::Streams;

/// Answers kept so that a repeated `id` is not done twice; more than a client has open at once.
const ANSWERS_KEPT: usize = 32;

/// A text message that was read but not acted on; one that cannot be read is one too.
#[derive(Debug)]
pub struct Message<'a>(Result<Envelope<'a>, Box<(Option<String>, ProtocolError)>>);

impl Message<'_> {
    /// Whether it is audio, which flow control bounds and no rate does.
    pub fn is_audio(&self) -> bool {
        matches!(self.0, Ok(Envelope { command: Command::AudioData(_), .. }))
    }

    /// The number of its type in [`MESSAGE_TYPES`](crate::protocol::MESSAGE_TYPES).
    pub fn kind(&self) -> usize {
        self.0.as_ref().map_or(UNREADABLE, |m| m.command.kind())
    }

    /// Whether it only says that the client is there.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self.0, Ok(Envelope { command: Command::Ping { .. } | Command::Pong, .. }))
    }

    /// Its `id`.
    pub fn into_id(self) -> Option<String> {
        self.0.map_or_else(|failed| failed.0, |m| m.id)
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    limits: SessionLimits,
    defaults: StreamDefaults,
    access: Access,
    subscriptions: EventSet,
    conversations: Conversations,
    streams: Streams,
    faults_in_a_row: u32,
    ring: Ring,
    answered: VecDeque<(String, Event)>,
}

impl Session {
    /// A new session. `new_uid` makes stream ids.
    pub fn new(
        limits: SessionLimits,
        defaults: StreamDefaults,
        authentication: Authentication,
        new_uid: fn() -> Uuid,
    ) -> Self {
        Self {
            limits,
            defaults,
            access: Access::new(authentication),
            subscriptions: EventSet::DEFAULT,
            conversations: Conversations::default(),
            streams: Streams::new(new_uid),
            faults_in_a_row: 0,
            ring: Ring::new(limits.event_ring),
            answered: VecDeque::new(),
        }
    }

    /// What the client wants to be told.
    pub fn subscriptions(&self) -> EventSet {
        self.subscriptions
    }

    /// Who the client is; nobody while authentication is still to come.
    pub fn identity(&self) -> &Arc<Identity> {
        self.access.identity()
    }

    /// The conversations it is in.
    pub fn conversations(&self) -> &[String] {
        self.conversations.joined()
    }

    /// Faults since the last good message.
    pub fn faults_in_a_row(&self) -> u32 {
        self.faults_in_a_row
    }

    /// The number of the next session event, whose text goes to [`Session::keep`].
    pub fn next_seq(&mut self) -> u64 {
        self.ring.next_seq()
    }

    /// Keeps the text of the session event that got the newest number, for a client that comes back.
    pub fn keep(&mut self, text: &[u8]) {
        self.ring.push(text);
    }

    /// So many session events were lost before they got a number.
    pub fn lost(&mut self, events: u64) {
        self.ring.skip(events);
    }

    /// What a client gets that has seen the events up to `last_seq`; one that does not say gets nothing.
    pub fn replay(&self, last_seq: Option<u64>) -> Replay<'_> {
        self.ring.after(last_seq.unwrap_or(u64::MAX))
    }

    /// Where each open stream goes on after the socket changed.
    pub fn resumable(&self) -> Vec<ResumedStream> {
        self.streams.resumable()
    }

    /// The open stream of that name, for those who name their own in `listen_start`.
    pub fn own_stream(&self, stream_id: &str) -> Option<Uuid> {
        self.streams.by_name(stream_id).map(|s| s.uid)
    }

    /// Takes a text message. Audio in it is decoded into `scratch`.
    pub fn handle_text(&mut self, text: &str, now_ms: u64, scratch: &mut Vec<u8>, fx: &mut Vec<Effect>) {
        self.handle(self.read(text), now_ms, scratch, fx);
    }

    /// Reads a text message, so that it may be refused before [`Session::handle`] acts on it.
    pub fn read<'a>(&self, text: &'a str) -> Message<'a> {
        Message(native::decode(text, self.limits.decode))
    }

    /// Acts on a message. Audio in it is decoded into `scratch`.
    pub fn handle(&mut self, message: Message<'_>, now_ms: u64, scratch: &mut Vec<u8>, fx: &mut Vec<Effect>) {
        match message.0 {
            Ok(m) => match self.command(m.command, m.id.clone(), now_ms, scratch, fx) {
                Ok(()) => self.faults_in_a_row = 0,
                Err(e) => self.fault(e, m.id, fx),
            },
            Err(failed) => {
                let (id, e) = *failed;
                self.fault(e, id, fx);
            }
        }
    }

    /// Takes a binary message: says which stream its bytes belong to.
    pub fn route_binary(&mut self, payload: &[u8]) -> Route {
        let route = match self.access.check() {
            Ok(()) => self.streams.route(payload, &self.limits, &self.defaults, self.subscriptions),
            Err(e) => self.streams.refuse(e),
        };
        match &route {
            Route::Audio { .. } | Route::OpenFirst(_) => self.faults_in_a_row = 0,
            Route::Refuse(_) | Route::Empty => {}
        }
        route
    }

    /// Reports an error to the client and counts it.
    pub fn fault(&mut self, error: ProtocolError, reply_to: Option<String>, fx: &mut Vec<Effect>) {
        let counts = error.code.is_fault();
        fx.push(Effect::Send(Event::Error(error), reply_to));
        if counts {
            self.faults_in_a_row += 1;
            if self.faults_in_a_row >= self.limits.faults_max {
                fx.push(Effect::Close(CloseCode::TooManyFaults, "too many faulty messages in a row"));
            }
        }
    }

    /// A stream was opened and this is the answer to its `audio_start`.
    pub fn opened(&mut self, reply_to: Option<&str>, answer: &Event) {
        if let Some(id) = reply_to {
            if self.answered.len() == ANSWERS_KEPT {
                self.answered.pop_front();
            }
            self.answered.push_back((id.to_owned(), answer.clone()));
        }
    }

    /// A stream is gone; its name is free again.
    pub fn closed(&mut self, index: u32) {
        self.streams.remove(index);
    }

    /// A stream takes no more audio though its end is still to come: it failed, or time is up.
    pub fn ending(&mut self, index: u32) {
        self.streams.set_ending(index);
    }

    /// What the client sends cannot be told and it was told so: more of it is refused without a word until an `audio_start`.
    pub fn refuse_binary(&mut self) {
        self.streams.refuse_silently();
    }

    fn command(
        &mut self,
        command: Command<'_>,
        id: Option<String>,
        now_ms: u64,
        scratch: &mut Vec<u8>,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        if let Command::Authenticate { token } = command {
            fx.push(Effect::Authenticate(token, id));
            return Ok(());
        }
        self.access.check()?;
        match command {
            Command::AudioData(a) => {
                return self.streams.audio_data(a, id, scratch, &self.limits, &self.defaults, self.subscriptions, fx);
            }
            Command::AudioStart(a) => {
                if let Some((_, answer)) = self.answered.iter().find(|(known, _)| Some(known) == id.as_ref()) {
                    fx.push(Effect::Send(answer.clone(), id));
                    return Ok(());
                }
                if let Some(c) = &a.conversation_id {
                    self.conversations.require(c)?;
                }
                let open = self.streams.start(a, id, &self.limits, &self.defaults, self.subscriptions)?;
                fx.push(Effect::Open(Box::new(open)));
            }
            Command::AudioFlush { stream_id } => fx.push(Effect::Flush(self.streams.find(stream_id.as_deref())?, id)),
            Command::AudioEnd { stream_id } => fx.push(Effect::End(self.streams.end(stream_id.as_deref())?, id)),
            Command::AudioCancel { stream_id } => fx.push(Effect::Cancel(self.streams.end(stream_id.as_deref())?, id)),
            Command::Ping { payload } => fx.push(Effect::Send(Event::Pong { payload }, id)),
            Command::Pong => {}
            Command::Text { text, conversation_id } => {
                if let Some(c) = &conversation_id {
                    self.conversations.require(c)?;
                }
                fx.push(Effect::Respond { text, conversation_id, reply_to: id });
            }
            Command::StatusRequest => fx.push(Effect::Ask(Query::Status, id)),
            Command::ConnectionInfoRequest { connection_id } => {
                if connection_id.is_some() && !self.identity().admin {
                    return Err(ProtocolError::new(
                        ErrorCode::Forbidden,
                        "another connection's information is for administrators",
                    ));
                }
                fx.push(Effect::Ask(Query::ConnectionInfo(connection_id), id));
            }
            Command::GetConnectionStatus => fx.push(Effect::Ask(Query::ConnectionStatus, id)),
            Command::HealthCheck => fx.push(Effect::Ask(Query::Health, id)),
            Command::ListenStart(target) => fx.push(Effect::Listen(target, id)),
            Command::ListenStop { listener_id } => fx.push(Effect::StopListening(listener_id, id)),
            Command::SubscribeEvents { events } => self.subscribe(&events, true, id, fx),
            Command::UnsubscribeEvents { events } => self.subscribe(&events, false, id, fx),
            Command::JoinConversation { .. }
            | Command::LeaveConversation { .. }
            | Command::Message { .. }
            | Command::Typing { .. }
            | Command::PresenceRequest { .. }
            | Command::HistoryRequest { .. }
            | Command::BroadcastRequest(_)
            | Command::SetPreferences { .. }
            | Command::GetPreferences => return self.people(command, id, now_ms, fx),
            Command::Resume(request) => fx.push(Effect::Resume(request, id)),
            Command::Admin(request) => {
                if !self.identity().admin {
                    let what = format!("{} is for administrators", request.name());
                    return Err(ProtocolError::new(ErrorCode::Forbidden, what));
                }
                fx.push(Effect::Admin(request, id));
            }
            Command::Authenticate { .. } => {} // before the check above
        }
        Ok(())
    }

    fn subscribe(&mut self, names: &[String], on: bool, id: Option<String>, fx: &mut Vec<Effect>) {
        let mut denied = Vec::new();
        for name in names {
            match Topic::from_name(name) {
                Some(t) if !on => self.subscriptions.remove(t),
                Some(t) if self.identity().admin || !t.is_admin_only() => self.subscriptions.insert(t),
                Some(_) | None => denied.push(name.chars().take(64).collect()),
            }
        }
        fx.push(Effect::Subscriptions(self.subscriptions));
        fx.push(Effect::Send(Event::SubscriptionUpdated { active: self.subscriptions.topics(), denied }, id));
    }
}
