//! Bodies of requests: how long one may bring nothing or next to nothing, and what is told of one that cannot be had.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use hyper::body::{Frame, Incoming, SizeHint};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::problem::Problem;
use crate::protocol::ErrorCode;

/// How long a body may bring nothing: it holds a connection meanwhile, and at `POST /api/decode` one of few places.
const IDLE_MAX: Duration = Duration::from_secs(8);

/// What a body must bring in twice that time to go on being read; the leanest sound has several times as much.
const TRICKLE_BYTES: usize = 1_000;

/// A body that fails where it brings nothing, or next to nothing, for too long.
pub(super) fn timed(body: Incoming) -> Body {
    Body::new(Timed { body: Box::pin(TimeoutBody::new(IDLE_MAX, body)), since: Instant::now(), bytes: 0 })
}

struct Timed {
    body: Pin<Box<TimeoutBody<Incoming>>>,
    /// When the bytes began to be counted.
    since: Instant,
    bytes: usize,
}

impl Timed {
    /// Counts what came. Whether it goes on being too little for sound or a file on its way.
    fn is_trickle(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.since.elapsed() < 2 * IDLE_MAX {
            return false;
        }
        let trickles = self.bytes < TRICKLE_BYTES;
        (self.since, self.bytes) = (Instant::now(), 0);
        trickles
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        let brought = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        if brought > 0 && self.is_trickle(brought) {
            return Poll::Ready(Some(Err(Trickle.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body brought something, but next to nothing.
#[derive(Debug, thiserror::Error)]
#[error("the body brought next to nothing")]
struct Trickle;

/// Whether reading a body failed because it brought nothing, or next to nothing.
pub(super) fn is_stalled(e: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(e), |&e| e.source()).any(|e| e.is::<TimeoutError>() || e.is::<Trickle>())
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
