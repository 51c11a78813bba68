//! Something for many: who gets it, how often, how large, how many a second.

use serde_json::{Value, json};

use super::{join, of_type};
use crate::support::{Client, TestServer, http};

fn id(c: &Client) -> Value {
    c.hello["connection_id"].clone()
}

/// How many broadcasts each of them was told of, and what the last said.
async fn heard<const N: usize>(all: [&mut Client; N]) -> [usize; N] {
    let mut counts = [0; N];
    for (count, c) in counts.iter_mut().zip(all) {
        *count = of_type(&c.told().await, "broadcast").len();
    }
    counts
}

#[tokio::test]
async fn a_broadcast_reaches_whom_it_names_once() {
    let server = TestServer::with(|c| c.limits.broadcasts_per_s = 1_000);
    let mut a = server.connect_to("/ws/a").await;
    let mut b1 = server.connect_to("/ws/b").await;
    let mut b2 = server.connect_to("/ws/b").await;
    let mut c = server.connect_to("/ws/c").await;
    join(&mut c, "hall").await;
    join(&mut b1, "hall").await;
    c.told().await;
    let cases = [
        (json!({}), [0, 1, 1, 1]),
        (json!({"include_self": true}), [1, 1, 1, 1]),
        (json!({"exclude": [id(&b1)]}), [0, 0, 1, 1]),
        (json!({"target": {"connection_ids": [id(&b1)]}}), [0, 1, 0, 0]),
        (json!({"target": {"client_ids": ["b", "nobody"]}}), [0, 1, 1, 0]),
        (json!({"target": {"client_ids": ["b"]}, "exclude": [id(&b2)]}), [0, 1, 0, 0]),
        (json!({"target": {"conversation_id": "hall"}}), [0, 1, 0, 1]),
        // Named three times over, told once.
        (
            json!({"target": {"connection_ids": [id(&b1), id(&b1)], "client_ids": ["b"], "conversation_id": "hall"}}),
            [0, 1, 1, 1],
        ),
        (json!({"target": {"client_ids": ["a"]}}), [0, 0, 0, 0]),
        (json!({"target": {"client_ids": ["a"]}, "include_self": true}), [1, 0, 0, 0]),
        (json!({"target": {}}), [0, 0, 0, 0]),
    ];
    for (mut request, expected) in cases {
        request["type"] = "broadcast_request".into();
        request["content"] = json!({"n": 1});
        let told = a.ask(request.clone()).await;
        assert_eq!(told["type"], "broadcast_confirmation", "{told}");
        assert_eq!(heard([&mut a, &mut b1, &mut b2, &mut c]).await, expected, "{request}");
        assert_eq!(told["delivered"].as_u64(), Some(expected.iter().sum::<usize>() as u64), "{request}");
    }
    a.ask(json!({"type": "broadcast_request", "content": [1, "x"]})).await;
    let m = c.expect("broadcast").await;
    assert_eq!(m["content"], json!([1, "x"]));
    assert_eq!(m["from"], json!({"connection_id": id(&a), "client_id": "a", "user_id": null}));
    let (status, _, body) =
        http(server.addr, "POST", "/api/broadcast", "", br#"{"content": "http", "target": {"client_ids": ["b"]}}"#)
            .await;
    assert_eq!((status, serde_json::from_slice::<Value>(&body).unwrap()), (200, json!({"delivered": 2})));
}

#[tokio::test]
async fn a_broadcast_has_a_size_and_a_rate() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    // 16 KiB of JSON, its two quotes included.
    for (chars, code) in [(16 * 1024 - 2, Value::Null), (16 * 1024 - 1, json!("MESSAGE_TOO_LARGE"))] {
        let answer = a.ask(json!({"type": "broadcast_request", "content": "x".repeat(chars)})).await;
        assert_eq!(answer["code"], code, "{chars}");
    }
    let ids: Vec<_> = (0..257).map(|_| id(&b)).collect();
    let many = a.ask(json!({"type": "broadcast_request", "content": 1, "exclude": ids})).await;
    assert_eq!(many["code"], "MESSAGE_TOO_LARGE");
    let mut codes = Vec::new();
    for n in 0..12 {
        let answer = a.ask(json!({"type": "broadcast_request", "content": n})).await;
        if answer["code"] == "RATE_LIMITED" {
            assert!((1..=1_000).contains(&answer["retry_after_ms"].as_u64().unwrap()), "{answer}");
        }
        codes.push(answer["code"] == "RATE_LIMITED");
    }
    assert!(codes.contains(&true) && !codes[0], "{codes:?}");
    let accepted = codes.iter().filter(|limited| !**limited).count();
    assert_eq!(heard([&mut b]).await, [accepted + 1], "what was refused reached nobody");
}
