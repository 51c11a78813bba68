//! What administrators ask for. Whether the sender is one, the session decides.

use super::{content, invalid, parse};
use crate::dialect::native::types;
use crate::protocol::{AdminCommand, AlertSeverity, Command, DisconnectTarget, ProtocolError};

/// Bytes of a reason that is told to whom it concerns: a close frame has no room for more.
pub(in crate::dialect::native) const REASON_BYTES_MAX: usize = 120;
/// Bytes of a user's name: as many characters as a token's `sub` may have, each of four bytes.
pub(in crate::dialect::native) const USER_ID_BYTES_MAX: usize = 4 * 256;

/// A request without fields.
macro_rules! plain {
    ($($name:ident => $command:ident),+ $(,)?) => {
        $(#[allow(clippy::unnecessary_wraps, reason = "every reader of fields has this type")]
        pub(super) fn $name(_: &str) -> Result<Command<'_>, ProtocolError> {
            Ok(Command::Admin(AdminCommand::$command))
        })+
    };
}

plain! {
    get_connection_stats => GetConnectionStats,
    get_router_stats => GetRouterStats,
    get_all_connections => GetAllConnections,
    get_event_queue_status => GetEventQueueStatus,
    clear_event_queue => ClearEventQueue,
    get_system_metrics => GetSystemMetrics,
}

pub(super) fn disconnect_user(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::DisconnectUser = parse(text)?;
    let whom = match (m.user_id, m.client_id, m.connection_id) {
        (Some(user), None, None) => {
            super::bounded("user_id", &user, USER_ID_BYTES_MAX)?;
            DisconnectTarget::User(user)
        }
        (None, Some(client), None) => DisconnectTarget::Client(super::required_name("client_id", client)?),
        (None, None, Some(id)) => DisconnectTarget::Connection(id),
        _ => return Err(invalid("disconnect_user takes one of user_id, client_id and connection_id")),
    };
    if let Some(r) = &m.reason {
        super::bounded("reason", r, REASON_BYTES_MAX)?;
    }
    Ok(Command::Admin(AdminCommand::DisconnectUser { whom, reason: m.reason }))
}

pub(super) fn broadcast_admin_message(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::BroadcastAdminMessage = parse(text)?;
    Ok(Command::Admin(AdminCommand::BroadcastAdminMessage {
        content: content(m.content)?,
        severity: m.severity.unwrap_or(AlertSeverity::Info),
    }))
}
