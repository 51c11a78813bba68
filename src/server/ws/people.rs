//! Conversations, broadcasts and preferences, as one connection asks for them. What the store must be asked runs beside the connection
//! and answers through its outbox.

use std::sync::Arc;

use uuid::Uuid;

use super::lane::Lane;
use super::task::Task;
use crate::clock::unix_ms;
use crate::hub::{Connection, Joined, Notice};
use crate::protocol::{BroadcastRequest, ErrorCode, Event, HistoryMessage, Json, ProtocolError, Speaker, Timestamp};
use crate::server::state::App;
use crate::session::{PeopleAct, TYPING_MS};
use crate::store::{Appended, NewMessage, Owner, StoreError, StoredMessage};

/// Bytes of messages in one answer: a client that asks for more gets them by asking again after the last.
const HISTORY_BYTES_MAX: usize = 256 * 1024;

impl Task {
    pub(super) fn people(&mut self, act: PeopleAct, reply_to: Option<String>, lane: &mut Lane) {
        match act {
            PeopleAct::Join(c) => self.join(c, reply_to),
            PeopleAct::Leave(c) => self.leave(&c, reply_to.as_deref(), lane),
            PeopleAct::Post { conversation_id, content } => self.post(conversation_id, content, reply_to, lane),
            PeopleAct::Typing { conversation_id, active } => {
                self.app.conversations.typing(&self.connection, &conversation_id, active);
                self.look_within(TYPING_MS);
            }
            PeopleAct::Presence(conversation_id) => {
                let members = self.app.conversations.members(&conversation_id);
                self.send(&Event::Presence { conversation_id, members }, reply_to.as_deref(), lane);
            }
            PeopleAct::History { conversation_id, after_seq, limit } => {
                self.beside(reply_to, move |app, _| async move {
                    let (messages, more) = history(&app, &conversation_id, after_seq, limit).await?;
                    Ok(Event::History { conversation_id, messages, more })
                });
            }
            PeopleAct::Broadcast(request) => self.broadcast(&request, reply_to, lane),
            PeopleAct::SetPreferences(preferences) => self.set_preferences(preferences, reply_to, lane),
            PeopleAct::GetPreferences => self.beside(reply_to, |app, connection| async move {
                let kept = app.store.preferences(owner(&connection)).await.map_err(|e| store_error(&e))?;
                let preferences = Json::parse(kept.unwrap_or_else(|| "{}".to_owned())).map_err(|_| {
                    ProtocolError::new(ErrorCode::Internal, "the preferences that were kept cannot be read")
                })?;
                Ok(Event::Preferences { preferences, changed: false })
            }),
        }
    }

