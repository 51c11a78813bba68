//! What the server says: an example of every event, and the part of the protocol it belongs to.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Group;
use crate::audio::{Encoding, StreamFormat};
use crate::protocol::{
    AlertSeverity, AudioDropped, AudioEnded, AudioLevel, AudioReceived, AudioStarted, ChannelsInfo,
    ConnectionEstablished, ConnectionInfo, ConnectionLimits, ConnectionRow, EndReason, ErrorCode, ErrorEntry, Event,
    HeartbeatInfo, HistoryMessage, Json, ListenedStream, Member, MemberId, MetricsPoint, OutputInfo, PresenceChange,
    ProtocolError, QueueInfo, RecordingInfo, ResumedStream, ServerInfo, ServerState, SessionInfo, Severity, Speaker,
    StreamInfo, Topic,
};

/// The part of the protocol an event belongs to.
pub(super) fn group(event: &Event) -> Group {
    match event {
        Event::ConnectionEstablished(_)
        | Event::Authenticated { .. }
        | Event::Ping
        | Event::Pong { .. }
        | Event::StatusUpdate(_)
        | Event::ConnectionInfo(_)
        | Event::SubscriptionUpdated { .. }
        | Event::ConnectionStatus { .. }
        | Event::Health(_)
        | Event::Preferences { .. }
        | Event::Alert { .. }
        | Event::Error(_) => Group::Connection,
        Event::Resumed { .. } => Group::Session,
        Event::ResponseChunk { .. } | Event::Response { .. } => Group::Text,
        Event::AudioStarted(_)
        | Event::AudioReceived(_)
        | Event::AudioDropped(_)
        | Event::AudioEnded(_)
        | Event::AudioLevel(_)
        | Event::SpeechStarted { .. }
        | Event::SpeechEnded { .. } => Group::Audio,
        Event::Listening { .. } | Event::ListeningChanged { .. } | Event::ListeningStopped { .. } => Group::Listening,
        Event::ConversationJoined { .. }
        | Event::ConversationLeft { .. }
        | Event::MessageAccepted { .. }
        | Event::Message { .. }
        | Event::Typing { .. }
        | Event::Presence { .. }
        | Event::PresenceChanged { .. }
        | Event::History { .. }
        | Event::Broadcast { .. }
        | Event::BroadcastConfirmation { .. } => Group::Conversations,
        Event::AdminResult { .. } | Event::Metrics(_) | Event::Connections { .. } | Event::Errors { .. } => {
            Group::Admin
        }
    }
}

const STREAM_UID: &str = "01938e5f-2c1d-7a44-9d0e-000000000003";
const LISTENER_ID: &str = "01938e5f-2c1d-7a44-9d0e-000000000007";
const AT: &str = "2026-01-02T03:04:05.678Z";

fn id(last: u128) -> Uuid {
    Uuid::from_u128(0x0193_8e5f_2c1d_7a44_9d0e_0000_0000_0000 + last)
}

fn text(s: &str) -> String {
    s.to_owned()
}

fn content(s: &str) -> Json {
    Json::parse(format!("{{\"text\":\"{s}\"}}")).expect("the examples' texts need no escapes")
}

fn ada() -> Speaker {
    Speaker { connection_id: id(1), client_id: text("browser-1"), user_id: Some(text("ada")) }
}

fn member() -> Member {
    Member {
        id: MemberId { client_id: text("browser-1"), user_id: Some(text("ada")) },
        connections: 1,
        since: text(AT),
        typing: false,
        streaming: true,
    }
}

fn session() -> SessionInfo {
    SessionInfo { id: id(2), resume_token: text("q0Jx8v3mT1pWbZ5kL7nR2A"), resume_window_ms: 60_000 }
}

fn listened() -> ListenedStream {
    ListenedStream {
        stream_uid: text(STREAM_UID),
        stream_id: text("mic"),
        stream_index: 5,
        sample_rate: 16_000,
        channels: ChannelsInfo::Count(1),
        from: ada(),
    }
}

/// An example of every event, in the protocol's order; of some more than one.
pub(super) fn examples() -> Vec<Event> {
    let mut all = connection();
    all.extend(audio());
    all.extend(conversations());
    all.extend(watching());
    all
}

