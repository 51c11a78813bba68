//! Who a client is: tokens, the keys they are checked with, their revocation, and the places a request carries them. What a client may
//! then do is [`Identity`]'s to say. Knows no server, no hub and no store: what it must ask of the network it asks in
//! [`Authenticator::maintain`], on the runtime of whoever runs that.

mod claims;
mod credential;
mod error;
mod issue;
mod jwks;
mod keys;
mod pem;
mod refresh;
mod revoked;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_core::future::BoxFuture;
use serde::Deserialize;

pub use credential::{credential, redact};
pub use error::{AuthError, AuthSetupError, KeyFault};
pub use issue::{IssueError, NewToken, read_secret, sign_hs256};
pub use revoked::{REVOCATIONS_MAX, RevocationsFull};

use crate::config::AuthConfig;
use crate::protocol::{Identity, Revocation};
use claims::{Claims, Expected, Flaw, Lists};
use jwks::Source;
use keys::{KeySet, Signature};
use refresh::Refresher;
use revoked::Revoked;

/// A token larger than this is refused unread: proxies pass headers of 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// A key set in a file: some kilobytes.
const JWKS_FILE_BYTES_MAX: u64 = 1 << 20;
/// How much of a key's name a log line gets.
const KID_CHARS_LOGGED: usize = 64;
/// How much of what is wrong with a claim a log line gets: it may quote the claim.
const FLAW_CHARS_LOGGED: usize = 200;

/// The wall clock, in seconds since the Unix epoch: the issuer's `exp` is written in it.
pub type UnixSeconds = fn() -> u64;

/// Checks tokens. One a server, shared by all its threads.
#[derive(Debug)]
pub struct Authenticator {
    expected: Expected,
    now: UnixSeconds,
    /// Keys from the configuration and from files; they stay as they are.
    fixed: KeySet,
    /// Keys from an address.
    fetched: Option<Refresher>,
    revoked: Revoked,
}

/// A token's outermost shape.
struct Parts<'a> {
    header: Header,
    /// What is signed: header and claims as they stand in the token.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11): none is.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: Header = claims::object(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        header.crit.is_none().then_some(Self { header, message, claims: payload, signature })
    }
}

impl Authenticator {
    /// Reads the keys of a configuration. Asks no network: keys at an address are fetched by [`Authenticator::maintain`].
    ///
    /// # Errors
    /// [`AuthSetupError`] with every fault, each naming its setting and what would be right.
    pub fn open(config: &AuthConfig, now: UnixSeconds) -> Result<Arc<Self>, AuthSetupError> {
        let mut faults = Vec::new();
        let fixed = fixed_keys(config, &mut faults);
        let fetched = match config.jwks_url.as_ref().map(Refresher::new).transpose() {
            Ok(fetched) => fetched,
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        if faults.is_empty() && fixed.keys.is_empty() && fetched.is_none() {
            faults.push(KeyFault::NoKey);
        }
        if !faults.is_empty() {
            return Err(AuthSetupError { faults });
        }
        if config.jwks_url.is_some() && config.audience.is_none() {
            tracing::warn!("auth.audience is not set: a token this issuer made for any other service is accepted too");
        }
        let expected = Expected {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway_s: config.leeway_s,
            admin_role: config.admin_role.clone(),
            roles_claim: config.roles_claim.clone(),
            conversations_claim: config.conversations_claim.clone(),
        };
        Ok(Arc::new(Self { revoked: Revoked::new(config.leeway_s), expected, now, fixed, fetched }))
    }

    /// Whose token it is. Waits only for a key that is not here yet, and then three seconds at most.
    ///
    /// # Errors
    /// [`AuthError`], whose text is for the client; what exactly is wrong is logged at `debug`.
    pub fn verify(&self, token: String) -> BoxFuture<'_, Result<Identity, AuthError>> {
        Box::pin(async move {
            let parts = Parts::split(&token).ok_or_else(|| refuse("it is no signed JSON Web Token", None))?;
            self.check_signature(&parts).await?;
            let identity = self.read(&parts).map_err(|flaw| {
                tracing::debug!(flaw = shortened(&flaw.to_string(), FLAW_CHARS_LOGGED), "a token was refused");
                flaw.error()
            })?;
            if self.is_revoked(&identity) {
                tracing::debug!(user = identity.user_id, jti = identity.jti, "a revoked token was refused");
                return Err(AuthError::Revoked);
            }
            Ok(identity)
        })
    }

