//! The documents against the running server: what it really says and answers is what they say it does.

mod http;
mod socket;

use serde_json::{Value, json};

use crate::support::{TestServer, http as request};

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
