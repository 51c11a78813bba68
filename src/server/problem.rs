//! HTTP errors: RFC 9457 problem details with the protocol's own codes. The one place where errors become HTTP.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::protocol::{ErrorCode, ProtocolError};

/// An error as an HTTP response.
#[derive(Debug)]
pub(super) struct Problem(pub(super) ProtocolError);

impl Problem {
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(ProtocolError::new(code, detail))
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, what)
    }
}

fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidJson
        | ErrorCode::InvalidMessage
        | ErrorCode::UnknownMessageType
        | ErrorCode::InvalidBase64
        | ErrorCode::FormatRequired
        | ErrorCode::AudioGap => StatusCode::BAD_REQUEST,
        ErrorCode::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedFormat => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::DecodeFailed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::StreamNotFound | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::StreamExists | ErrorCode::ResumeFailed => StatusCode::CONFLICT,
        ErrorCode::StreamStalled => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Unauthenticated | ErrorCode::TokenInvalid | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::StreamLimit
        | ErrorCode::ConversationLimit
        | ErrorCode::RateLimited
        | ErrorCode::QuotaExceeded
        | ErrorCode::SlowConsumer => StatusCode::TOO_MANY_REQUESTS,
        // Keys that cannot be fetched and a store that cannot write come back: nobody between here and the client is at fault.
        ErrorCode::Overloaded | ErrorCode::Draining | ErrorCode::UpstreamUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(self.0.code);
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.0.message,
            "code": self.0.code,
            "retry_suggested": self.0.retry_suggested,
            "retry_after_ms": self.0.retry_after_ms,
        });
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(ms) = self.0.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, ms.div_ceil(1_000).into());
        }
        response
    }
}
