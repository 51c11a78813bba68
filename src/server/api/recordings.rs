//! `/api/recordings*`: what was kept. Ids are UUIDs and nothing else, so no path can be smuggled in.

use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::ServeFile;
use uuid::Uuid;

use super::{List, Page};
use crate::protocol::ErrorCode;
use crate::server::guard::{Asked, Caller, Segment};
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::sink::recorder::{RecordError, RecorderService, RecordingMeta, RecordingState};

fn missing() -> Problem {
    Problem::not_found("no such recording")
}

fn service(app: &Shared) -> Result<&RecorderService, Problem> {
    app.recorder.as_ref().ok_or_else(|| Problem::not_found("recording is off"))
}

/// Whose recordings the caller sees; none: everybody's.
///
/// # Errors
/// `FORBIDDEN` where it is nobody in particular.
fn owner(caller: &Caller) -> Result<Option<&str>, Problem> {
    let user = caller.identity.user_id.as_deref();
    caller.must_be(user)?;
    Ok(user.filter(|_| !caller.identity.admin))
}

/// Whether a recording is the caller's to have. Others' seem not to exist, so that nobody can probe.
fn may_have(caller: &Caller, recording: &RecordingMeta) -> bool {
    caller.must_be(recording.user_id.as_deref()).is_ok()
}

/// `GET /api/recordings`, newest first: one's own, for administrators everybody's.
pub(in crate::server) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Asked(page): Asked<Page>,
) -> Result<Json<List<RecordingMeta>>, Problem> {
    let limit = page.limit();
    let (service, owner) = (service(&app)?, owner(&caller)?);
    let rows = match app.recordings.page(page.after, limit + 1, owner).await {
        Some(ids) => ids.into_iter().filter_map(|id| service.get(id)).collect(),
        None => service.list(page.after, limit + 1, owner),
    };
    Ok(Json(List::page(rows, limit, |m| m.id.to_string())))
}

/// `GET /api/recordings/{id}` and `/api/recordings/{id}.wav`; the latter takes range requests.
pub(in crate::server) async fn one(
    State(app): State<Shared>,
    caller: Caller,
    Segment(name): Segment,
    request: Request,
) -> Result<Response, Problem> {
    let (text, wav) = name.strip_suffix(".wav").map_or((name.as_str(), false), |id| (id, true));
    let id: Uuid = text.parse().map_err(|_| missing())?;
    let service = service(&app)?;
    let meta = service.get(id).filter(|m| may_have(&caller, m)).ok_or_else(missing)?;
    if !wav {
        return Ok(Json(meta).into_response());
    }
    let path = service.path(id).ok_or_else(missing)?;
    let request = with_served_range(request, &path).await;
    let Ok(response) = ServeFile::new(path).oneshot(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(missing());
    }
    let mut response = response.map(Body::new);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
    if meta.state == RecordingState::Recording {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Takes a `Range` away that is none of a single part in bytes, or of another state of the file than `If-Range` names: the whole is
/// served then (RFC 9110 sections 14.2 and 13.1.5).
async fn with_served_range(mut request: Request, path: &Path) -> Request {
    let Some(range) = request.headers().get(header::RANGE) else { return request };
    let mut served = range.to_str().is_ok_and(is_one_part);
    if let Some(wanted) = request.headers().get(header::IF_RANGE) {
        let look = Request::head("/").body(Body::empty()).expect("a request");
        let Ok(head) = ServeFile::new(path).oneshot(look).await;
        served &= head.headers().get(header::LAST_MODIFIED) == Some(wanted);
    }
    if !served {
        request.headers_mut().remove(header::RANGE);
    }
    request
}

/// `bytes=0-99`, `bytes=100-` or `bytes=-50`.
fn is_one_part(range: &str) -> bool {
    let Some((unit, part)) = range.split_once('=') else { return false };
    let Some((first, last)) = part.trim().split_once('-') else { return false };
    let number = |n: &str| n.parse::<u64>().ok().filter(|_| n.bytes().all(|b| b.is_ascii_digit()));
    let in_order = match (number(first), number(last)) {
        (Some(first), Some(last)) => first <= last,
        (Some(_), None) => last.is_empty(),
        (None, Some(_)) => first.is_empty(),
        (None, None) => false,
    };
    unit.eq_ignore_ascii_case("bytes") && in_order
}

/// `DELETE /api/recordings/{id}`.
pub(in crate::server) async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    let id: Uuid = name.parse().map_err(|_| missing())?;
    service(&app)?.get(id).filter(|m| may_have(&caller, m)).ok_or_else(missing)?;
    let deleted = tokio::task::spawn_blocking(move || app.recorder.as_ref().map_or(Ok(()), |r| r.delete(id))).await;
    match deleted {
        Ok(Ok(())) => {
            tracing::info!(by = caller.name(), recording = %id, "recording deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(Err(RecordError::NotFound { .. })) => Err(missing()),
        Ok(Err(RecordError::InUse { .. })) => {
            Err(Problem::new(ErrorCode::StreamExists, "the recording still runs: end its stream first"))
        }
        Ok(Err(e)) => {
            tracing::error!(recording = %id, error = %e, "recording not deleted");
            Err(Problem::new(ErrorCode::Internal, "the recording could not be deleted"))
        }
        Err(_) => Err(Problem::new(ErrorCode::Internal, "the recording could not be deleted")),
    }
}
