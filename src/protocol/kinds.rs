//! The types of messages a client can send, numbered, so that they can be counted without looking up a name.

use super::command::{AdminCommand, Command};

/// Every type, by number: binary frames first, what could not be read last.
pub const MESSAGE_TYPES: [&str; 37] = [
    "binary",
    "authenticate",
    "ping",
    "pong",
    "text",
    "status_request",
    "connection_info_request",
    "audio_start",
    "audio_data",
    "audio_flush",
    "audio_end",
    "audio_cancel",
    "listen_start",
    "listen_stop",
    "subscribe_events",
    "unsubscribe_events",
    "get_connection_status",
    "health_check",
    "join_conversation",
    "leave_conversation",
    "message",
    "typing",
    "presence_request",
    "history_request",
    "broadcast_request",
    "set_preferences",
    "get_preferences",
    "resume",
    "get_connection_stats",
    "get_router_stats",
    "get_all_connections",
    "get_event_queue_status",
    "clear_event_queue",
    "get_system_metrics",
    "disconnect_user",
    "broadcast_admin_message",
    "unreadable",
];
/// The number of binary frames.
pub const BINARY: usize = 0;
/// The number of what could not be read.
pub const UNREADABLE: usize = MESSAGE_TYPES.len() - 1;

impl Command<'_> {
    /// The number of its type in [`MESSAGE_TYPES`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Authenticate { .. } => 1,
            Self::Ping { .. } => 2,
            Self::Pong => 3,
            Self::Text { .. } => 4,
            Self::StatusRequest => 5,
            Self::ConnectionInfoRequest { .. } => 6,
            Self::AudioStart(_) => 7,
            Self::AudioData(_) => 8,
            Self::AudioFlush { .. } => 9,
            Self::AudioEnd { .. } => 10,
            Self::AudioCancel { .. } => 11,
            Self::ListenStart(_) => 12,
            Self::ListenStop { .. } => 13,
            Self::SubscribeEvents { .. } => 14,
            Self::UnsubscribeEvents { .. } => 15,
            Self::GetConnectionStatus => 16,
            Self::HealthCheck => 17,
            Self::JoinConversation { .. } => 18,
            Self::LeaveConversation { .. } => 19,
            Self::Message { .. } => 20,
            Self::Typing { .. } => 21,
            Self::PresenceRequest { .. } => 22,
            Self::HistoryRequest { .. } => 23,
            Self::BroadcastRequest(_) => 24,
            Self::SetPreferences { .. } => 25,
            Self::GetPreferences => 26,
            Self::Resume(_) => 27,
            Self::Admin(AdminCommand::GetConnectionStats) => 28,
            Self::Admin(AdminCommand::GetRouterStats) => 29,
            Self::Admin(AdminCommand::GetAllConnections) => 30,
            Self::Admin(AdminCommand::GetEventQueueStatus) => 31,
            Self::Admin(AdminCommand::ClearEventQueue) => 32,
            Self::Admin(AdminCommand::GetSystemMetrics) => 33,
            Self::Admin(AdminCommand::DisconnectUser { .. }) => 34,
            Self::Admin(AdminCommand::BroadcastAdminMessage { .. }) => 35,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_names_place() {
        for (command, name) in [
            (Command::Ping { payload: None }, "ping"),
            (Command::AudioEnd { stream_id: None }, "audio_end"),
            (Command::GetPreferences, "get_preferences"),
            (Command::Admin(AdminCommand::GetConnectionStats), "get_connection_stats"),
            (Command::Admin(AdminCommand::ClearEventQueue), AdminCommand::ClearEventQueue.name()),
        ] {
            assert_eq!(MESSAGE_TYPES[command.kind()], name);
        }
        assert_eq!((MESSAGE_TYPES[BINARY], MESSAGE_TYPES[UNREADABLE]), ("binary", "unreadable"));
    }
}