    async fn check_signature(&self, parts: &Parts<'_>) -> Result<(), AuthError> {
        let Header { alg, kid, .. } = &parts.header;
        let check = |keys: &KeySet| keys.check(alg, kid.as_deref(), parts.message, parts.signature);
        let bad = || refuse("its signature is not of the key it names", kid.as_deref());
        let unknown = || refuse("no key of its algorithm and name signed it", kid.as_deref());
        match check(&self.fixed) {
            Signature::Good => return Ok(()),
            Signature::Bad => return Err(bad()),
            Signature::UnknownKey => {}
        }
        // Sets at an address hold public keys only, so nothing new can come for other algorithms.
        let Some(fetched) = self.fetched.as_ref().filter(|_| keys::is_public_key_alg(alg)) else {
            return Err(unknown());
        };
        match check(&fetched.keys()) {
            Signature::Good => return Ok(()),
            Signature::Bad => return Err(bad()),
            Signature::UnknownKey => {}
        }
        let fresh = fetched.newer().await.inspect_err(|_| {
            let kid = kid.as_deref().map(|kid| shortened(kid, KID_CHARS_LOGGED));
            tracing::debug!(kid, "a token could not be checked: its key is not here");
        })?;
        match check(&fresh) {
            Signature::Good => Ok(()),
            Signature::Bad => Err(bad()),
            Signature::UnknownKey => Err(unknown()),
        }
    }

    /// Reads the claims of a token whose signature is good.
    fn read(&self, parts: &Parts<'_>) -> Result<Identity, Flaw> {
        let json = URL_SAFE_NO_PAD
            .decode(parts.claims)
            .map_err(|_| Flaw::OutOfBounds { claim: "the payload", expected: "base64url without padding" })?;
        let Expected { roles_claim, conversations_claim, .. } = &self.expected;
        let lists = Lists::parse(&json, roles_claim, conversations_claim)?;
        Claims::parse(&json)?.identity(lists, &self.expected, (self.now)())
    }

    /// Refuses tokens from now on. Whoever is connected with one is the caller's to find, by [`Authenticator::is_revoked`].
    ///
    /// # Errors
    /// [`RevocationsFull`]: nothing was revoked.
    pub fn revoke(&self, order: Revocation) -> Result<(), RevocationsFull> {
        self.revoked.add(order, (self.now)())
    }

    /// Whether a token accepted before has been revoked since.
    pub fn is_revoked(&self, who: &Identity) -> bool {
        self.revoked.contains(who)
    }

    /// Takes over orders that outlived a restart; those that have ended are passed over.
    ///
    /// # Errors
    /// [`RevocationsFull`]: the rest is not in force, so the server should not start.
    pub fn load(&self, orders: impl IntoIterator<Item = Revocation>) -> Result<(), RevocationsFull> {
        for order in orders {
            self.revoke(order)?;
        }
        self.revoked.forget_ended((self.now)());
        Ok(())
    }

    /// Fetches keys from the configured address, now and again. Spawn it on the runtime that should do the fetching and abort it to
    /// stop; where no address is configured it ends at once.
    pub async fn maintain(self: Arc<Self>) {
        if let Some(fetched) = &self.fetched {
            fetched.run().await;
        }
    }
}

fn fixed_keys(config: &AuthConfig, faults: &mut Vec<KeyFault>) -> KeySet {
    const SECRET_FILE: &str = "auth.hs256_secret_file";
    let mut keys = Vec::new();
    let mut take = |key: Result<keys::Key, KeyFault>| match key {
        Ok(key) => keys.push(key),
        Err(fault) => faults.push(fault),
    };
    if let Some(secret) = &config.hs256_secret {
        take(pem::secret("auth.hs256_secret", secret.expose().as_bytes()));
    }
    if let Some(path) = &config.hs256_secret_file {
        take(pem::secret_file_bytes(SECRET_FILE, path).and_then(|bytes| pem::secret(SECRET_FILE, &bytes)));
    }
    if let Some(path) = &config.public_key_file {
        take(pem::public_key_file(path));
    }
    if let Some(path) = &config.jwks_file {
        match jwks_file(path) {
            Ok(set) => keys.extend(set.keys),
            Err(fault) => faults.push(fault),
        }
    }
    KeySet { keys }
}

fn jwks_file(path: &std::path::Path) -> Result<KeySet, KeyFault> {
    const SETTING: &str = "auth.jwks_file";
    let bytes = pem::read_file(SETTING, path, JWKS_FILE_BYTES_MAX)?;
    let (set, passed_over) = jwks::parse(&bytes, Source::File).map_err(|error| KeyFault::Unusable {
        setting: SETTING,
        path: path.to_owned(),
        problem: error.to_string(),
        hint: "give {\"keys\": [...]} with public keys: RSA, EC on P-256 or Ed25519",
    })?;
    for why in passed_over {
        tracing::warn!(file = %path.display(), why, "a key of auth.jwks_file is not used");
    }
    Ok(set)
}

/// Logs why a token is refused. `kid` is the client's text: it is cut and escaped.
fn refuse(why: &'static str, kid: Option<&str>) -> AuthError {
    tracing::debug!(why, kid = kid.map(|kid| shortened(kid, KID_CHARS_LOGGED)), "a token was refused");
    AuthError::Invalid
}

/// A text a client had a part in, for the log: escaped and cut.
fn shortened(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).flat_map(char::escape_debug).collect()
}
