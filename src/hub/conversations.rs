//! Conversations: who is in which, with how many connections, who types and speaks, and what has been said last. What was said is the
//! store's; here it is handed to whoever is there. One lock holds all of it for as long as it takes to queue a message to a room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Connection;
use super::notice::Notice;
use crate::clock::{rfc3339, unix_ms};
use crate::protocol::{Event, Json, Member, MemberId, PresenceChange, Speaker, Topic};

/// A connection in a conversation.
#[derive(Debug)]
struct Seat {
    connection: Arc<Connection>,
    member: MemberId,
    typing: bool,
    /// Streams it sends into the conversation.
    streams: usize,
}

/// A client in a conversation, on one or more connections.
#[derive(Debug, Default)]
struct Attendance {
    connections: usize,
    since_unix_ms: u64,
    typing: usize,
    streams: usize,
}

/// One who joined while the number of the last message was being looked up.
type Waiting = (Arc<Connection>, Option<String>);

#[derive(Debug, Default)]
struct Room {
    seats: HashMap<u64, Seat>,
    members: HashMap<MemberId, Attendance>,
    /// The number of its last message; none while it is not known.
    last_seq: Option<u64>,
    waiting: Vec<Waiting>,
}

/// Whether the caller of [`Conversations::join`] has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Joined {
    /// The client was answered.
    Answered,
    /// Look up the number of the last message and report it by [`Conversations::loaded`], which answers.
    LookUp,
    /// Someone else's look-up will answer.
    Waits,
}

/// Every conversation someone is in.
#[derive(Debug, Default)]
pub struct Conversations {
    rooms: Mutex<HashMap<String, Room>>,
}

impl Conversations {
    /// Seats a connection; one that sits already is answered again.
    pub fn join(&self, connection: &Arc<Connection>, conversation_id: &str, reply_to: Option<String>) -> Joined {
        let mut rooms = self.lock();
        let room = rooms.entry(conversation_id.to_owned()).or_default();
        room.seat(conversation_id, connection);
        if let Some(seq) = room.last_seq {
            room.answer(conversation_id, connection, reply_to.as_deref(), Some(seq));
            return Joined::Answered;
        }
        room.waiting.push((Arc::clone(connection), reply_to));
        if room.waiting.len() == 1 { Joined::LookUp } else { Joined::Waits }
    }

    /// The number of a conversation's last message is known, or cannot be had now.
    pub fn loaded(&self, conversation_id: &str, last_seq: Option<u64>) {
        if let Some(room) = self.lock().get_mut(conversation_id) {
            room.last_seq = room.last_seq.or(last_seq);
            room.answer_waiting(conversation_id);
        }
    }

    /// Takes a connection out of a conversation and tells the others, and itself.
    pub fn leave(&self, connection: &Connection, conversation_id: &str, reply_to: Option<&str>) {
        self.take_out(connection, conversation_id);
        let left = Event::ConversationLeft { conversation_id: conversation_id.to_owned() };
        connection.outbox.reply(&left, reply_to);
    }

    /// A connection is gone for good.
    pub fn gone(&self, connection: &Connection) {
        for c in connection.conversations() {
            self.take_out(connection, &c);
        }
    }

