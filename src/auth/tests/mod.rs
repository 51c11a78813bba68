//! Tokens built by hand, so that no library mends what a hostile client would send.

mod addresses;
mod refusals;
mod revocations;
mod setup;

use std::path::PathBuf;

use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;
use crate::config::{Secret, ServiceUrl};

/// The tests' present.
const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> u64 {
    NOW
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys")).join(name)
}

/// What signs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signer {
    Hs,
    Rsa,
    Ec,
    Ed,
}

const SIGNERS: [Signer; 4] = [Signer::Hs, Signer::Rsa, Signer::Ec, Signer::Ed];

impl Signer {
    fn key(self) -> (EncodingKey, Algorithm) {
        let pem = |name| std::fs::read(fixture(name)).unwrap();
        match self {
            Self::Hs => (EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256),
            Self::Rsa => (EncodingKey::from_rsa_pem(&pem("rsa2048.pem")).unwrap(), Algorithm::RS256),
            Self::Ec => (EncodingKey::from_ec_pem(&pem("p256.pem")).unwrap(), Algorithm::ES256),
            Self::Ed => (EncodingKey::from_ed_pem(&pem("ed25519.pem")).unwrap(), Algorithm::EdDSA),
        }
    }

    fn alg(self) -> &'static str {
        match self {
            Self::Hs => "HS256",
            Self::Rsa => "RS256",
            Self::Ec => "ES256",
            Self::Ed => "EdDSA",
        }
    }

    /// A configuration that takes this signer's tokens.
    fn config(self) -> AuthConfig {
        let public = |name| AuthConfig { public_key_file: Some(fixture(name)), ..AuthConfig::default() };
        match self {
            Self::Hs => AuthConfig { hs256_secret: Some(Secret::new(SECRET)), ..AuthConfig::default() },
            Self::Rsa => public("rsa2048.pub.pem"),
            Self::Ec => public("p256.pub.pem"),
            Self::Ed => public("ed25519.pub.pem"),
        }
    }
}

/// A signed token with any header and any claims, as text.
fn token(signer: Signer, header: &str, claims: &str) -> String {
    let (key, algorithm) = signer.key();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A good token but for what `changes` changes; a change to `null` takes the claim away.
fn with_claims(signer: Signer, changes: &Value) -> String {
    let mut claims = json!({"sub": "ada", "exp": NOW + 60, "roles": ["speaker"]});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    token(signer, &json!({"alg": signer.alg(), "typ": "JWT"}).to_string(), &claims.to_string())
}

fn with_kid(signer: Signer, kid: &str) -> String {
    let claims = json!({"sub": "ada", "exp": NOW + 60}).to_string();
    token(signer, &json!({"alg": signer.alg(), "kid": kid}).to_string(), &claims)
}

/// Verifies without waiting: fails if the answer needs the network.
fn at_once(authenticator: &Authenticator, token: impl Into<String>) -> Result<Identity, AuthError> {
    let mut future = authenticator.verify(token.into());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("a known key was waited for"),
    }
}
