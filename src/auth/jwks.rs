//! JSON Web Key Sets (RFC 7517): which of their keys can check a token. A key that cannot is passed over with its reason, so that one
//! odd key of a provider does not shut everybody out. Knows no file and no network.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Key, KeyKind, KeySet};
use super::pem;

/// Providers publish two to ten. A token without `kid` is tried against each of its kind.
pub(super) const KEYS_MAX: usize = 64;
/// A name of a key: providers use hashes and dates.
const KID_CHARS_MAX: usize = 256;
/// A point coordinate of P-256 and a key of Ed25519.
const COORDINATE_BYTES: usize = 32;

/// Where a set came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The operator's own file: shared secrets may be in it.
    File,
    /// An address: whatever can be fetched is public, so a shared secret in it is none.
    Url,
}

/// Why a document is no usable key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwksError {
    /// Not JSON, or without a `keys` array.
    #[error("it is no JSON Web Key Set: {detail}")]
    Malformed {
        /// What the parser says.
        detail: String,
    },
    /// Too many keys.
    #[error("it holds {keys} keys, more than {KEYS_MAX}")]
    TooMany {
        /// How many.
        keys: usize,
    },
    /// No key can check a token.
    #[error("no key in it can check tokens{}", reasons(passed_over))]
    NoneUsable {
        /// Why, a key each.
        passed_over: Vec<String>,
    },
}

fn reasons(passed_over: &[String]) -> String {
    if passed_over.is_empty() { String::new() } else { format!(" ({})", passed_over.join("; ")) }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Reads a set. The second part says which keys were passed over and why.
pub(super) fn parse(bytes: &[u8], source: Source) -> Result<(KeySet, Vec<String>), JwksError> {
    let document: Document = super::claims::object(bytes)
        .map_err(|e| JwksError::Malformed { detail: format!("line {} column {}", e.line(), e.column()) })?;
    if document.keys.len() > KEYS_MAX {
        return Err(JwksError::TooMany { keys: document.keys.len() });
    }
    let (mut keys, mut passed_over) = (Vec::new(), Vec::new());
    for (at, value) in document.keys.into_iter().enumerate() {
        match key(value, source) {
            Ok(key) => keys.push(key),
            Err(why) => passed_over.push(format!("key {}: {why}", at + 1)),
        }
    }
    if keys.is_empty() { Err(JwksError::NoneUsable { passed_over }) } else { Ok((KeySet { keys }, passed_over)) }
}

fn key(value: Value, source: Source) -> Result<Key, &'static str> {
    let symmetric = value.get("kty").and_then(Value::as_str) == Some("oct");
    if !symmetric && value.get("d").is_some() {
        return Err("it is a private key, which only the issuer may have");
    }
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "its members are not those of a key")?;
    let kind = kind(&jwk, source)?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|u| *u != PublicKeyUse::Signature) {
        return Err("its use is not sig");
    }
    if common.key_operations.as_ref().is_some_and(|ops| !ops.contains(&KeyOperations::Verify)) {
        return Err("its key_ops lack verify");
    }
    if common.key_algorithm.is_some_and(|alg| alg != algorithm(kind)) {
        return Err("its alg is not the one this server takes for its type");
    }
    if common.key_id.as_ref().is_some_and(|kid| kid.chars().count() > KID_CHARS_MAX) {
        return Err("its kid is too long");
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "its numbers are no base64url")?;
    check_length(kind, &key, &jwk)?;
    Ok(Key { kind, kid: jwk.common.key_id, key })
}

/// The algorithm by the key's type, never by what is written beside it.
fn kind(jwk: &Jwk, source: Source) -> Result<KeyKind, &'static str> {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Ok(KeyKind::Rs256),
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => Ok(KeyKind::Es256),
        AlgorithmParameters::EllipticCurve(_) => Err("its curve is not P-256"),
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => Ok(KeyKind::EdDsa),
        AlgorithmParameters::OctetKeyPair(_) => Err("its curve is not Ed25519"),
        AlgorithmParameters::OctetKey(_) if source == Source::File => Ok(KeyKind::Hs256),
        AlgorithmParameters::OctetKey(_) => Err("it is a shared secret that anyone can fetch"),
        _ => Err("its kty and crv are of no key this server knows"),
    }
}

fn algorithm(kind: KeyKind) -> KeyAlgorithm {
    match kind {
        KeyKind::Hs256 => KeyAlgorithm::HS256,
        KeyKind::Rs256 => KeyAlgorithm::RS256,
        KeyKind::Es256 => KeyAlgorithm::ES256,
        KeyKind::EdDsa => KeyAlgorithm::EdDSA,
    }
}

fn check_length(kind: KeyKind, key: &DecodingKey, jwk: &Jwk) -> Result<(), &'static str> {
    let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    match (kind, &jwk.algorithm) {
        (KeyKind::Rs256, AlgorithmParameters::RSA(p)) => pem::check_rsa_modulus(&p.n),
        (KeyKind::Es256, _) if bytes != 1 + 2 * COORDINATE_BYTES => Err("its point is no point of P-256"),
        (KeyKind::EdDsa, _) if bytes != COORDINATE_BYTES => Err("its x is no key of Ed25519"),
        (KeyKind::Hs256, _) if bytes < crate::config::HS256_SECRET_BYTES_MIN => {
            Err("its secret is shorter than 32 bytes")
        }
        _ => Ok(()),
    }
}
