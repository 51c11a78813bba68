//! The documents against the running server: what it really says and answers is what they say it does.

mod http;
mod socket;

use serde_json::{Value, json};
use voxgate::auth::{NewToken, sign_hs256};
use voxgate::clock;
use voxgate::config::{AuthMode, Config, Secret};

use crate::support::{TestServer, http as request};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A token for ten minutes.
fn token(user: &str, roles: &[&str]) -> String {
    let now = clock::unix_ms() / 1_000;
    let token = NewToken {
        sub: user.to_owned(),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        iat: now,
        exp: now + 600,
        ..NewToken::default()
    };
    sign_hs256(&token, SECRET.as_bytes()).unwrap()
}

/// A server that asks for tokens.
fn with_tokens(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with(|c| {
        c.auth.mode = AuthMode::Jwt;
        c.auth.hs256_secret = Some(Secret::new(SECRET));
        change(c);
    })
}

/// A document the server gives out.
async fn document(server: &TestServer, path: &str) -> Value {
    let (status, head, body) = request(server.addr, "GET", path, "", b"").await;
    assert_eq!(status, 200, "{path}: {head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    serde_json::from_slice(&body).unwrap()
}

/// A schema that stands in a document, with what it refers to.
fn whole(document: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["components"] = json!({"schemas": document["components"]["schemas"]});
    schema
}
