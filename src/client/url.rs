//! `ws://` and `wss://` addresses.

use std::fmt;
use std::str::FromStr;

use super::error::ClientError;
use super::transport::Trust;

/// The route of the socket (protocol section 1).
const DEFAULT_PATH: &str = "/ws";

/// An address of the form `ws://HOST[:PORT][/PATH][?QUERY]`, or `wss://` with TLS; without a path it is the protocol's own, `/ws`.
#[derive(Clone)]
pub struct WsUrl {
    secure: bool,
    /// Who vouches for the server; none: the machine's own authorities.
    trust: Option<Trust>,
    host: String,
    port: u16,
    path: String,
    query: String,
}

impl WsUrl {
    /// The socket of a server at `address`.
    pub fn of(address: std::net::SocketAddr) -> Self {
        Self {
            secure: false,
            trust: None,
            host: address.ip().to_string(),
            port: address.port(),
            path: DEFAULT_PATH.to_owned(),
            query: String::new(),
        }
    }

    /// With other authorities than the machine's own, where TLS is spoken.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = self.secure.then_some(trust);
        self
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Who vouches for the server; none: the machine's own authorities, or no TLS.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// `HOST:PORT`, brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What stands in the request line.
    pub fn path_and_query(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// The host without brackets, and the port.
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Where the server's HTTP interface is.
    pub fn http_base(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for WsUrl {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let shown = text.split('?').next().unwrap_or_default().to_owned();
        let fail = |problem| ClientError::Url { url: shown.clone(), problem };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(fail("spaces and control characters cannot be in an address"));
        }
        let (secure, rest) = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(fail("write the address as ws://HOST:PORT/ws or wss://HOST:PORT/ws")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (path, query) = tail.find('?').map_or((tail, ""), |at| tail.split_at(at));
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, rest) =
                bracketed.split_once(']').ok_or_else(|| fail("the bracket of the address is not closed"))?;
            (host, rest.strip_prefix(':'))
        } else {
            authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None if secure => 443,
            None => 80,
            Some(port) => port.parse().map_err(|_| fail("the port must be a number from 1 to 65535"))?,
        };
        if host.is_empty() || host.contains('@') {
            return Err(fail("write the address as ws://HOST:PORT/ws; credentials go into --token"));
        }
        let path = if path.is_empty() || path == "/" { DEFAULT_PATH } else { path };
        Ok(Self { secure, trust: None, host: host.to_owned(), port, path: path.to_owned(), query: query.to_owned() })
    }
}

/// Without the query: it may hold a token.
impl fmt::Display for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "wss" } else { "ws" }, self.authority(), self.path)
    }
}

impl fmt::Debug for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, authority, target) in [
            ("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws"),
            ("ws://host", "host:80", "/ws"),
            ("ws://host:81/", "host:81", "/ws"),
            ("ws://[::1]:9/ws/me?token=a/b", "[::1]:9", "/ws/me?token=a/b"),
            ("wss://host", "host:443", "/ws"),
            ("wss://host:8443/ws", "host:8443", "/ws"),
            ("ws://host?client_id=x#part", "host:80", "/ws?client_id=x"),
        ] {
            let url: WsUrl = text.parse().unwrap();
            assert_eq!((url.authority().as_str(), url.path_and_query().as_str()), (authority, target), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused_without_repeating_a_token() {
        for text in [
            "",
            "host:80",
            "http://host",
            "wsss://host/?token=t0p",
            "ws://",
            "ws://:1",
            "ws://h:99999",
            "ws://a b",
            "ws://u:p@h",
            "ws://[::1",
        ] {
            let error = text.parse::<WsUrl>().unwrap_err().to_string();
            assert!(!error.contains("t0p"), "{error}");
        }
        let url: WsUrl = "ws://host/ws?token=t0p".parse().unwrap();
        assert_eq!(format!("{url:?}"), "ws://host:80/ws");
        let url: WsUrl = "wss://host/ws?token=t0p".parse().unwrap();
        assert_eq!((format!("{url:?}"), url.http_base()), ("wss://host:443/ws".into(), "https://host:443".into()));
    }
}
