//! Why there is no answer: whose fault it is, whether to try again, what the client is told. The one place where a responder's
//! failure becomes a protocol error. Never holds what the service said in words: that may repeat the question or the key.

use std::time::Duration;

use crate::protocol::{ErrorCode, ProtocolError};
use crate::resilience::Retry;

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// Too many questions wait already. The server's; try again later.
    #[error("{waiting} questions wait already")]
    Overloaded {
        /// Questions that wait.
        waiting: usize,
    },
    /// The service failed often and is left alone for a while.
    #[error("the service is left alone for another {} ms", retry_after.as_millis())]
    LeftAlone {
        /// Until it is asked again.
        retry_after: Duration,
    },
    /// The service cannot be reached.
    #[error("no connection to the service")]
    Connect,
    /// The connection broke, or the answer ended before it was whole.
    #[error("the answer broke off")]
    BrokeOff,
    /// No answer within the time for it.
    #[error("no whole answer within {} ms", after.as_millis())]
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// The answer began and then nothing came.
    #[error("nothing came for {} ms", after.as_millis())]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The service answered with an HTTP status that is no answer.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
        /// `Retry-After`, where it came.
        retry_after: Option<Duration>,
    },
    /// The service reported an error in its answer.
    #[error("the service reported an error ({code})")]
    Reported {
        /// Its machine-readable code or type, at most 64 letters, digits and `_.-`.
        code: String,
    },
    /// The answer is not what the protocol says.
    #[error("not a chat completion: {what}")]
    Malformed {
        /// What was wrong.
        what: &'static str,
    },
    /// The answer is longer than anyone reads.
    #[error("the answer is longer than {max_bytes} bytes")]
    TooLong {
        /// The bound.
        max_bytes: usize,
    },
    /// The service would not answer this.
    #[error("the service filtered the answer")]
    Filtered,
}

/// What a failure says of the service, for its circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works: the question was at fault.
    Works,
    /// It fails.
    Fails,
    /// Nothing.
    Unknown,
}

impl RespondError {
    /// Whether another try may help, as long as no part of an answer was passed on.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Connect | Self::BrokeOff => Retry::Yes { after: None },
            Self::Status { status: 408 | 429 | 500..=599, retry_after } => Retry::Yes { after: *retry_after },
            Self::Overloaded { .. }
            | Self::LeftAlone { .. }
            | Self::TimedOut { .. }
            | Self::Stalled { .. }
            | Self::Status { .. }
            | Self::Reported { .. }
            | Self::Malformed { .. }
            | Self::TooLong { .. }
            | Self::Filtered => Retry::No,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            // A limit is kept by a service that works, and a breaker would punish it for telling us.
            Self::Overloaded { .. } | Self::LeftAlone { .. } | Self::Status { status: 429, .. } => Verdict::Unknown,
            // A wrong key or address fails every question alike; another 4xx is about this one.
            Self::Status { status: 400 | 409 | 413 | 422, .. } | Self::TooLong { .. } | Self::Filtered => {
                Verdict::Works
            }
            Self::Connect
            | Self::BrokeOff
            | Self::TimedOut { .. }
            | Self::Stalled { .. }
            | Self::Status { .. }
            | Self::Reported { .. }
            | Self::Malformed { .. } => Verdict::Fails,
        }
    }

    /// What the client is told.
    pub(super) fn to_protocol(&self) -> ProtocolError {
        let unavailable = |text: &str| ProtocolError::new(ErrorCode::UpstreamUnavailable, text);
        match self {
            Self::Overloaded { .. } => {
                ProtocolError::new(ErrorCode::Overloaded, "too many texts wait for an answer: try again shortly")
                    .retry_after_ms(OVERLOADED_RETRY_MS)
            }
            Self::LeftAlone { retry_after } => {
                unavailable("the responder failed repeatedly and is left alone for a while")
                    .retry_after_ms(millis(*retry_after))
            }
            Self::Connect | Self::BrokeOff => unavailable("the responder cannot be reached or broke off"),
            Self::TimedOut { after } => {
                unavailable(&format!("the responder gave no whole answer within {} ms", after.as_millis()))
            }
            Self::Stalled { after } => unavailable(&format!("the responder said nothing for {} ms", after.as_millis())),
            Self::Status { status: 429, retry_after } => {
                let told = unavailable("the responder takes no more questions for now");
                match retry_after {
                    Some(after) => told.retry_after_ms(millis(*after)),
                    None => told,
                }
            }
            Self::Status { status, .. } => {
                let mut told = unavailable("the responder refused or failed").detail("status", *status);
                told.retry_suggested = self.retry() != Retry::No;
                told
            }
            Self::Reported { .. } | Self::Malformed { .. } => unavailable("the responder answered with an error"),
            Self::TooLong { max_bytes } => {
                let mut told = unavailable(&format!("the answer is longer than {max_bytes} bytes"));
                told.retry_suggested = false;
                told
            }
            Self::Filtered => {
                let mut told = unavailable("the responder would not answer this");
                told.retry_suggested = false;
                told
            }
        }
    }
}

/// About what it takes until one of the questions being answered is through.
const OVERLOADED_RETRY_MS: u64 = 2_000;

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
