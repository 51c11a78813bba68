//! The conversations of one session, and what it may do in them. Knows no other client: who else is there, the hub knows.

use super::{Effect, Session};
use crate::protocol::{BroadcastRequest, Command, ErrorCode, Json, ProtocolError};

/// How long someone types after he last said so, in milliseconds.
pub const TYPING_MS: u64 = 6_000;

/// What happens among people because of a message; that the client may do it has been checked.
#[derive(Clone, Debug, PartialEq)]
pub enum PeopleAct {
    /// Join a conversation, or be told again who is there.
    Join(String),
    /// Leave it; without an `id` the client is told all the same.
    Leave(String),
    /// Keep a message and hand it to the others.
    Post {
        /// Where.
        conversation_id: String,
        /// What.
        content: Json,
    },
    /// Tell the others that he types, or no longer.
    Typing {
        /// Where.
        conversation_id: String,
        /// Whether he does.
        active: bool,
    },
    /// Tell who is there.
    Presence(String),
    /// Tell what was said.
    History {
        /// Where.
        conversation_id: String,
        /// Messages after this one.
        after_seq: u64,
        /// So many at the most.
        limit: u32,
    },
    /// Hand something to many.
    Broadcast(BroadcastRequest),
    /// Keep the user's preferences.
    SetPreferences(Json),
    /// Tell them.
    GetPreferences,
}

#[derive(Debug, Default)]
pub(super) struct Conversations {
    joined: Vec<String>,
    /// The one to join once it is known who he is.
    awaited: Option<String>,
    /// Where he types, and until when that holds.
    typing: Vec<(String, u64)>,
}

impl Conversations {
    pub(super) fn joined(&self) -> &[String] {
        &self.joined
    }

    /// Refuses those who are not in a conversation.
    pub(super) fn require(&self, conversation_id: &str) -> Result<(), ProtocolError> {
        if self.joined.iter().any(|c| c == conversation_id) {
            return Ok(());
        }
        let what = format!("conversation_id: you are not in '{conversation_id}'; send join_conversation first");
        Err(ProtocolError::new(ErrorCode::Forbidden, what))
    }

    /// Ends his typing there. True where he typed.
    fn stops_typing(&mut self, conversation_id: &str) -> bool {
        let at = self.typing.iter().position(|(c, _)| c == conversation_id);
        at.map(|at| self.typing.swap_remove(at)).is_some()
    }
}

impl Session {
    /// Joins a conversation as `join_conversation` does; a client that has not said who it is joins when it has.
    ///
    /// # Errors
    /// `FORBIDDEN` where the client may not enter, `CONVERSATION_LIMIT` where it is in as many as it may.
    pub fn join(
        &mut self,
        conversation_id: String,
        id: Option<String>,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        if self.access.check().is_err() {
            self.conversations.awaited = Some(conversation_id);
            return Ok(());
        }
        if !self.identity().may_enter(&conversation_id) {
            let what = format!("conversation_id: you may not enter '{conversation_id}'");
            return Err(ProtocolError::new(ErrorCode::Forbidden, what));
        }
        if self.conversations.require(&conversation_id).is_err() {
            if self.conversations.joined.len() >= self.limits.conversations_max {
                let what = format!("you are in {} conversations, leave one first", self.limits.conversations_max);
                return Err(ProtocolError::new(ErrorCode::ConversationLimit, what));
            }
            self.conversations.joined.push(conversation_id.clone());
        }
        fx.push(Effect::People(PeopleAct::Join(conversation_id), id));
        Ok(())
    }

    pub(super) fn people(
        &mut self,
        command: Command<'_>,
        id: Option<String>,
        now_ms: u64,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        let act = match command {
            Command::JoinConversation { conversation_id } => return self.join(conversation_id, id, fx),
            Command::LeaveConversation { conversation_id } => {
                self.conversations.require(&conversation_id)?;
                self.leave(conversation_id, id, fx);
                return Ok(());
            }
            Command::Message { conversation_id, content } => {
                self.conversations.require(&conversation_id)?;
                self.type_in(&conversation_id, false, now_ms, fx);
                PeopleAct::Post { conversation_id, content }
            }
            Command::Typing { conversation_id, active } => {
                self.conversations.require(&conversation_id)?;
                self.type_in(&conversation_id, active, now_ms, fx);
                return Ok(());
            }
            Command::PresenceRequest { conversation_id } => {
                self.require_or_admin(&conversation_id)?;
                PeopleAct::Presence(conversation_id)
            }
            Command::HistoryRequest { conversation_id, after_seq, limit } => {
                self.require_or_admin(&conversation_id)?;
                PeopleAct::History { conversation_id, after_seq, limit }
            }
            Command::BroadcastRequest(request) => {
                if let Some(c) = request.target.as_ref().and_then(|t| t.conversation_id.as_ref()) {
                    self.require_or_admin(c)?;
                }
                PeopleAct::Broadcast(request)
            }
            Command::SetPreferences { preferences } => PeopleAct::SetPreferences(preferences),
            Command::GetPreferences => PeopleAct::GetPreferences,
            _ => return Ok(()), // the caller's list is this one
        };
        fx.push(Effect::People(act, id));
        Ok(())
    }

    fn require_or_admin(&self, conversation_id: &str) -> Result<(), ProtocolError> {
        if self.identity().admin { Ok(()) } else { self.conversations.require(conversation_id) }
    }

    fn leave(&mut self, conversation_id: String, id: Option<String>, fx: &mut Vec<Effect>) {
        if self.conversations.stops_typing(&conversation_id) {
            fx.push(typing(&conversation_id, false));
        }
        // Whoever has left is not heard there any longer.
        fx.extend(self.streams.end_in(&conversation_id).into_iter().map(|index| Effect::End(index, None)));
        self.conversations.joined.retain(|c| *c != conversation_id);
        fx.push(Effect::People(PeopleAct::Leave(conversation_id), id));
    }

    /// Joins the conversation that waited for the client to be known.
    pub(super) fn join_awaited(&mut self, fx: &mut Vec<Effect>) {
        if let Some(c) = self.conversations.awaited.take()
            && let Err(e) = self.join(c, None, fx)
        {
            self.fault(e, None, fx);
        }
    }

    /// Leaves the conversations a new identity may not be in.
    pub(super) fn leave_forbidden(&mut self, fx: &mut Vec<Effect>) {
        let forbidden: Vec<_> =
            self.conversations.joined.iter().filter(|c| !self.identity().may_enter(c)).cloned().collect();
        for c in forbidden {
            self.leave(c, None, fx);
        }
    }

    /// Others are told of a change only; saying it again prolongs it.
    fn type_in(&mut self, conversation_id: &str, active: bool, now_ms: u64, fx: &mut Vec<Effect>) {
        let before = self.conversations.stops_typing(conversation_id);
        if active {
            self.conversations.typing.push((conversation_id.to_owned(), now_ms + TYPING_MS));
        }
        if before != active {
            fx.push(typing(conversation_id, active));
        }
    }

    /// Ends the typing that was not renewed. Returns when the next will end.
    pub(super) fn typing_times_out(&mut self, now_ms: u64, fx: &mut Vec<Effect>) -> Option<u64> {
        for (c, _) in self.conversations.typing.extract_if(.., |(_, until_ms)| now_ms >= *until_ms) {
            fx.push(typing(&c, false));
        }
        self.conversations.typing.iter().map(|(_, until_ms)| *until_ms).min()
    }
}

fn typing(conversation_id: &str, active: bool) -> Effect {
    Effect::People(PeopleAct::Typing { conversation_id: conversation_id.to_owned(), active }, None)
}
