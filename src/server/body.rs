//! Bodies of requests: how long one may bring nothing, and what is told of one that cannot be had.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Incoming;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::problem::Problem;
use crate::protocol::ErrorCode;

/// How long a body may bring nothing: it holds a connection meanwhile, and at `POST /api/decode` one of few places.
const IDLE_MAX: Duration = Duration::from_secs(8);

/// A body that fails where it brings nothing for too long.
pub(super) fn timed(body: Incoming) -> Body {
    Body::new(TimeoutBody::new(IDLE_MAX, body))
}

/// Whether reading a body failed because it brought nothing.
pub(super) fn is_stalled(e: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(e), |&e| e.source()).any(|e| e.is::<TimeoutError>())
}

/// What is told of a body that brought nothing.
pub(super) fn stalled() -> Problem {
    Problem::new(ErrorCode::StreamStalled, format!("the body brought nothing for {} s", IDLE_MAX.as_secs()))
}

/// What is told of a body that an extractor could not have, which would answer `status` and `why`.
pub(super) fn unread(e: &(dyn Error + 'static), status: StatusCode, why: String) -> Problem {
    match status {
        _ if is_stalled(e) => stalled(),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ErrorCode::MessageTooLarge, why),
        _ => Problem::new(ErrorCode::InvalidMessage, why),
    }
}
