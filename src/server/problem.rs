//! HTTP errors: RFC 9457 problem details with the protocol's own codes. The one place where errors become HTTP.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use schemars::JsonSchema;
use serde::Serialize;

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

/// The media type of problem details.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// Bytes of somebody else's error text that are passed on; axum's are one line.
const DETAIL_BYTES_MAX: usize = 1024;

/// Problem details (RFC 9457) with the protocol's own code.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemDetails {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was wrong, for people.
    detail: String,
    /// What was wrong, for programs.
    code: ErrorCode,
    /// Whether the same again may work.
    retry_suggested: bool,
    /// When, where that is known; `Retry-After` says the same in seconds.
    retry_after_ms: Option<u64>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        respond(status(self.0.code), self.0)
    }
}

/// A problem whose status is not its code's usual one.
pub(super) fn respond(status: StatusCode, error: ProtocolError) -> Response {
    let ProtocolError { code, message, retry_suggested, retry_after_ms, .. } = error;
    let body = ProblemDetails {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: message,
        code,
        retry_suggested,
        retry_after_ms,
    };
    let body = serde_json::to_string(&body).expect("strings and numbers serialise");
    let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(ms) = retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, ms.div_ceil(1_000).into());
    }
    response
}

/// Turns errors that are not ours, of extractors and of the file service, into problem details. Answers in JSON stay as they are:
/// `/health/ready` says how things are with a 503.
pub(super) async fn mend(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let told = response.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok());
    if !(status.is_client_error() || status.is_server_error()) || told.is_some_and(|t| t.contains("json")) {
        return response;
    }
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::MessageTooLarge,
        s if s.is_server_error() => ErrorCode::Internal,
        _ => ErrorCode::InvalidMessage,
    };
    let (mut head, body) = response.into_parts();
    let text = Limited::new(body, DETAIL_BYTES_MAX).collect().await.map(|b| b.to_bytes().to_vec()).unwrap_or_default();
    let text = String::from_utf8(text).ok().filter(|t| !t.is_empty() && code != ErrorCode::Internal);
    let text = text.unwrap_or_else(|| status.canonical_reason().unwrap_or("the request failed").to_lowercase());
    let mended = respond(status, ProtocolError::new(code, text));
    let (ours, body) = mended.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(ours.headers);
    Response::from_parts(head, Body::new(body))
}
