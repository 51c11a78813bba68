//! What a token says, read strictly: a claim of another type than RFC 7519 and `docs/IDENTITY.md` give it refuses the token. Knows no
//! key; what it reads has a good signature already.

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};
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
    pub(super) roles_claim: String,
    pub(super) conversations_claim: String,
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
}

/// The claims whose names are configured.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    roles: Option<Vec<String>>,
    conversations: Option<Vec<String>>,
}

/// Finds [`Lists`] in an object.
struct ListNames<'a> {
    roles: &'a str,
    conversations: &'a str,
}

impl<'de> Visitor<'de> for ListNames<'_> {
    type Value = Lists;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lists, A::Error> {
        let mut lists = Lists::default();
        while let Some(name) = map.next_key::<String>()? {
            let list = match name.as_str() {
                n if n == self.roles => &mut lists.roles,
                n if n == self.conversations => &mut lists.conversations,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if list.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a claim is given twice"));
            }
        }
        Ok(lists)
    }
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

    /// Who the bearer of a token with these claims is. What is wrong for good is told before what time has done: a token for others is not "expired".
    pub(super) fn identity(self, lists: Lists, expected: &Expected, now_unix_s: u64) -> Result<Identity, Flaw> {
        self.check_bounds()?;
        lists.check_bounds()?;
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
        let roles = lists.roles.unwrap_or_default();
        Ok(Identity {
            user_id: Some(self.sub),
            admin: roles.contains(&expected.admin_role),
            roles,
            expires_unix_s: Some(self.exp.0),
            issued_unix_s: self.iat.map(|at| at.0),
            jti: self.jti,
            conversations: lists.conversations.map(|rules| rules.iter().map(|r| ConversationRule::parse(r)).collect()),
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
        bound(is_name(&self.sub, SUB_CHARS_MAX), "sub", "1 to 256 characters, none of them a control character")?;
        bound(self.jti.as_ref().is_none_or(|j| is_name(j, JTI_CHARS_MAX)), "jti", "1 to 256 characters")
    }
}

impl Lists {
    /// Reads the claims of these names; the others are passed over.
    pub(super) fn parse(json: &[u8], roles: &str, conversations: &str) -> Result<Self, Flaw> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let lists = deserializer.deserialize_map(ListNames { roles, conversations })?;
        deserializer.end()?;
        Ok(lists)
    }

    pub(super) fn check_bounds(&self) -> Result<(), Flaw> {
        let roles = self.roles.as_deref().unwrap_or_default();
        bound(roles.len() <= ROLES_MAX, "roles", "at most 64")?;
        bound(roles.iter().all(|r| is_name(r, ROLE_CHARS_MAX)), "roles", "words of 1 to 128 characters")?;
        let rules = self.conversations.as_deref().unwrap_or_default();
        bound(rules.len() <= CONVERSATIONS_MAX, "conversations", "at most 256")?;
        bound(rules.iter().all(|r| is_rule(r)), "conversations", "ids, or prefixes of ids that end in *")
    }
}

fn bound(ok: bool, claim: &'static str, expected: &'static str) -> Result<(), Flaw> {
    if ok { Ok(()) } else { Err(Flaw::OutOfBounds { claim, expected }) }
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
