//! Who may do what over HTTP: the peer's address, the origin rule, the admin check.

use std::net::SocketAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::router::Shared;
use crate::protocol::ErrorCode;

/// The address a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    /// With authentication off, whoever is on this machine is an administrator (protocol section 2).
    pub(super) fn is_admin(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| Problem::new(ErrorCode::Internal, "no peer address"))
    }
}

/// Proof that the request may administer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(pub(super) Peer);

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let peer = Peer::from_request_parts(parts, state).await?;
        if peer.is_admin() {
            Ok(Self(peer))
        } else {
            Err(Problem::new(ErrorCode::Forbidden, "this is for administrators: ask from the server's own machine"))
        }
    }
}

/// Refuses pages of other origins (failures.md row 23): an absent `Origin` passes, a present one must be the server's own or listed.
pub(super) async fn check_origin(State(app): State<Shared>, request: Request, next: Next) -> Response {
    if origin_is_allowed(request.headers(), &app.config.server.allowed_origins) {
        next.run(request).await
    } else {
        Problem::new(ErrorCode::Forbidden, "pages of this origin may not connect: list it in server.allowed_origins")
            .into_response()
    }
}

fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|a| a == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some() && authority == host
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
        let listed = ["https://app.example.com".to_owned()];
        assert!(origin_is_allowed(&headers(None, "h:1"), &listed));
        assert!(origin_is_allowed(&headers(Some("http://h:1"), "h:1"), &listed));
        assert!(origin_is_allowed(&headers(Some("https://app.example.com"), "h:1"), &listed));
        for bad in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.test",
            "null",
            "http://h:2",
        ] {
            assert!(!origin_is_allowed(&headers(Some(bad), "h:1"), &listed), "{bad}");
        }
    }
}
