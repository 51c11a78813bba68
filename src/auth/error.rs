//! Why a token is refused, and why the keys of a configuration cannot be used. A refusal says to the client only what the client may
//! know; no message of either kind repeats a token or a secret.

use std::path::PathBuf;

use crate::protocol::ErrorCode;

/// Why a token was not accepted. The display text is all the client is told, one text for every flaw (failures.md row 22); which flaw
/// it was is in the log, at `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// The client's fault: the token is no token of ours, or not for us, or not yet.
    #[error("the token was not accepted")]
    Invalid,
    /// The client's fault, and cured by a fresh token: the signature was good, the time is over.
    #[error("the token has expired")]
    Expired,
    /// The token was good until an administrator revoked it.
    #[error("the token has been revoked")]
    Revoked,
    /// The key server's fault: whether the token is good cannot be told now. Worth a retry after [`AuthError::retry_after_ms`].
    #[error("tokens cannot be checked right now: try again")]
    KeysUnavailable,
}

/// When a client whose token could not be checked may come back: an unknown key is asked for no more often.
const RETRY_AFTER_MS: u64 = 10_000;

impl AuthError {
    /// What it is in the protocol (section 7).
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Invalid | Self::Revoked => ErrorCode::TokenInvalid,
            Self::Expired => ErrorCode::TokenExpired,
            Self::KeysUnavailable => ErrorCode::UpstreamUnavailable,
        }
    }

    /// In how many milliseconds the same token may be accepted; none: never.
    pub fn retry_after_ms(self) -> Option<u64> {
        match self {
            Self::KeysUnavailable => Some(RETRY_AFTER_MS),
            Self::Invalid | Self::Expired | Self::Revoked => None,
        }
    }
}

/// Why tokens cannot be checked with a configuration: the operator's to correct, every fault at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(faults))]
pub struct AuthSetupError {
    /// At least one.
    pub faults: Vec<KeyFault>,
}

fn list(faults: &[KeyFault]) -> String {
    match faults {
        [fault] => fault.to_string(),
        several => {
            let lines: String = several.iter().map(|fault| format!("\n  {fault}")).collect();
            format!("{} faults in the keys{lines}", several.len())
        }
    }
}

/// What is wrong with one `[auth]` setting, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No key at all.
    #[error(
        "auth.mode: \"jwt\" needs a key to check tokens with; set one of auth.hs256_secret, hs256_secret_file, \
         public_key_file, jwks_file, jwks_url"
    )]
    NoKey,
    /// The file cannot be read.
    #[error("{setting}: cannot read {}: {kind}; correct the path or its permissions", path.display())]
    Unreadable {
        /// `auth.key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// Keys are small; this file is something else.
    #[error("{setting}: {} is larger than {bytes_max} bytes; name a file that holds keys", path.display())]
    TooLarge {
        /// `auth.key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// How large it may be.
        bytes_max: u64,
    },
    /// RFC 7518 section 3.2: a key at least as long as the hash.
    #[error("{setting}: the secret is {bytes} bytes, shorter than {bytes_min}; make one with: openssl rand -hex 32")]
    ShortSecret {
        /// `auth.key`.
        setting: &'static str,
        /// Its length.
        bytes: usize,
        /// What is needed.
        bytes_min: usize,
    },
    /// A public key as a shared secret would let everyone who has it sign tokens.
    #[error("{setting}: it holds a PEM key, not a shared secret; set auth.public_key_file for public keys")]
    SecretIsPem {
        /// `auth.key`.
        setting: &'static str,
    },
    /// A private key where a public one belongs.
    #[error(
        "auth.public_key_file: {} holds a private key ({label}), which only the issuer of tokens may have; give the public one: \
         openssl pkey -in {} -pubout", path.display(), path.display()
    )]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// The PEM label.
        label: String,
    },
    /// Not a key this server can use.
    #[error("{setting}: {}: {problem}; {hint}", path.display())]
    Unusable {
        /// `auth.key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What would be right.
        hint: &'static str,
    },
    /// The address cannot be asked.
    #[error("auth.jwks_url: {problem}; write it like \"https://host/path\"")]
    Address {
        /// What is wrong, without the address.
        problem: String,
    },
}
