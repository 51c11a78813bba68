//! Who may do what over HTTP: whose request it is, the origin rule, the admin check.

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::peer::Peer;
use super::problem::Problem;
use super::router::Shared;
use super::state::App;
use super::ws;
use crate::auth::credential;
use crate::config::{OriginRule, may_be_rebound};
use crate::dialect::native::in_plain_words;
use crate::protocol::{ErrorCode, Identity, Speaker, check_name};

/// Who makes a request. `None`: nobody has said, where authentication is required.
///
/// # Errors
/// The problem of a token that is not accepted.
pub(super) async fn identify(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    query_token: Option<&str>,
) -> Result<Option<Identity>, Problem> {
    let Some(auth) = &app.auth else {
        // Behind a proxy on this machine everyone would seem to be on it: whoever comes through one is not.
        return Ok(Some(Identity::anonymous(peer.addr.ip().to_canonical().is_loopback() && !peer.is_proxied)));
    };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let subprotocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let refused = |e| Problem(ws::refusal(e));
    match credential(authorization, subprotocols, query_token).map_err(refused)? {
        Some(token) => auth.verify(token.to_owned()).await.map(Some).map_err(refused),
        None => Ok(None),
    }
}

/// Someone who has said who he is, where that is required.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Who.
    pub(super) identity: Identity,
    /// From where.
    pub(super) peer: Peer,
}

impl Caller {
    /// Who he is in the log.
    pub(super) fn name(&self) -> String {
        self.identity.user_id.clone().unwrap_or_else(|| self.peer.shown())
    }

    /// Himself as the source of a message. A request has no connection, so its id is nil.
    pub(super) fn speaker(&self) -> Speaker {
        Speaker {
            connection_id: uuid::Uuid::nil(),
            client_id: "http".to_owned(),
            user_id: self.identity.user_id.clone(),
        }
    }

    /// Lets administrators pass, and the user whose affair it is.
    ///
    /// # Errors
    /// `FORBIDDEN` for everybody else.
    pub(super) fn must_be(&self, user_id: Option<&str>) -> Result<(), Problem> {
        if self.identity.admin || (user_id.is_some() && self.identity.user_id.as_deref() == user_id) {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Forbidden, "this is another user's"))
    }

    /// Lets those pass who may enter a conversation.
    ///
    /// # Errors
    /// `FORBIDDEN` for everybody else, `INVALID_MESSAGE` where the id is none.
    pub(super) fn may_enter(&self, conversation_id: &str) -> Result<(), Problem> {
        check_name("conversation_id", conversation_id)
            .map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.to_string()))?;
        if self.identity.may_enter(conversation_id) {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::Forbidden, "you may not enter this conversation"))
    }
}

/// The `token` of a query: for what cannot set a header, such as an `<audio>` element.
#[derive(Default, Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let peer = Peer::from_request_parts(parts, app).await?;
        let query = Query::<TokenQuery>::try_from_uri(&parts.uri).map_or_else(|_| TokenQuery::default(), |q| q.0);
        let identity = identify(app, peer, &parts.headers, query.token.as_deref()).await?;
        let nobody = || Problem::new(ErrorCode::Unauthenticated, "send a token: Authorization: Bearer JWT");
        Ok(Self { identity: identity.ok_or_else(nobody)?, peer })
    }
}

/// The last variable part of a path, percent-decoded; what is no text there is a problem like any other.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<Shared> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|p| Self(p.0)).map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.body_text()))
    }
}

/// The query; one that cannot be read is a problem like any other.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|q| Self(q.0)).map_err(|e| {
            let text = e.body_text();
            let why = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            let (place, why) = why.split_once(": ").map_or((None, why), |(place, why)| (Some(place), why));
            Problem::new(ErrorCode::InvalidMessage, in_plain_words(place, why))
        })
    }
}

/// Proof that the request may administer.
#[derive(Clone, Debug)]
pub(super) struct Admin(pub(super) Caller);

impl FromRequestParts<Shared> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if caller.identity.admin {
            return Ok(Self(caller));
        }
        let instead = if app.auth.is_some() {
            "a token with the admin role is needed"
        } else {
            "ask from the server's own machine"
        };
        Err(Problem::new(ErrorCode::Forbidden, format!("this is for administrators: {instead}")))
    }
}

/// Refuses pages of other origins (failures.md row 23): an absent `Origin` passes, a present one must be the server's own or listed.
/// Where nobody needs a token, so must the `Host` be: a page may have made its own name this server's address.
pub(super) async fn check_origin(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    if app.auth.is_none() && hosts.any(|h| h.to_str().map_or(true, |h| may_be_rebound(h, &app.origins))) {
        return Problem::new(
            ErrorCode::Forbidden,
            "without authentication this server answers to addresses, localhost and names without a dot: list others in server.allowed_origins",
        )
        .into_response();
    }
    if origin_may(&app, request.headers()) {
        next.run(request).await
    } else {
        Problem::new(ErrorCode::Forbidden, "pages of this origin may not connect: list it in server.allowed_origins")
            .into_response()
    }
}

/// Whether the page that sends these headers may.
pub(super) fn origin_may(app: &App, headers: &HeaderMap) -> bool {
    origin_is_allowed(headers, &app.origins)
}

fn origin_is_allowed(headers: &HeaderMap, allowed: &[OriginRule]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|o| OriginRule::parse(o).ok()) else { return false };
    if origins.next().is_some() {
        return false; // which of them counts would be anyone's guess
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    allowed.contains(&origin) || host.is_some_and(|h| origin.is_host(h))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>, host: &str) -> HeaderMap {
        let mut h = HeaderMap::new();
        h.insert(header::HOST, host.parse().unwrap());
        if let Some(o) = origin {
            h.insert(header::ORIGIN, o.parse().unwrap());
        }
        h
    }

    #[test]
    fn an_origin_must_be_the_servers_own_or_listed_exactly() {
        let listed = [OriginRule::parse("https://app.example.com").unwrap()];
        assert!(origin_is_allowed(&headers(None, "h:1"), &listed));
        assert!(origin_is_allowed(&headers(Some("http://h:1"), "h:1"), &listed));
        assert!(origin_is_allowed(&headers(Some("https://app.example.com"), "h:1"), &listed));
        assert!(origin_is_allowed(&headers(Some("https://APP.example.com:443"), "h:1"), &listed));
        for bad in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.test",
            "null",
            "http://h:2",
            "https://app.example.com/",
        ] {
            assert!(!origin_is_allowed(&headers(Some(bad), "h:1"), &listed), "{bad}");
        }
    }
}
