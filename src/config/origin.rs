//! Origins of web pages (RFC 6454): which may connect. Two are the same where scheme, host and port are, however they are written.
//! Knows no header type.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text is no origin that can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginRuleError {
    /// `null` is what every sandboxed page and every file sends: it names nobody.
    #[error("\"null\" is the origin of every sandboxed page; name real ones, such as \"https://app.example.com\"")]
    Null,
    /// Something else than scheme, host and port.
    #[error(
        "write an origin as \"https://app.example.com\" or \"https://app.example.com:8443\": scheme, host and port only"
    )]
    Malformed,
}

/// An origin in one spelling: scheme and host in lower case, the port written out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginRule {
    scheme: String,
    host: String,
    /// None for schemes that have none, such as an extension's.
    port: Option<u16>,
}

impl OriginRule {
    /// Reads an origin, from a configuration or from an `Origin` header.
    ///
    /// # Errors
    /// [`OriginRuleError`] for `null` and for what has a path, a user or no host.
    pub fn parse(text: &str) -> Result<Self, OriginRuleError> {
        if text == "null" {
            return Err(OriginRuleError::Null);
        }
        let (scheme, authority) = text.split_once("://").ok_or(OriginRuleError::Malformed)?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !scheme_ok {
            return Err(OriginRuleError::Malformed);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = host_and_port(authority).ok_or(OriginRuleError::Malformed)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self { scheme, host, port })
    }

    /// Whether a page of this origin was served by the host the request names in its `Host` header. The header has no scheme, and a
    /// proxy may have taken TLS off: the origin's own counts.
    pub fn is_host(&self, host_header: &str) -> bool {
        let known = matches!(self.scheme.as_str(), "http" | "https");
        known
            && host_and_port(host_header).is_some_and(|(host, port)| {
                host == self.host && port.or_else(|| default_port(&self.scheme)) == self.port
            })
    }
}

/// Whether a request's `Host` header may be a name that its owner points to whatever machine he likes, so that a page of his speaks to
/// this server as if to its own ("DNS rebinding"): a name with a dot, of no listed origin.
pub fn may_be_rebound(host_header: &str, allowed: &[OriginRule]) -> bool {
    let Some((host, _)) = host_and_port(host_header) else { return true };
    let own = !host.contains('.') || host.parse::<Ipv4Addr>().is_ok() || host.ends_with(".localhost");
    !own && !allowed.iter().any(|o| o.host == host)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Splits an authority without a user; the host in the one spelling it has.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        (format!("[{address}]"), if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (authority.to_ascii_lowercase(), None),
        }
    };
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let host_ok = host.starts_with('[') || (!host.is_empty() && host.bytes().all(name));
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    host_ok.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_the_same_where_scheme_host_and_port_are() {
        let rule = |text| OriginRule::parse(text).unwrap();
        for (a, b, same) in [
            ("https://app.example.com", "https://app.example.com:443", true),
            ("HTTPS://App.Example.COM", "https://app.example.com", true),
            ("http://h:80", "http://h", true),
            ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]", true),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:444", false),
            ("https://app.example.com", "https://app.example.com.evil.test", false),
            ("https://app.example.com", "https://example.com", false),
            ("http://h:443", "https://h", false),
            ("chrome-extension://abc", "chrome-extension://abc", true),
        ] {
            assert_eq!(rule(a) == rule(b), same, "{a} {b}");
        }
    }

    #[test]
    fn names_that_may_point_anywhere_are_not_the_servers_own() {
        let listed = [OriginRule::parse("https://app.example.com").unwrap()];
        for own in [
            "localhost:8080",
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]:8080",
            "[fe80::1.2.3.4]",
            "voxgate",
            "a.localhost",
        ] {
            assert!(!may_be_rebound(own, &listed), "{own}");
        }
        assert!(!may_be_rebound("APP.example.com:8443", &listed));
        for anyones in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "example.com",
            "x.app.example.com",
            "evil.example.",
            "a b",
            "",
        ] {
            assert!(may_be_rebound(anyones, &listed), "{anyones}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        assert_eq!(OriginRule::parse("null"), Err(OriginRuleError::Null));
        for bad in [
            "",
            "h",
            "//h",
            "://h",
            "https://",
            "https://h/",
            "https://h/path",
            "https://user@h",
            "https://h:",
            "https://h:70000",
            "https://h:+80",
            "https://h:80:81",
            "https://[::1",
            "https://[::1]80",
            "https://[zz]",
            "https://::1",
            "https://*.example.com",
            "https://h?x",
            "ht tp://h",
            "1http://h",
            "https://h\u{e4}",
        ] {
            let parsed = OriginRule::parse(bad);
            let empty_port = bad == "https://h:";
            assert!(parsed == Err(OriginRuleError::Malformed) || empty_port, "{bad}: {parsed:?}");
        }
    }

    #[test]
    fn a_page_of_the_servers_own_is_told_by_the_host_it_asks() {
        for (origin, host, own) in [
            ("http://h:8080", "h:8080", true),
            ("http://h", "h:80", true),
            ("https://h", "h", true),
            ("https://h", "h:443", true),
            ("http://H:8080", "h:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://h:8080", "h:8081", false),
            ("http://h", "h:443", false),
            ("http://evil.test", "h", false),
            ("chrome-extension://h", "h", false),
            ("http://h", "", false),
        ] {
            assert_eq!(OriginRule::parse(origin).unwrap().is_host(host), own, "{origin} {host}");
        }
    }
}
