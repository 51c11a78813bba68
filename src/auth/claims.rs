//! What a token says, read strictly: a claim of another type than RFC 7519 and `docs/IDENTITY.md` give it refuses the token. Knows no
//! key; what it reads has a good signature already.

use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use super::AuthError;
use crate::protocol::{ConversationRule, Identity, NAME_CHARS_MAX};

/// A user's name is a key of the store and of the limits per user.
pub(super) const SUB_CHARS_MAX: usize = 256;
/// A role is a word; directories that export hundreds of groups should map them first.
pub(super) const ROLES_MAX: usize = 64;
/// Longest role.
pub(super) const ROLE_CHARS_MAX: usize = 128;
/// A token's id is a hash or a UUID.
pub(super) const JTI_CHARS_MAX: usize = 256;
/// Rules are looked through at each join.
pub(super) const CONVERSATIONS_MAX: usize = 256;
/// What every JSON reader counts exactly (RFC 8259 section 6).
pub(super) const DATE_MAX: u64 = 1 << 53;

/// What a token must say besides being signed.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) leeway_s: u64,
    pub(super) admin_role: String,
}

/// A date of a claim, in whole seconds since the Unix epoch, 0 to 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(super) struct Date(pub(super) u64);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Date;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("whole seconds from 0 to 2^53")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Date, E> {
                if seconds > DATE_MAX {
                    return Err(E::invalid_value(Unexpected::Unsigned(seconds), &self));
                }
                Ok(Date(seconds))
            }
        }
        deserializer.deserialize_u64(Whole)
    }
}

/// `aud`: one recipient or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|a| a == audience),
        }
    }
}

/// Claims as they come. A claim given twice refuses the token, and so does one that is `null`: what it should mean is anyone's guess.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    exp: Date,
    #[serde(default, deserialize_with = "given")]
    nbf: Option<Date>,
    #[serde(default, deserialize_with = "given")]
    iat: Option<Date>,
    #[serde(default, deserialize_with = "given")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "given")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "given")]
    jti: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    conversations: Option<Vec<String>>,
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some).map_err(D::Error::custom)
}

/// Reads a JSON object. serde would take an array for a struct as well, member by member.
pub(super) fn object<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Result<T, serde_json::Error> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(serde_json::Error::custom("it is no JSON object"));
    }
    serde_json::from_slice(json)
}

/// Why claims are not accepted: for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// Not JSON, a claim missing, given twice or of another type.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// Over, leeway included.
    #[error("exp {exp} is past")]
    Expired {
        /// Its end.
        exp: u64,
    },
    /// Not begun.
    #[error("{claim} {at} is still to come")]
    TooEarly {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// When it begins.
        at: u64,
    },
    /// By another issuer or for another audience.
    #[error("{claim} is not the configured one")]
    NotOurs {
        /// `iss` or `aud`.
        claim: &'static str,
    },
    /// A value out of bounds.
    #[error("{claim} must be {expected}")]
    OutOfBounds {
        /// Which claim.
        claim: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

impl Flaw {
    pub(super) fn error(&self) -> AuthError {
        match self {
            Self::Expired { .. } => AuthError::Expired,
            Self::Malformed(_) | Self::TooEarly { .. } | Self::NotOurs { .. } | Self::OutOfBounds { .. } => {
                AuthError::Invalid
            }
        }
    }
}

impl Claims {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Flaw> {
        Ok(object(json)?)
    }

    /// Who the token's bearer is. What is wrong for good is told before what time has done: a token for others is not "expired".
    pub(super) fn identity(self, expected: &Expected, now_unix_s: u64) -> Result<Identity, Flaw> {
        self.check_bounds()?;
        if let Some(issuer) = &expected.issuer
            && self.iss.as_ref() != Some(issuer)
        {
            return Err(Flaw::NotOurs { claim: "iss" });
        }
        if let Some(audience) = &expected.audience
            && !self.aud.as_ref().is_some_and(|aud| aud.names(audience))
        {
            return Err(Flaw::NotOurs { claim: "aud" });
        }
        self.check_dates(now_unix_s, expected.leeway_s)?;
        Ok(Identity {
            user_id: Some(self.sub),
            admin: self.roles.contains(&expected.admin_role),
            roles: self.roles,
            expires_unix_s: Some(self.exp.0),
            issued_unix_s: self.iat.map(|at| at.0),
            jti: self.jti,
            conversations: self.conversations.map(|rules| rules.iter().map(|r| ConversationRule::parse(r)).collect()),
        })
    }

    /// RFC 7519 sections 4.1.4 to 4.1.6. A token from the future would outlive the revocation of its user, which goes by `iat`.
    fn check_dates(&self, now_unix_s: u64, leeway_s: u64) -> Result<(), Flaw> {
        for (claim, date) in [("nbf", self.nbf), ("iat", self.iat)] {
            if let Some(Date(at)) = date
                && at > now_unix_s.saturating_add(leeway_s)
            {
                return Err(Flaw::TooEarly { claim, at });
            }
        }
        if now_unix_s >= self.exp.0.saturating_add(leeway_s) {
            return Err(Flaw::Expired { exp: self.exp.0 });
        }
        Ok(())
    }

    pub(super) fn check_bounds(&self) -> Result<(), Flaw> {
        let bound = |ok: bool, claim, expected| if ok { Ok(()) } else { Err(Flaw::OutOfBounds { claim, expected }) };
        bound(is_name(&self.sub, SUB_CHARS_MAX), "sub", "1 to 256 characters, none of them a control character")?;
        bound(self.jti.as_ref().is_none_or(|j| is_name(j, JTI_CHARS_MAX)), "jti", "1 to 256 characters")?;
        bound(self.roles.len() <= ROLES_MAX, "roles", "at most 64")?;
        bound(self.roles.iter().all(|r| is_name(r, ROLE_CHARS_MAX)), "roles", "words of 1 to 128 characters")?;
        let rules = self.conversations.as_deref().unwrap_or_default();
        bound(rules.len() <= CONVERSATIONS_MAX, "conversations", "at most 256")?;
        bound(rules.iter().all(|r| is_rule(r)), "conversations", "ids, or prefixes of ids that end in *")
    }
}

fn is_name(text: &str, chars_max: usize) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control) && text.chars().count() <= chars_max
}

/// Whether a rule can match any conversation at all.
pub(super) fn is_rule(text: &str) -> bool {
    let id = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty()
        && id.len() <= NAME_CHARS_MAX
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
