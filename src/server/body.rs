//! Bodies of requests: how long one may bring nothing or next to nothing, and what is told of one that cannot be had.

use std::error::Error;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::Incoming;
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::problem::Problem;
use crate::protocol::ErrorCode;

/// How long a body may bring nothing: it holds a connection meanwhile, and at `POST /api/decode` one of few places.
const IDLE_MAX: Duration = Duration::from_secs(8);

/// What a body must bring in twice that time to keep its place; the leanest sound has several times as much.
const TRICKLE_BYTES: usize = 1_000;

/// Tells bodies that bring something, but too little to be sound or a file on its way.
pub(super) struct Flow {
    since: Instant,
    bytes: usize,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// Counts what came. Whether that goes on being too little.
    pub(super) fn is_trickle(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.since.elapsed() < 2 * IDLE_MAX {
            return false;
        }
        let trickles = self.bytes < TRICKLE_BYTES;
        *self = Self::new();
        trickles
    }
}

/// A body that fails where it brings nothing for too long.
pub(super) fn timed(body: Incoming) -> Body {
    Body::new(TimeoutBody::new(IDLE_MAX, body))
}

/// Whether reading a body failed because it brought nothing.
pub(super) fn is_stalled(e: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(e), |&e| e.source()).any(|e| e.is::<TimeoutError>())
}

/// What is told of a body that brought nothing, or next to nothing.
pub(super) fn stalled() -> Problem {
    let (idle, long) = (IDLE_MAX.as_secs(), 2 * IDLE_MAX.as_secs());
    let what = format!("the body brought nothing for {idle} s, or less than {TRICKLE_BYTES} bytes in {long} s");
    Problem::new(ErrorCode::StreamStalled, what)
}

/// What is told of a body that an extractor could not have, which would answer `status` and `why`.
pub(super) fn unread(e: &(dyn Error + 'static), status: StatusCode, why: String) -> Problem {
    match status {
        _ if is_stalled(e) => stalled(),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ErrorCode::MessageTooLarge, why),
        _ => Problem::new(ErrorCode::InvalidMessage, why),
    }
}
