//! Close codes: what a client should do next (protocol section 7).

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: done.
    Normal,
    /// 1001: the server goes away; reconnect, with jitter.
    GoingAway,
    /// 1013: overloaded; back off.
    Overloaded,
    /// 4001: not authenticated; do not come back like this.
    Unauthenticated,
    /// 4003: forbidden.
    Forbidden,
    /// 4005: too many faults in a row.
    TooManyFaults,
    /// 4009: another connection took this one's place.
    Superseded,
    /// 4010: disconnected by an administrator.
    Disconnected,
    /// 4108: idle or dead.
    Idle,
    /// 4111: reads too slowly.
    SlowConsumer,
    /// 4129: over a rate limit.
    RateLimited,
    /// 4202: the node is draining; come back at once and resume.
    Draining,
    /// A code of RFC 6455 itself (1002, 1003, 1007, 1008, 1009, 1011).
    WebSocket(u16),
}

impl CloseCode {
    /// Whether the session ends with it. After any other close the client may come back and resume (protocol sections 6 and 7); who was
    /// superseded may be the same client, whose old socket only looked alive.
    pub fn ends_session(self) -> bool {
        match self {
            Self::Normal
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::TooManyFaults
            | Self::Disconnected
            | Self::Draining => true,
            Self::GoingAway
            | Self::Overloaded
            | Self::Superseded
            | Self::Idle
            | Self::SlowConsumer
            | Self::RateLimited
            | Self::WebSocket(_) => false,
        }
    }

    /// Every close code of the protocol's own.
    pub const ALL: [Self; 12] = [
        Self::Normal,
        Self::GoingAway,
        Self::Overloaded,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooManyFaults,
        Self::Superseded,
        Self::Disconnected,
        Self::Idle,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::Draining,
    ];

    /// What it says to the client, for the documents.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Normal => "done",
            Self::GoingAway => "the server goes away: reconnect, with jitter",
            Self::Overloaded => "overloaded: back off",
            Self::Unauthenticated => "not authenticated: do not come back like this",
            Self::Forbidden => "forbidden: do not come back",
            Self::TooManyFaults => "too many faulty messages in a row: do not come back",
            Self::Superseded => "another connection took this one's place: do not come back",
            Self::Disconnected => "disconnected by an administrator: do not come back",
            Self::Idle => "idle or dead: come back after a back-off",
            Self::SlowConsumer => "read too slowly: come back after a back-off",
            Self::RateLimited => "over a rate limit: come back after a back-off",
            Self::Draining => "the server drains: come back at once and resume",
            Self::WebSocket(_) => "as RFC 6455 has it",
        }
    }

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Overloaded => 1013,
            Self::Unauthenticated => 4001,
            Self::Forbidden => 4003,
            Self::TooManyFaults => 4005,
            Self::Superseded => 4009,
            Self::Disconnected => 4010,
            Self::Idle => 4108,
            Self::SlowConsumer => 4111,
            Self::RateLimited => 4129,
            Self::Draining => 4202,
            Self::WebSocket(code) => code,
        }
    }
}
