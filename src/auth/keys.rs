//! The keys tokens are checked with. Each key has one algorithm, its own; what a token's header says only chooses among the keys.
//! Knows no claim, no file and no network.

use jsonwebtoken::{Algorithm, DecodingKey, crypto};

/// The algorithm a key is bound to by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyKind {
    /// A shared secret.
    Hs256,
    /// An RSA public key.
    Rs256,
    /// A public key on P-256.
    Es256,
    /// A public key on Ed25519.
    EdDsa,
}

impl KeyKind {
    /// The `alg` of RFC 7518 section 3.1 and RFC 8037 section 3.1.
    pub(super) fn alg(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) kind: KeyKind,
    /// Its name in a key set.
    pub(super) kid: Option<String>,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kind", &self.kind).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Key {
    /// Whether a token with this header may have been signed by it. A name must agree where both have one.
    fn fits(&self, alg: &str, kid: Option<&str>) -> bool {
        let named = match (&self.kid, kid) {
            (Some(own), Some(asked)) => own == asked,
            (None, _) | (_, None) => true,
        };
        named && self.kind.alg() == alg
    }
}

/// What the keys say of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// Made by one of the keys.
    Good,
    /// A key the token names, or all that may have signed it, did not make it.
    Bad,
    /// No key of this name and kind is here, or the token names none and no key fits: a newer set may have it.
    UnknownKey,
}

/// Some keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
}

impl KeySet {
    /// Whether one of the keys signed `message`. `signature` is base64url, as in the token.
    pub(super) fn check(&self, alg: &str, kid: Option<&str>, message: &str, signature: &str) -> Signature {
        let mut named = false;
        for key in self.keys.iter().filter(|key| key.fits(alg, kid)) {
            // What is no base64 is no signature either.
            if crypto::verify(signature, message.as_bytes(), &key.key, key.kind.algorithm()).unwrap_or(false) {
                return Signature::Good;
            }
            named |= key.kid.is_some() && kid.is_some();
        }
        if named { Signature::Bad } else { Signature::UnknownKey }
    }
}

/// Whether a key for this `alg` could be public.
pub(super) fn is_public_key_alg(alg: &str) -> bool {
    [KeyKind::Rs256, KeyKind::Es256, KeyKind::EdDsa].iter().any(|kind| kind.alg() == alg)
}