    fn take_out(&self, connection: &Connection, conversation_id: &str) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(conversation_id) else { return };
        room.waiting.retain(|(c, _)| c.key() != connection.key());
        room.unseat(conversation_id, connection.key());
        if room.seats.is_empty() {
            rooms.remove(conversation_id);
        }
    }

    /// A message was accepted: it is handed to all but the connection it came from.
    pub fn accepted(&self, conversation_id: &str, message_seq: u64, from: Speaker, content: Json, sender: Option<u64>) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(conversation_id) else { return };
        if room.last_seq.is_none() {
            room.last_seq = Some(message_seq.saturating_sub(1));
            room.answer_waiting(conversation_id);
        }
        room.last_seq = room.last_seq.max(Some(message_seq));
        let conversation_id = conversation_id.to_owned();
        let notice = Notice::new(&Event::Message { conversation_id, message_seq, from, content });
        room.tell(&notice, None, sender);
    }

    /// Someone types, or no longer does.
    pub fn typing(&self, connection: &Connection, conversation_id: &str, active: bool) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(conversation_id) else { return };
        let Some(seat) = room.seats.get_mut(&connection.key()) else { return };
        if std::mem::replace(&mut seat.typing, active) == active {
            return;
        }
        if let Some(a) = room.members.get_mut(&seat.member) {
            a.typing = if active { a.typing + 1 } else { a.typing.saturating_sub(1) };
        }
        let from = connection.speaker();
        let event = Event::Typing { conversation_id: conversation_id.to_owned(), from, active };
        room.tell(&Notice::new(&event), Some(Topic::Typing), Some(connection.key()));
    }

    /// A stream into the conversation began, or ended.
    pub fn streaming(&self, connection: &Connection, conversation_id: &str, begins: bool) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(conversation_id) else { return };
        let Some(seat) = room.seats.get_mut(&connection.key()) else { return };
        if !begins && seat.streams == 0 {
            return; // it began before its connection left and came back: it was taken off then
        }
        seat.streams = if begins { seat.streams + 1 } else { seat.streams - 1 };
        let member = seat.member.clone();
        let Some(a) = room.members.get_mut(&member) else { return };
        let before = a.streams > 0;
        a.streams = if begins { a.streams + 1 } else { a.streams.saturating_sub(1) };
        if before != (a.streams > 0) {
            room.tell_change(conversation_id, &member, PresenceChange::Updated, None);
        }
    }

    /// Hands a message to everyone in a conversation but those `skip` says. Returns to how many.
    pub fn broadcast(&self, conversation_id: &str, notice: &Notice, skip: impl Fn(&Connection) -> bool) -> usize {
        let rooms = self.lock();
        let seats = rooms.get(conversation_id).into_iter().flat_map(|r| r.seats.values());
        seats.filter(|s| !skip(&s.connection) && s.connection.outbox.share(notice)).count()
    }

    /// Who is in a conversation, longest first.
    pub fn members(&self, conversation_id: &str) -> Vec<Member> {
        self.lock().get(conversation_id).map(Room::list).unwrap_or_default()
    }

    /// How many conversations have someone in them.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nobody is in any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn seat(&mut self, conversation_id: &str, connection: &Arc<Connection>) {
        if self.seats.contains_key(&connection.key()) {
            return;
        }
        let member = connection.member_id();
        let seat = Seat { connection: Arc::clone(connection), member: member.clone(), typing: false, streams: 0 };
        self.seats.insert(connection.key(), seat);
        connection.joined(conversation_id);
        let a = self
            .members
            .entry(member.clone())
            .or_insert_with(|| Attendance { since_unix_ms: unix_ms(), ..Attendance::default() });
        a.connections += 1;
        let change = if a.connections == 1 { PresenceChange::Joined } else { PresenceChange::Updated };
        self.tell_change(conversation_id, &member, change, Some(connection.key()));
    }

    fn unseat(&mut self, conversation_id: &str, key: u64) {
        let Some(seat) = self.seats.remove(&key) else { return };
        seat.connection.left(conversation_id);
        if seat.typing {
            let conversation_id = conversation_id.to_owned();
            let event = Event::Typing { conversation_id, from: seat.connection.speaker(), active: false };
            self.tell(&Notice::new(&event), Some(Topic::Typing), None);
        }
        let Some(a) = self.members.get_mut(&seat.member) else { return };
        a.connections -= 1;
        a.streams = a.streams.saturating_sub(seat.streams);
        a.typing = a.typing.saturating_sub(usize::from(seat.typing));
        let change = if a.connections == 0 { PresenceChange::Left } else { PresenceChange::Updated };
        self.tell_change(conversation_id, &seat.member, change, None);
        if change == PresenceChange::Left {
            self.members.remove(&seat.member);
        }
    }

    fn answer(&self, conversation_id: &str, to: &Connection, reply_to: Option<&str>, last_message_seq: Option<u64>) {
        let conversation_id = conversation_id.to_owned();
        let joined = Event::ConversationJoined { conversation_id, members: self.list(), last_message_seq };
        to.outbox.reply(&joined, reply_to);
    }

    fn answer_waiting(&mut self, conversation_id: &str) {
        for (connection, reply_to) in std::mem::take(&mut self.waiting) {
            self.answer(conversation_id, &connection, reply_to.as_deref(), self.last_seq);
        }
    }

    fn tell_change(&self, conversation_id: &str, member: &MemberId, change: PresenceChange, except: Option<u64>) {
        let a = self.members.get(member);
        let event = Event::PresenceChanged {
            conversation_id: conversation_id.to_owned(),
            member: member.clone(),
            change,
            connections: a.map_or(0, |a| a.connections),
            streaming: a.is_some_and(|a| a.streams > 0),
        };
        self.tell(&Notice::new(&event), Some(Topic::Presence), except);
    }

    fn tell(&self, notice: &Notice, topic: Option<Topic>, except: Option<u64>) {
        for (key, seat) in &self.seats {
            if Some(*key) != except && topic.is_none_or(|t| seat.connection.wants(t)) {
                seat.connection.outbox.share(notice);
            }
        }
    }

    fn list(&self) -> Vec<Member> {
        let mut all: Vec<_> = self.members.iter().collect();
        all.sort_by(|(a, x), (b, y)| {
            (x.since_unix_ms, &a.client_id, &a.user_id).cmp(&(y.since_unix_ms, &b.client_id, &b.user_id))
        });
        let member = |(id, a): (&MemberId, &Attendance)| Member {
            id: id.clone(),
            connections: a.connections,
            since: rfc3339(a.since_unix_ms),
            typing: a.typing > 0,
            streaming: a.streams > 0,
        };
        all.into_iter().map(member).collect()
    }
}
