//! Tokens made here, for trying things: `voxgate token` and tests. A server never signs one.

use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use super::claims::{self, DATE_MAX};
use super::{KeyFault, pem};

/// What a new token says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewToken {
    /// The user.
    pub sub: String,
    /// His roles.
    pub roles: Vec<String>,
    /// When it is made, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Its id, by which it can be revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Conversations he may enter; none: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Vec<String>>,
}

/// Why no token was made: what was asked for would be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] KeyFault),
    /// A claim that no server would accept.
    #[error("{claim}: {expected}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What it takes.
        expected: &'static str,
    },
}

/// The secret in a file, without the newline that ends it.
///
/// # Errors
/// [`KeyFault`]: unreadable or too large.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, KeyFault> {
    pem::secret_file_bytes("--secret-file", path)
}

/// Signs a token with a shared secret (HS256).
///
/// # Errors
/// [`IssueError`]: a secret or a claim that [`super::Authenticator`] would refuse.
pub fn sign_hs256(token: &NewToken, secret: &[u8]) -> Result<String, IssueError> {
    pem::secret("the secret", secret)?;
    if token.exp > DATE_MAX {
        return Err(IssueError::Claim { claim: "exp", expected: "the token would end after all calendars" });
    }
    let signed = encode(&Header::new(Algorithm::HS256), token, &EncodingKey::from_secret(secret));
    let signed = signed.map_err(|_| IssueError::Claim { claim: "token", expected: "it cannot be signed" })?;
    let json = serde_json::to_vec(token).map_err(|_| IssueError::Claim { claim: "token", expected: "plain text" })?;
    let lists = claims::Lists::parse(&json, "roles", "conversations").and_then(|l| l.check_bounds());
    match claims::Claims::parse(&json).and_then(|c| c.check_bounds()).and(lists) {
        Ok(()) if signed.len() <= super::TOKEN_BYTES_MAX => Ok(signed),
        Ok(()) => {
            Err(IssueError::Claim { claim: "token", expected: "at most 8 KiB; give fewer roles or conversations" })
        }
        Err(claims::Flaw::OutOfBounds { claim, expected }) => Err(IssueError::Claim { claim, expected }),
        Err(_) => Err(IssueError::Claim { claim: "token", expected: "claims a server would take" }),
    }
}