    /// Answers with what `ask` finds out, once it has.
    fn beside<F, Fut>(&self, reply_to: Option<String>, ask: F)
    where
        F: FnOnce(Arc<App>, Arc<Connection>) -> Fut,
        Fut: Future<Output = Result<Event, ProtocolError>> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        let answer = ask(Arc::clone(&self.app), Arc::clone(&connection));
        tokio::spawn(async move {
            let event = answer.await.unwrap_or_else(Event::Error);
            connection.outbox.reply(&event, reply_to.as_deref());
        });
    }

    fn join(&mut self, conversation_id: String, reply_to: Option<String>) {
        match self.app.conversations.join(&self.connection, &conversation_id, reply_to) {
            Joined::Answered | Joined::Waits => {}
            Joined::LookUp => {
                let app = Arc::clone(&self.app);
                tokio::spawn(async move {
                    let last = app.store.last_message_seq(&conversation_id).await;
                    if let Err(e) = &last {
                        tracing::warn!(error = %e, "a conversation's last message is not known");
                    }
                    app.conversations.loaded(&conversation_id, last.ok());
                });
            }
        }
    }

    fn leave(&mut self, conversation_id: &str, reply_to: Option<&str>, lane: &mut Lane) {
        for id in self.app.streams.left(&self.connection, conversation_id) {
            self.listeners.retain(|l| *l != id);
            self.send(&Event::ListeningStopped { listener_id: id.to_string() }, None, lane);
        }
        self.app.conversations.leave(&self.connection, conversation_id, reply_to);
    }

    fn post(&mut self, conversation_id: String, content: Json, reply_to: Option<String>, lane: &mut Lane) {
        let connection = Arc::clone(&self.connection);
        let posted = Post {
            conversation_id: conversation_id.clone(),
            from: connection.speaker(),
            content,
            request: Some((connection.session_id(), reply_to.clone())),
            sender: Some(connection.key()),
        };
        let id = reply_to.clone();
        let queued = posted.keep(&self.app, move |kept| {
            let event = match kept {
                Ok(message_seq) => Event::MessageAccepted { conversation_id, message_seq },
                Err(e) => Event::Error(store_error(&e)),
            };
            connection.outbox.reply(&event, id.as_deref());
        });
        if let Err(e) = queued {
            self.fault(store_error(&e), reply_to, lane);
        }
    }

    fn broadcast(&mut self, request: &BroadcastRequest, reply_to: Option<String>, lane: &mut Lane) {
        if let Err(e) = self.limits.broadcast() {
            return self.fault(e, reply_to, lane);
        }
        let notice =
            Notice::new(&Event::Broadcast { from: self.connection.speaker(), content: request.content.clone() });
        let sender = (!request.include_self).then(|| self.connection.key());
        let delivered = deliver(&self.app, request, &notice, sender);
        self.send(&Event::BroadcastConfirmation { delivered }, reply_to.as_deref(), lane);
    }

    fn set_preferences(&mut self, preferences: Json, reply_to: Option<String>, lane: &mut Lane) {
        let connection = Arc::clone(&self.connection);
        let (text, id) = (preferences.text().to_owned(), reply_to.clone());
        let queued = self.app.store.set_preferences(
            owner(&connection),
            text,
            Box::new(move |kept| {
                let event = match kept {
                    Ok(()) => Event::Preferences { preferences, changed: true },
                    Err(e) => Event::Error(store_error(&e)),
                };
                connection.outbox.reply(&event, id.as_deref());
            }),
        );
        if let Err(e) = queued {
            self.fault(store_error(&e), reply_to, lane);
        }
    }
}

/// A message on its way into a conversation.
pub(in crate::server) struct Post {
    pub(in crate::server) conversation_id: String,
    pub(in crate::server) from: Speaker,
    pub(in crate::server) content: Json,
    /// The session it was said in and its `id` there: what makes a repetition the same message.
    pub(in crate::server) request: Option<(Uuid, Option<String>)>,
    /// The connection that need not be told.
    pub(in crate::server) sender: Option<u64>,
}

