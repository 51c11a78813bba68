//! What a user has is his: another sees nothing of it, over the socket or over HTTP, and cannot tell that it exists.

use serde_json::{Value, json};

use crate::support::jwt::{admin_token, bearer, token, token_with};
use crate::support::{TestServer, http, sine16k};

async fn get(server: &TestServer, method: &str, path: &str, token: &str) -> (u16, Value) {
    let (status, _, body) = http(server.addr, method, path, &bearer(token), b"").await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn recordings_are_their_users() {
    let server = TestServer::with_tokens();
    let (ann, bob, admin) = (token("ann"), token("bob"), admin_token("root"));
    let mut c = server.connect_as("/ws", &ann).await;
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let ended = c.stream(pcm, &sine16k(1_600), 640).await;
    let id = ended["recording"]["id"].as_str().unwrap();
    let (one, wav) = (format!("/api/recordings/{id}"), format!("/api/recordings/{id}.wav"));
    let ids = |list: &Value| list["items"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&get(&server, "GET", "/api/recordings", &ann).await.1), [json!(id)]);
    assert_eq!(ids(&get(&server, "GET", "/api/recordings", &admin).await.1), [json!(id)]);
    assert_eq!(get(&server, "GET", "/api/recordings", &bob).await, (200, json!({"items": [], "next": null})));
    let nothing = get(&server, "GET", "/api/recordings/01a211d0-0bec-721e-8505-5a1243b25695", &bob).await;
    assert_eq!(nothing.0, 404);
    for (method, path) in [("GET", &one), ("GET", &wav), ("DELETE", &one)] {
        assert_eq!(get(&server, method, path, &bob).await, nothing, "{method} {path}: as if it were not there");
        assert_eq!(http(server.addr, method, path, "", b"").await.0, 401);
    }
    assert_eq!(get(&server, "GET", &one, &ann).await.1["user_id"], "ann");
    assert_eq!(get(&server, "GET", &format!("{wav}?token={ann}"), "").await.0, 200, "an <audio> element has no header");
    assert_eq!(get(&server, "DELETE", &one, &ann).await.0, 204);
    assert_eq!(get(&server, "GET", &one, &ann).await.0, 404);
    assert_eq!(get(&server, "GET", "/api/recordings", &admin).await.1, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn connections_streams_and_users_are_their_own() {
    let server = TestServer::with_tokens();
    let (ann, bob) = (token("ann"), token("bob"));
    let mut a = server.connect_as("/ws/desk", &ann).await;
    let mut b = server.connect_as("/ws/desk", &bob).await;
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let uid = a.start(pcm).await["stream_uid"].clone();
    let missing = b.ask(json!({"type": "listen_start", "stream_id": "01a211d0-0bec-721e-8505-5a1243b25695"})).await;
    let there = b.ask(json!({"type": "listen_start", "stream_id": uid})).await;
    assert_eq!((&there["code"], &there["message"]), (&missing["code"], &missing["message"]));
    let of_a = json!({"type": "connection_info_request", "connection_id": a.hello["connection_id"]});
    assert_eq!(b.ask(of_a).await["code"], "FORBIDDEN");

    let (_, mine) = get(&server, "GET", "/api/clients/desk/connections", &bob).await;
    let users: Vec<_> = mine["items"].as_array().unwrap().iter().map(|c| &c["user_id"]).collect();
    assert_eq!(users, ["bob"], "of a client that two users have, one's own connections only");
    assert_eq!(
        get(&server, "GET", "/api/users/bob", &bob).await.1["connections"]["items"].as_array().unwrap().len(),
        1
    );
    for (method, path) in [
        ("GET", "/api/users/ann"),
        ("DELETE", "/api/users/ann"),
        ("GET", "/api/users/nobody"),
        ("GET", "/api/connections"),
        ("GET", "/api/connections/stats"),
    ] {
        assert_eq!(get(&server, method, path, &bob).await.0, 403, "{method} {path}");
    }
    // A user ends his own connections, and none of another's under the same client.
    assert_eq!(get(&server, "DELETE", "/api/clients/desk", &bob).await, (200, json!({"disconnected": 1})));
    assert_eq!(b.closed().await, 4010);
    assert_eq!(a.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(get(&server, "DELETE", "/api/users/ann", &ann).await, (200, json!({"disconnected": 1})));
    assert_eq!(a.closed().await, 4010);
}

#[tokio::test]
async fn a_conversation_is_for_those_whose_token_names_it() {
    let server = TestServer::with_tokens();
    let ann = token_with("ann", |t| t.conversations = Some(vec!["team-*".into()]));
    let bob = token_with("bob", |t| t.conversations = Some(vec!["hall".into()]));
    let mut a = server.connect_as("/ws?conversation_id=team-1", &ann).await;
    a.ask(json!({"type": "message", "conversation_id": "team-1", "content": "secret"})).await;
    let mut b = server.connect_as("/ws?conversation_id=team-1", &bob).await;
    b.expect_error("FORBIDDEN").await;
    let info = b.ask(json!({"type": "connection_info_request"})).await;
    assert_eq!(info["conversations"], json!([]));
    for path in ["", "/messages", "/presence"] {
        let path = format!("/api/conversations/team-1{path}");
        assert_eq!(get(&server, "GET", &path, &bob).await.0, 403, "{path}");
        assert_eq!(get(&server, "GET", &path, &ann).await.0, 200, "{path}");
        assert_eq!(http(server.addr, "GET", &path, "", b"").await.0, 401, "{path}");
    }
    let body = br#"{"content": 1}"#;
    assert_eq!(http(server.addr, "POST", "/api/conversations/team-1/messages", &bearer(&bob), body).await.0, 403);
    let (_, about) = get(&server, "GET", "/api/conversations/team-1", &ann).await;
    assert_eq!(about["messages"], 1, "{about}");
    assert_eq!(get(&server, "GET", "/api/conversations/nowhere-1", &admin_token("root")).await.0, 404);
}

#[tokio::test]
async fn recordings_are_listed_newest_first_and_again_after_a_restart() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(c.stream(pcm.clone(), &sine16k(1_600), 640).await["recording"]["id"].clone());
    }
    ids.reverse();
    c.close().await;
    let all = async |server: &TestServer| {
        let (mut ids, mut next, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (_, page) = get(server, "GET", &format!("/api/recordings?limit=2{next}"), "").await;
            ids.extend(page["items"].as_array().unwrap().iter().map(|r| r["id"].clone()));
            pages += 1;
            match page["next"].as_str() {
                Some(after) => next = format!("&after={after}"),
                None => return (ids, pages),
            }
        }
    };
    assert_eq!(all(&server).await, (ids.clone(), 3));
    let server = TestServer::in_dir(server.stop(), |_| ());
    assert_eq!(all(&server).await, (ids.clone(), 3));
    // What was deleted by hand while the server was down is off the list.
    let data = server.stop();
    let gone = ids.remove(2);
    std::fs::remove_file(data.path().join(format!("recordings/{}.wav", gone.as_str().unwrap()))).unwrap();
    let server = TestServer::in_dir(data, |_| ());
    assert_eq!(all(&server).await, (ids, 2));
}
