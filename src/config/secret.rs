//! Values that must never be shown: every way of displaying them masks them.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::setting::settings;

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// A secret. `Debug` and `Serialize` give [`MASK`]; [`Secret::expose`] is the only way to it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the code that computes with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// An address that may carry a password or a key: shown without its user information and query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Wraps an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole address, for the code that connects to it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The address as it may be shown.
    pub fn masked(&self) -> String {
        let (address, query) = match self.0.split_once('?') {
            Some((address, _)) => (address, format!("?{MASK}")),
            None => (self.0.as_str(), String::new()),
        };
        let Some((scheme, rest)) = address.split_once("://") else { return format!("{address}{query}") };
        let authority_end = rest.find('/').unwrap_or(rest.len());
        match rest[..authority_end].rfind('@') {
            Some(at) => format!("{scheme}://{MASK}{}{query}", &rest[at..]),
            None => format!("{scheme}://{rest}{query}"),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

settings! {
    Secret => "a string",
    ServiceUrl => "an address such as \"https://host/path\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_displays_a_secret_shows_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(toml::Value::try_from(&secret).unwrap(), toml::Value::String(MASK.into()));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn an_address_is_shown_without_password_and_query() {
        for (url, shown) in [
            ("sqlite:./voxgate-data/voxgate.db", "sqlite:./voxgate-data/voxgate.db"),
            ("https://host/v1", "https://host/v1"),
            ("https://user:pa@ss@host:8443/v1", "https://********@host:8443/v1"),
            ("https://host/keys?token=abc", "https://host/keys?********"),
            ("https://host/a@b", "https://host/a@b"),
        ] {
            assert_eq!(ServiceUrl::new(url).masked(), shown);
        }
    }
}