fn watching() -> Vec<Event> {
    let point = MetricsPoint {
        at: text(AT),
        seconds: 1.0,
        connections: 12,
        streams: 3,
        audio_s_per_s: 3.0,
        bytes_in_per_s: 96_512.0,
        acks_per_s: 15.0,
        ack_p99_us: Some(412.0),
        process_cpu_percent: 2.5,
        ..MetricsPoint::default()
    };
    let row = ConnectionRow {
        connection_id: id(1),
        client_id: text("browser-1"),
        user_id: Some(text("ada")),
        remote_addr: text("192.0.2.7:51234"),
        connected_at: text(AT),
    };
    let error = ErrorEntry {
        number: 17,
        at: text(AT),
        kind: "INVALID_BASE64",
        severity: Severity::Low,
        part: "connection",
        connection_id: Some(id(1)),
        stream_id: Some(text("mic")),
        message: text("audio_data.data: invalid symbol at 17"),
    };
    vec![
        Event::Metrics(Box::new(point)),
        Event::Connections { connections: 12, recovering: 0, opened: vec![row], closed: Vec::new(), more: 0 },
        Event::Errors { errors: vec![error], more: 0 },
    ]
}

fn connection() -> Vec<Event> {
    let heartbeat = HeartbeatInfo { interval_ms: 30_000, timeout_ms: 90_000 };
    let limits = ConnectionLimits { max_message_bytes: 1_048_576, max_streams: 8, max_conversations: 32 };
    let (uptime_ms, connections, streams) = (86_400_000, 12, 3);
    let health = json!({"status": "healthy", "timestamp": AT, "active_connections": 12});
    vec![
        Event::ConnectionEstablished(Box::new(ConnectionEstablished {
            connection_id: id(1),
            client_id: text("browser-1"),
            user_id: Some(text("ada")),
            roles: vec![text("speaker")],
            session: session(),
            heartbeat,
            limits,
            server: ServerInfo { name: "voxgate", version: env!("CARGO_PKG_VERSION"), node: text("5f4a3b2c1d0e") },
        })),
        Event::Authenticated { user_id: Some(text("ada")), roles: vec![text("speaker")], expires_at: Some(text(AT)) },
        Event::Resumed {
            session: session(),
            streams: vec![ResumedStream { stream_id: text("mic"), stream_index: 0, received_bytes: 192_000 }],
            replayed: 2,
            missed: 0,
        },
        Event::Ping,
        Event::Pong { payload: Some(text("hello")) },
        Event::StatusUpdate(ServerState::Ok { uptime_ms, connections, streams }),
        Event::StatusUpdate(ServerState::Processing),
        Event::StatusUpdate(ServerState::Draining { uptime_ms, connections, streams, deadline_ms: 30_000 }),
        Event::Health(match health {
            Value::Object(health) => health,
            _ => Map::new(),
        }),
        Event::ConnectionInfo(Box::new(connection_info())),
        Event::ConnectionStatus {
            state: "open",
            connected_ms: 61_000,
            last_activity: text(AT),
            rtt_ms: Some(24),
            consecutive_errors: 0,
            queue: QueueInfo { messages: 0, bytes: 0, limit: 100 },
        },
        Event::SubscriptionUpdated { active: vec![Topic::Presence, Topic::Speech], denied: vec![text("metrics")] },
        Event::Preferences { preferences: Json::parse("{}").expect("an object"), changed: false },
        Event::Preferences { preferences: Json::parse(r#"{"language":"en"}"#).expect("an object"), changed: true },
        Event::Alert { content: content("maintenance at noon"), severity: AlertSeverity::Warning, from: Some(ada()) },
        Event::Error(
            ProtocolError::new(ErrorCode::InvalidBase64, "audio_data.data: invalid symbol at 17").on_stream("mic"),
        ),
        Event::AdminResult {
            request: "get_event_queue_status",
            data: json!({"connections": 1, "messages": 0, "bytes": 0}),
        },
        Event::AdminResult { request: "disconnect_user", data: json!({"disconnected": 1}) },
        Event::ResponseChunk { text: text("It is ") },
        Event::Response { text: text("It is sunny."), processing_ms: 812 },
    ]
}

fn connection_info() -> ConnectionInfo {
    ConnectionInfo {
        connection_id: id(1),
        client_id: text("browser-1"),
        user_id: Some(text("ada")),
        roles: vec![text("speaker")],
        remote_addr: text("192.0.2.7:51234"),
        user_agent: Some(text("Mozilla/5.0")),
        state: "open",
        connected_at: text(AT),
        last_activity: text(AT),
        messages_in: 4,
        messages_out: 9,
        bytes_in: 192_512,
        bytes_out: 2_048,
        errors: 0,
        conversations: vec![text("team")],
        subscriptions: vec![Topic::Presence, Topic::Typing],
        streams: vec![StreamInfo {
            stream_id: text("mic"),
            stream_uid: text(STREAM_UID),
            encoding: "pcm_s16le",
            conversation_id: Some(text("team")),
            started_at: text(AT),
            decoded_ms: 1_000,
            recording_id: Some(id(4)),
            listeners: 1,
        }],
    }
}

fn audio() -> Vec<Event> {
    let stream_id = || text("mic");
    vec![
        Event::AudioStarted(Box::new(AudioStarted {
            stream_id: stream_id(),
            stream_uid: text(STREAM_UID),
            stream_index: 0,
            format: StreamFormat { encoding: Encoding::PcmS16le, sample_rate: Some(48_000), channels: Some(2) },
            output: OutputInfo { encoding: "pcm_s16le", sample_rate: 16_000, channels: ChannelsInfo::Count(1) },
            recording_id: Some(id(4)),
        })),
        Event::AudioReceived(AudioReceived {
            stream_id: "mic".into(),
            received_bytes: 192_000,
            received_frames: 50,
            decoded_ms: 1_000,
            output_samples: 16_000,
            buffered_ms: 0,
            dropped_ms: 0,
            processing_us: 412,
        }),
        Event::AudioDropped(AudioDropped { stream_id: stream_id(), from_ms: 1_000, dropped_ms: 240 }),
        Event::AudioLevel(AudioLevel {
            stream_id: stream_id(),
            at_ms: 1_100,
            rms_dbfs: -20.5,
            peak_dbfs: -3.0,
            clipped: false,
        }),
        Event::SpeechStarted { stream_id: stream_id(), at_ms: 320 },
        Event::SpeechEnded { stream_id: stream_id(), start_ms: 320, end_ms: 1_840 },
        Event::AudioEnded(Box::new(AudioEnded {
            stream_id: stream_id(),
            reason: EndReason::End,
            received_bytes: 384_000,
            duration_ms: 2_000,
            output_samples: 32_000,
            dropped_ms: 0,
            peak_dbfs: -3.0,
            rms_dbfs: -20.5,
            speech_ms: Some(1_520),
            warnings: 0,
            recording: Some(RecordingInfo {
                id: id(4),
                url: format!("/api/recordings/{}.wav", id(4)),
                bytes: 64_104,
                sha256: text("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            }),
        })),
        Event::Listening { listener_id: text(LISTENER_ID), streams: vec![listened()] },
        Event::ListeningChanged { listener_id: text(LISTENER_ID), added: vec![listened()], removed: vec![4] },
        Event::ListeningStopped { listener_id: text(LISTENER_ID) },
    ]
}

fn conversations() -> Vec<Event> {
    let conversation_id = || text("team");
    vec![
        Event::ConversationJoined {
            conversation_id: conversation_id(),
            members: vec![member()],
            last_message_seq: Some(41),
        },
        Event::ConversationLeft { conversation_id: conversation_id() },
        Event::MessageAccepted { conversation_id: conversation_id(), message_seq: 42 },
        Event::Message {
            conversation_id: conversation_id(),
            message_seq: 42,
            from: ada(),
            content: content("good morning"),
        },
        Event::Typing { conversation_id: conversation_id(), from: ada(), active: true },
        Event::Presence { conversation_id: conversation_id(), members: vec![member()] },
        Event::PresenceChanged {
            conversation_id: conversation_id(),
            member: member().id,
            change: PresenceChange::Joined,
            connections: 1,
            streaming: false,
        },
        Event::History {
            conversation_id: conversation_id(),
            messages: vec![HistoryMessage {
                message_seq: 42,
                from: ada(),
                content: content("good morning"),
                sent_at: text(AT),
            }],
            more: false,
        },
        Event::Broadcast { from: ada(), content: content("lunch") },
        Event::BroadcastConfirmation { delivered: 7 },
    ]
}
