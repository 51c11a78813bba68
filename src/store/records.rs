//! What lasts, as plain types. Knows no database and no wire format. Times are Unix times; the unit ends the name.

use uuid::Uuid;

/// A message to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The conversation it goes to; made by its first message.
    pub conversation_id: String,
    /// The session that sends it.
    pub session_id: Uuid,
    /// The client's own name for the request. With the session's id it makes a repetition known.
    pub request_id: Option<String>,
    /// The connection it came over.
    pub connection_id: Uuid,
    /// Who sent it.
    pub client_id: String,
    /// The authenticated user, where there is one.
    pub user_id: Option<String>,
    /// JSON text, kept as it is.
    pub content: String,
    /// When it came, in milliseconds.
    pub sent_at_ms: u64,
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number in its conversation: 1, 2, 3, ... without holes.
    pub message_seq: u64,
    /// Whether the same request had been kept before; nothing was kept this time.
    pub duplicate: bool,
}

/// A kept message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number in its conversation.
    pub message_seq: u64,
    /// The session that sent it.
    pub session_id: Uuid,
    /// The client's name for the request.
    pub request_id: Option<String>,
    /// The connection it came over.
    pub connection_id: Uuid,
    /// Who sent it.
    pub client_id: String,
    /// The authenticated user.
    pub user_id: Option<String>,
    /// JSON text, as it came.
    pub content: String,
    /// When it came, in milliseconds.
    pub sent_at_ms: u64,
}

/// A part of a conversation, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Whether there are later ones.
    pub more: bool,
}

/// What is known of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub conversation_id: String,
    /// When its first message came, in milliseconds.
    pub created_at_ms: u64,
    /// The number of its newest message.
    pub last_message_seq: u64,
    /// Messages that are kept.
    pub messages: u64,
}

/// Who speaks in a responder's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The responder.
    Assistant,
}

/// One turn of a responder's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub text: String,
    /// When, in milliseconds.
    pub at_ms: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub client_id: String,
    /// The authenticated user.
    pub user_id: Option<String>,
    /// When it began, in milliseconds.
    pub created_at_ms: u64,
    /// How it ended; none while it lasts, or where the server died.
    pub ended: Option<SessionEnd>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
}

/// How far a recording got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingProgress {
    /// Audio still comes in.
    Recording,
    /// Closed as it should be.
    Complete,
    /// Set right after the server died.
    Repaired,
    /// Writing failed.
    Failed,
}

/// A recording, as the index has it. The truth is the sidecar beside its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRecord {
    /// Its id (uuid v7: ids in order are times in order).
    pub id: Uuid,
    /// The stream's id, unique on the server.
    pub stream_uid: String,
    /// The stream's own name.
    pub stream_id: String,
    /// Who streamed.
    pub client_id: String,
    /// The authenticated user.
    pub user_id: Option<String>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// When the stream began, in milliseconds.
    pub created_at_ms: u64,
    /// Length of the audio, in milliseconds.
    pub duration_ms: u64,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal, once closed.
    pub sha256: Option<String>,
    /// How far it got.
    pub state: RecordingProgress,
}

/// Whose recordings are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingFilter {
    /// Everybody's.
    All,
    /// Those of a user, whatever client he used.
    User(String),
    /// Those of a client, whatever user it was.
    Client(String),
}

/// What a comparison with the truth changed in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Recordings that the index did not have, or had otherwise.
    pub put: u64,
    /// Recordings that are no more.
    pub removed: u64,
}

/// Whose preferences. A user and a client of the same name are two owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An authenticated user.
    User(String),
    /// A client nobody vouches for.
    Client(String),
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Whether the last group of writes was kept.
    pub healthy: bool,
    /// Writes that wait or are under way.
    pub queued: usize,
    /// What failed last, for people; stays after recovery.
    pub last_error: Option<String>,
    /// Groups of writes made durable.
    pub commits: u64,
    /// Writes made durable.
    pub writes: u64,
}