impl Post {
    /// Keeps it, then hands it to the conversation and tells `done` its number.
    ///
    /// # Errors
    /// Where the store does not take it; `done` is not called then.
    pub(in crate::server) fn keep(
        self,
        app: &Arc<App>,
        done: impl FnOnce(Result<u64, StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let Self { conversation_id, from, content, request, sender } = self;
        let (session_id, request_id) = request.unwrap_or_default();
        let message = NewMessage {
            conversation_id: conversation_id.clone(),
            session_id,
            request_id,
            connection_id: from.connection_id,
            client_id: from.client_id.clone(),
            user_id: from.user_id.clone(),
            content: content.text().to_owned(),
            sent_at_ms: unix_ms(),
        };
        let app_then = Arc::downgrade(app); // the store must not keep alive what owns it
        let then = move |kept: Result<Appended, StoreError>| {
            if let (Ok(a), Some(app)) = (&kept, app_then.upgrade())
                && !a.duplicate
            {
                app.conversations.accepted(&conversation_id, a.message_seq, from, content, sender);
            }
            done(kept.map(|a| a.message_seq));
        };
        app.store.append_message(message, Box::new(then))
    }
}

/// Hands a broadcast to whom it is for. Returns how many that were.
pub(in crate::server) fn deliver(app: &App, request: &BroadcastRequest, notice: &Notice, sender: Option<u64>) -> usize {
    let skip = |c: &Connection| Some(c.key()) == sender || request.exclude.contains(&c.id());
    let Some(target) = &request.target else {
        let mut delivered = 0;
        app.connections.for_each_known(|c| delivered += usize::from(!skip(c) && c.outbox.share(notice)));
        return delivered;
    };
    let named = app.connections.named(target);
    let mut delivered = named.iter().filter(|c| !skip(c) && c.outbox.share(notice)).count();
    if let Some(conversation) = &target.conversation_id {
        let told = |c: &Connection| named.binary_search_by_key(&c.key(), |n| n.key()).is_ok();
        delivered += app.conversations.broadcast(conversation, notice, |c| skip(c) || told(c));
    }
    delivered
}

/// A page of what was said, and whether there is more after it.
pub(in crate::server) async fn history(
    app: &App,
    conversation_id: &str,
    after_seq: u64,
    limit: u32,
) -> Result<(Vec<HistoryMessage>, bool), ProtocolError> {
    let page = app.store.messages(conversation_id, after_seq, limit as usize).await.map_err(|e| store_error(&e))?;
    let mut bytes = 0;
    let all = page.messages.len();
    let messages: Vec<_> = page
        .messages
        .into_iter()
        .take_while(|m| {
            let first = bytes == 0;
            bytes += m.content.len();
            first || bytes <= HISTORY_BYTES_MAX
        })
        .map(row)
        .collect();
    let more = page.more || messages.len() < all;
    Ok((messages, more))
}

fn row(m: StoredMessage) -> HistoryMessage {
    HistoryMessage {
        message_seq: m.message_seq,
        from: Speaker { connection_id: m.connection_id, client_id: m.client_id, user_id: m.user_id },
        content: Json::parse(m.content).unwrap_or_default(),
        sent_at: Timestamp(m.sent_at_ms).to_string(),
    }
}

/// Whose preferences a connection's are.
fn owner(connection: &Connection) -> Owner {
    match &connection.identity().user_id {
        Some(user) => Owner::User(user.clone()),
        None => Owner::Client(connection.client_id().to_owned()),
    }
}

/// What a client is told of a store that fails: nothing of its inside.
pub(in crate::server) fn store_error(e: &StoreError) -> ProtocolError {
    /// A store that is locked or full is so for a while.
    const RETRY_AFTER_MS: u64 = 1_000;
    match e {
        StoreError::Busy { .. } => ProtocolError::new(ErrorCode::Overloaded, "too many writes wait for the store")
            .retry_after_ms(RETRY_AFTER_MS),
        StoreError::LeftAlone { retry_after_ms } => {
            let what = "the store failed too often and is left alone for a while";
            ProtocolError::new(ErrorCode::UpstreamUnavailable, what).retry_after_ms(*retry_after_ms)
        }
        e if e.is_retryable() => ProtocolError::new(ErrorCode::UpstreamUnavailable, "the store cannot keep it now")
            .retry_after_ms(RETRY_AFTER_MS),
        _ => ProtocolError::new(ErrorCode::Internal, "the store failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_left_alone_is_worth_asking_when_it_is_asked_again() {
        let told = store_error(&StoreError::LeftAlone { retry_after_ms: 17_000 });
        assert_eq!((told.code, told.retry_after_ms), (ErrorCode::UpstreamUnavailable, Some(17_000)));
        let told = store_error(&StoreError::Locked { waited_ms: 2_000 });
        assert_eq!((told.code, told.retry_after_ms), (ErrorCode::UpstreamUnavailable, Some(1_000)));
    }
}
