//! What a client can say, a line each: its shape, what answers it, an example. The shapes are the types `decode` reads with.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Group::{self, Admin, Audio, Connection, Conversations, Listening, Session, Text};
use crate::dialect::native::types;

/// A message from the client.
pub(super) struct ClientMessage {
    /// Its `type`.
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) summary: &'static str,
    /// Its fields, but for `type` and `id`.
    pub(super) shape: fn(&mut SchemaGenerator) -> Schema,
    /// The events that answer it where it does not fail.
    pub(super) answers: &'static [&'static str],
    /// As it is sent.
    pub(super) example: &'static str,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

macro_rules! messages {
    ($($name:literal $group:ident $shape:ty [$($answer:literal),*] $summary:literal $example:literal;)+) => {
        &[$(ClientMessage {
            name: $name,
            group: $group,
            summary: $summary,
            shape: of::<$shape>,
            answers: &[$($answer),*],
            example: $example,
        }),+]
    };
}

/// Every message a client can send.
pub(super) const MESSAGES: &[ClientMessage] = messages! {
    "authenticate" Connection types::Authenticate ["authenticated"]
        "Says who one is, within 5 s where authentication is required and no credential came before; later it refreshes the token."
        r#"{"type":"authenticate","id":"1","token":"eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"}"#;
    "ping" Connection types::Ping ["pong"]
        "Asks for a sign of life."
        r#"{"type":"ping","id":"2","payload":"hello"}"#;
    "pong" Connection types::Plain []
        "Answers the server's `ping`."
        r#"{"type":"pong"}"#;
    "status_request" Connection types::Plain ["status_update"]
        "Asks how the server is."
        r#"{"type":"status_request","id":"3"}"#;
    "health_check" Connection types::Plain ["health"]
        "Asks for the server's health: in full for administrators, its status for others."
        r#"{"type":"health_check","id":"4"}"#;
    "connection_info_request" Connection types::ConnectionInfoRequest ["connection_info"]
        "Asks what the server knows of a connection."
        r#"{"type":"connection_info_request","id":"5"}"#;
    "get_connection_status" Connection types::Plain ["connection_status"]
        "Asks how one's own connection is: round trip, faults, what waits to be sent."
        r#"{"type":"get_connection_status","id":"6"}"#;
    "subscribe_events" Connection types::Events ["subscription_updated"]
        "Asks for more kinds of events. On without asking: `presence`, `typing`, `transcripts`, `system`."
        r#"{"type":"subscribe_events","id":"7","events":["speech","levels"]}"#;
    "unsubscribe_events" Connection types::Events ["subscription_updated"]
        "Asks for fewer."
        r#"{"type":"unsubscribe_events","id":"8","events":["levels"]}"#;
    "set_preferences" Connection types::Preferences ["preferences"]
        "Keeps an object for the user."
        r#"{"type":"set_preferences","id":"9","preferences":{"language":"en"}}"#;
    "get_preferences" Connection types::Plain ["preferences"]
        "Asks for what is kept."
        r#"{"type":"get_preferences","id":"10"}"#;
    "resume" Session types::Resume ["resumed"]
        "Goes on with the session of a lost socket, as the first message on the new one."
        r#"{"type":"resume","id":"11","session_id":"01938e5f-2c1d-7a44-9d0e-5f4a3b2c1d0e","resume_token":"q0Jx8v3mT1pWbZ5kL7nR2A","last_seq":17}"#;
    "text" Text types::Text ["status_update", "response_chunk", "response"]
        "Asks the responder, whose answer comes in parts and then whole."
        r#"{"type":"text","id":"12","text":"What is the weather like?"}"#;
    "audio_start" Audio types::AudioStart<'static> ["audio_started"]
        "Opens a stream. Binary frames then carry its bytes, wherever they are cut."
        r#"{"type":"audio_start","id":"13","stream_id":"mic","format":{"encoding":"pcm_s16le","sample_rate":48000,"channels":2},"output":{"sample_rate":16000,"channels":1},"ack_ms":200,"record":true,"framing":"raw","overflow":"block","conversation_id":null}"#;
    "audio_data" Audio types::AudioData<'static> ["audio_received"]
        "Bytes of a stream in base64; with an `id` acknowledged at once. `\"type\":\"audio_data\"` first is the fast way to write it."
        r#"{"type":"audio_data","id":"14","stream_id":"mic","offset":192000,"data":"AAAAAP8AAP8="}"#;
    "audio_flush" Audio types::StreamRef ["audio_received"]
        "Asks for an acknowledgement once all received so far has passed every sink."
        r#"{"type":"audio_flush","id":"15","stream_id":"mic"}"#;
    "audio_end" Audio types::StreamRef ["audio_ended"]
        "Ends a stream once all that was received is decoded."
        r#"{"type":"audio_end","id":"16","stream_id":"mic"}"#;
    "audio_cancel" Audio types::StreamRef ["audio_ended"]
        "Ends a stream at once; nothing of it is kept."
        r#"{"type":"audio_cancel","id":"17","stream_id":"mic"}"#;
    "listen_start" Listening types::ListenStart ["listening"]
        "Asks to hear a stream, or every stream of a conversation: one's own, those of one's conversations, as administrator all."
        r#"{"type":"listen_start","id":"18","conversation_id":"team"}"#;
    "listen_stop" Listening types::ListenStop ["listening_stopped"]
        "Asks to hear no more."
        r#"{"type":"listen_stop","id":"19","listener_id":"01938e5f-2c1d-7a44-9d0e-000000000007"}"#;
    "join_conversation" Conversations types::ConversationRef ["conversation_joined"]
        "Becomes a member of a conversation, which begins to exist with its first."
        r#"{"type":"join_conversation","id":"20","conversation_id":"team"}"#;
    "leave_conversation" Conversations types::ConversationRef ["conversation_left"]
        "Is no longer a member."
        r#"{"type":"leave_conversation","id":"21","conversation_id":"team"}"#;
    "message" Conversations types::Message ["message_accepted"]
        "Says something to the other members; repeated with the same `id` it is said once."
        r#"{"type":"message","id":"22","conversation_id":"team","content":{"text":"good morning"}}"#;
    "typing" Conversations types::Typing []
        "Tells the other members that one types."
        r#"{"type":"typing","conversation_id":"team","active":true}"#;
    "presence_request" Conversations types::ConversationRef ["presence"]
        "Asks who is there."
        r#"{"type":"presence_request","id":"23","conversation_id":"team"}"#;
    "history_request" Conversations types::HistoryRequest ["history"]
        "Asks for what was said, oldest first."
        r#"{"type":"history_request","id":"24","conversation_id":"team","after_seq":41,"limit":100}"#;
    "broadcast_request" Conversations types::BroadcastRequest ["broadcast_confirmation"]
        "Sends something to many at once; nothing is kept of it."
        r#"{"type":"broadcast_request","id":"25","content":{"text":"lunch"},"target":{"conversation_id":"team","client_ids":["kitchen"]},"include_self":false}"#;
    "get_connection_stats" Admin types::Plain ["admin_result"]
        "Asks for sums over all connections."
        r#"{"type":"get_connection_stats","id":"26"}"#;
    "get_router_stats" Admin types::Plain ["admin_result"]
        "Asks for connections, conversations, streams, the store and the responder in figures."
        r#"{"type":"get_router_stats","id":"27"}"#;
    "get_all_connections" Admin types::Plain ["admin_result"]
        "Asks for every connection."
        r#"{"type":"get_all_connections","id":"28"}"#;
    "get_event_queue_status" Admin types::Plain ["admin_result"]
        "Asks what waits to be sent, and to whom."
        r#"{"type":"get_event_queue_status","id":"29"}"#;
    "clear_event_queue" Admin types::Plain ["admin_result"]
        "Throws away what waits to be sent, everywhere."
        r#"{"type":"clear_event_queue","id":"30"}"#;
    "get_system_metrics" Admin types::Plain ["admin_result"]
        "Asks for the use of CPU and memory."
        r#"{"type":"get_system_metrics","id":"31"}"#;
    "disconnect_user" Admin types::DisconnectUser ["admin_result"]
        "Closes connections with 4010."
        r#"{"type":"disconnect_user","id":"32","user_id":"ada","reason":"maintenance"}"#;
    "broadcast_admin_message" Admin types::BroadcastAdminMessage ["admin_result"]
        "Tells everyone something, as an `alert`."
        r#"{"type":"broadcast_admin_message","id":"33","content":"maintenance at noon","severity":"warning"}"#;
};
