//! Where a request came from: the socket's other end, or whom a trusted proxy names. Knows no route and no identity.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use super::problem::Problem;
use crate::config::IpRange;
use crate::protocol::ErrorCode;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What proxies add; whoever sends one of them may have others behind him.
const PROXY_HEADERS: [HeaderName; 4] =
    [X_FORWARDED_FOR, header::FORWARDED, header::VIA, HeaderName::from_static("x-real-ip")];

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The client, as far as can be told. Its port is 0 where a proxy did not name it.
    pub(super) addr: SocketAddr,
    /// Whether a proxy is in between, trusted or not: such a client is not on this machine, whatever its address says.
    pub(super) is_proxied: bool,
}

impl Peer {
    /// Who sends these headers over a socket whose other end is `socket`.
    pub(super) fn of(socket: SocketAddr, headers: &HeaderMap, trusted: &[IpRange]) -> Self {
        if !is_trusted(socket.ip(), trusted) {
            return Self { addr: socket, is_proxied: PROXY_HEADERS.iter().any(|h| headers.contains_key(h)) };
        }
        Self { addr: named(headers, trusted).unwrap_or(socket), is_proxied: true }
    }

    /// Its address for people: without a port where none is known.
    pub(super) fn shown(self) -> String {
        shown(self.addr)
    }
}

/// An address for people: without the port where none is known.
pub(super) fn shown(addr: SocketAddr) -> String {
    if addr.port() == 0 { addr.ip().to_string() } else { addr.to_string() }
}

/// Whether `address` is a proxy's whose word counts.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpRange]) -> bool {
    trusted.iter().any(|range| range.contains(address))
}

/// Whom the proxies name: each adds at the right where it was asked from, so that the rightmost address that is no trusted proxy's is
/// the client's. What stands left of it anyone may have written. `X-Forwarded-For` counts where there is one, `Forwarded` (RFC 7239)
/// where there is none.
fn named(headers: &HeaderMap, trusted: &[IpRange]) -> Option<SocketAddr> {
    let plain = headers.contains_key(X_FORWARDED_FOR);
    let lines = headers.get_all(if plain { X_FORWARDED_FOR } else { header::FORWARDED });
    let mut nearest = None;
    for line in lines.iter().rev() {
        for hop in line.as_bytes().rsplit(|b| *b == b',') {
            let hop = std::str::from_utf8(hop).ok();
            let node = if plain { hop.map(str::trim) } else { hop.and_then(forwarded_for) };
            // Beyond what cannot be read nothing counts.
            let Some(addr) = node.and_then(parse) else { return nearest };
            nearest = Some(addr);
            if !is_trusted(addr.ip(), trusted) {
                return nearest;
            }
        }
    }
    nearest
}

/// `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn parse(node: &str) -> Option<SocketAddr> {
    let with_port = |ip: IpAddr| SocketAddr::new(ip.to_canonical(), 0);
    if let Ok(addr) = node.parse::<SocketAddr>() {
        return Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()));
    }
    let bare = node.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(node);
    bare.parse().ok().map(with_port)
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| Problem::new(ErrorCode::Internal, "no peer address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(socket: &str, headers: &[(&'static str, &'static str)]) -> (String, bool) {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let peer = Peer::of(socket.parse().unwrap(), &all, &trusted);
        (peer.shown(), peer.is_proxied)
    }

    #[test]
    fn the_rightmost_address_that_no_trusted_proxy_has_is_the_clients() {
        const X: &str = "x-forwarded-for";
        const F: &str = "forwarded";
        for (headers, client) in [
            (vec![(X, "203.0.113.9")], "203.0.113.9"),
            (vec![(X, "203.0.113.9:4711")], "203.0.113.9:4711"),
            (vec![(X, "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
            (vec![(X, "198.51.100.1, 203.0.113.9, 10.1.1.1,10.2.2.2")], "203.0.113.9"),
            (vec![(X, "198.51.100.1"), (X, "203.0.113.9"), (X, "10.1.1.1")], "203.0.113.9"),
            (vec![(X, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
            (vec![(X, "::ffff:203.0.113.9")], "203.0.113.9"),
            (vec![(X, "2001:db9::1")], "2001:db9::1"),
            (vec![(X, "[2001:db9::1]:80, [2001:db8::5]")], "[2001:db9::1]:80"),
            // Lies, and what cannot be read, reach no further than the proxy that wrote behind them.
            (vec![(X, "127.0.0.1, unknown, 10.2.2.2")], "10.2.2.2"),
            (vec![(X, "127.0.0.1, ")], "10.0.0.1:1"),
            (vec![(X, "\"")], "10.0.0.1:1"),
            (vec![(X, "")], "10.0.0.1:1"),
            (vec![], "10.0.0.1:1"),
            (vec![(F, "for=203.0.113.9;proto=https;by=10.0.0.1")], "203.0.113.9"),
            (vec![(F, "for=198.51.100.1, for=\"[2001:db9::1]:4711\"")], "[2001:db9::1]:4711"),
            (vec![(F, "For=203.0.113.9"), (F, "proto=http; FOR=10.7.7.7")], "203.0.113.9"),
            (vec![(F, "for=\"x, for=203.0.113.9")], "203.0.113.9"),
            (vec![(F, "for=_hidden")], "10.0.0.1:1"),
            (vec![(F, "for=192.0.2.1"), (X, "203.0.113.9")], "203.0.113.9"),
        ] {
            assert_eq!(peer("10.0.0.1:1", &headers), (client.to_owned(), true), "{headers:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        for headers in [[("x-forwarded-for", "203.0.113.9")], [("forwarded", "for=1.2.3.4")], [("via", "1.1 proxy")]] {
            assert_eq!(peer("192.0.2.1:7", &headers), ("192.0.2.1:7".to_owned(), true));
        }
        assert_eq!(peer("192.0.2.1:7", &[]), ("192.0.2.1:7".to_owned(), false));
    }
}
