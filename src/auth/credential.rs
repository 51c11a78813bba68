//! Where a handshake carries its token (protocol section 1), and how an address is written into a log without it. Works on plain text:
//! knows no header type and no server.

use std::borrow::Cow;

use super::{AuthError, TOKEN_BYTES_MAX};
use crate::config::MASK;

/// Start of a subprotocol item that carries a token: browsers can set no header on a WebSocket.
const SUBPROTOCOL_PREFIX: &str = "bearer.";
/// Query keys whose values are credentials: ours, and the one of RFC 6750 that clients send by habit.
const SECRET_KEYS: [&str; 2] = ["token", "access_token"];

/// The token of a handshake, first found wins: the `Authorization` header's value, an item of the `Sec-WebSocket-Protocol` headers'
/// values, the query's `token` (already percent-decoded). An empty one, or one of another scheme than Bearer, counts as none.
///
/// # Errors
/// [`AuthError::Invalid`] where the one found is too large to be a token.
pub fn credential<'a>(
    authorization: Option<&'a str>,
    subprotocols: impl IntoIterator<Item = &'a str>,
    query_token: Option<&'a str>,
) -> Result<Option<&'a str>, AuthError> {
    let from_subprotocols = || {
        let items = subprotocols.into_iter().flat_map(|list| list.split(',')).map(str::trim);
        items.filter_map(|item| item.strip_prefix(SUBPROTOCOL_PREFIX)).find(|token| !token.is_empty())
    };
    let token = authorization
        .and_then(bearer)
        .or_else(from_subprotocols)
        .or_else(|| query_token.filter(|token| !token.is_empty()));
    match token {
        Some(token) if token.len() > TOKEN_BYTES_MAX => Err(AuthError::Invalid),
        found => Ok(found),
    }
}

/// The token of an `Authorization` value, whose scheme is case-insensitive (RFC 9110 section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// A request's path and query as a log may have it: the values of `token` and `access_token` masked, however their keys are spelled.
pub fn redact(path_and_query: &str) -> Cow<'_, str> {
    let Some((path, query)) = path_and_query.split_once('?') else { return Cow::Borrowed(path_and_query) };
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(path_and_query);
    }
    let mut shown = format!("{path}?");
    for (at, pair) in query.split('&').enumerate() {
        if at > 0 {
            shown.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_secret(pair) => {
                shown.push_str(key);
                shown.push('=');
                shown.push_str(MASK);
            }
            _ => shown.push_str(pair),
        }
    }
    Cow::Owned(shown)
}

/// Whether a query's pair carries a credential.
fn is_secret(pair: &str) -> bool {
    let Some((key, _)) = pair.split_once('=') else { return false };
    // Three characters spell one at most: what is longer than that is no key of ours.
    if key.len() > 3 * "access_token".len() {
        return false;
    }
    let key = percent_decoded(key);
    SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret.as_bytes()))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_a_token_wins() {
        for (authorization, subprotocols, query, want) in [
            (Some("Bearer a.b.c"), vec!["voxgate.v1, bearer.d.e.f"], Some("g"), Some("a.b.c")),
            (Some("bEARER   a.b.c"), vec![], None, Some("a.b.c")),
            (None, vec!["voxgate.v1, bearer.d.e.f"], Some("g"), Some("d.e.f")),
            (None, vec!["voxgate.v1", " bearer.d.e.f "], None, Some("d.e.f")),
            (Some("Basic dXNlcjpwYXNz"), vec!["voxgate.v1"], Some("g"), Some("g")),
            (Some("Bearer "), vec!["bearer."], Some(""), None),
            (Some("Bearer"), vec!["Bearer.x"], None, None),
            (None, vec![], None, None),
        ] {
            assert_eq!(
                credential(authorization, subprotocols.clone(), query),
                Ok(want),
                "{authorization:?} {subprotocols:?}"
            );
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_nothing_behind_it_is_taken() {
        let large = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(credential(None, [], Some(&large)), Err(AuthError::Invalid));
        assert_eq!(credential(Some(&format!("Bearer {large}")), [], Some("g")), Err(AuthError::Invalid));
        assert_eq!(credential(None, [], Some(&large[1..])), Ok(Some(&large[1..])));
    }

    #[test]
    fn no_spelling_of_the_key_lets_a_token_into_a_log() {
        for (from, to) in [
            ("/ws", "/ws"),
            ("/ws?client_id=a", "/ws?client_id=a"),
            ("/ws?token=secret", "/ws?token=********"),
            ("/ws?a=1&token=secret&b=2", "/ws?a=1&token=********&b=2"),
            ("/ws?%74oken=secret", "/ws?%74oken=********"),
            ("/ws?%74%6F%6b%65%6E=secret&token=two", "/ws?%74%6F%6b%65%6E=********&token=********"),
            ("/ws?TOKEN=secret", "/ws?TOKEN=********"),
            ("/ws?access_token=secret", "/ws?access_token=********"),
            ("/ws?token=a=b=c", "/ws?token=********"),
            ("/ws?x=?token=kept&tokens=kept", "/ws?x=?token=kept&tokens=kept"),
            ("/ws?token", "/ws?token"),
            ("/ws?%zz=1&%7=2", "/ws?%zz=1&%7=2"),
        ] {
            assert_eq!(redact(from), to);
        }
    }
}
