//! Rows 23 and 33: pages of other origins, and names that are paths, headers or worse.

use serde_json::{Value, json};

use crate::support::jwt::{admin_token, bearer, jwt};
use crate::support::{TestServer, http};

/// Row 23.
#[tokio::test]
async fn origins_are_compared_as_origins_on_every_route() {
    let server = TestServer::with(|c| c.server.allowed_origins = vec!["https://app.example.com".into()]);
    let own = format!("http://{}", server.addr);
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("https://APP.example.com:443", true),
        (own.as_str(), true),
        ("http://app.example.com", false),
        ("https://app.example.com:444", false),
        ("https://app.example.com.evil.test", false),
        ("https://evil.test", false),
        ("null", false),
        ("", false),
        ("https://app.example.com/x", false),
    ] {
        for path in ["/health", "/api/connections", "/nothing", "/"] {
            let (status, _, _) = http(server.addr, "GET", path, &format!("Origin: {origin}\r\n"), b"").await;
            assert_eq!(status != 403, allowed, "{origin} {path}");
        }
        let upgraded = server.upgrade("/ws", &[("Origin", origin)]).await;
        assert_eq!(upgraded.is_ok(), allowed, "{origin}");
        if let Err((status, body, _)) = upgraded {
            assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")));
        }
    }
    let two = "Origin: https://app.example.com\r\nOrigin: https://evil.test\r\n";
    assert_eq!(http(server.addr, "GET", "/health", two, b"").await.0, 403, "two say nothing");
}

/// A page at `evil.test`, whose owner made that name this machine's address, is of the same origin as what it asks.
#[tokio::test]
async fn a_name_that_anyone_may_point_here_gets_nothing_where_nobody_needs_a_token() {
    let open = TestServer::with(|c| c.server.allowed_origins = vec!["https://app.example.com".into()]);
    let locked = TestServer::with(jwt);
    for (host, allowed) in [("evil.test", false), ("app.example.com", true), ("localhost:1", true), ("voxgate", true)] {
        let named = format!("Host: {host}\r\n");
        for path in ["/ws", "/api/connections", "/health", "/"] {
            let (status, _, _) = http(open.addr, "GET", path, &named, b"").await;
            assert_eq!(status != 403, allowed, "{host} {path}");
        }
        let (status, _, _) = http(locked.addr, "GET", "/health", &named, b"").await;
        assert_eq!(status, 200, "{host}: a page without a token can do nothing");
    }
}

/// Row 33. `%` begins what is decoded before the alphabet is looked at.
const TRICKS: [&str; 12] = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fsecret",
    "..%5c..%5cx",
    "%00",
    "a%00b",
    "x%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
    "%c0%ae%c0%ae%2f",
    "a%20b",
    "%25%32%65",
    "%e2%80%ae",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

#[tokio::test]
async fn names_that_are_paths_or_headers_get_nowhere() {
    let server = TestServer::with(jwt);
    let outside = server.data.path().join("recordings/../secret.wav");
    std::fs::write(&outside, b"secret").unwrap();
    let admin = bearer(&admin_token("root"));
    for trick in TRICKS {
        for (method, path) in [
            ("GET", format!("/api/conversations/{trick}")),
            ("GET", format!("/api/conversations/{trick}/messages")),
            ("POST", format!("/api/conversations/{trick}/messages")),
            ("GET", format!("/api/conversations/{trick}/presence")),
            ("GET", format!("/api/recordings/{trick}")),
            ("GET", format!("/api/recordings/{trick}.wav")),
            ("DELETE", format!("/api/recordings/{trick}")),
            ("GET", format!("/api/sessions/{trick}")),
            ("GET", format!("/api/connections/{trick}")),
            ("DELETE", format!("/api/connections/{trick}")),
            ("GET", format!("/api/clients/{trick}/connections")),
            ("DELETE", format!("/api/clients/{trick}")),
            ("GET", format!("/api/recordings?after={trick}")),
            ("GET", format!("/api/connections?after={trick}")),
        ] {
            let (status, head, body) = http(server.addr, method, &path, &admin, b"{\"content\":1}").await;
            assert!(matches!(status, 400 | 404), "{method} {path}: {status}");
            assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{method} {path}: {head}");
            assert!(!head.to_lowercase().contains("set-cookie"), "{head}");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert!(problem["code"].is_string() && !problem.to_string().contains("secret.wav"), "{problem}");
        }
        let ws = format!("/ws/{trick}");
        for path in [ws, format!("/ws?client_id={trick}"), format!("/ws?conversation_id={trick}")] {
            let (status, body, _) = server.upgrade(&path, &[]).await.err().expect(trick);
            assert!(matches!(status, 400 | 404) && body["code"].is_string(), "{path}: {status} {body}");
        }
    }
    // Plain dots and slashes: another address, or none.
    for path in
        ["/api/recordings/../secret.wav", "/api/recordings/..", "/ws/../api/connections", "//etc/passwd", "/ws/a/b"]
    {
        let (status, _, body) = http(server.addr, "GET", path, &admin, b"").await;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        assert!(!body.windows(6).any(|w| w == b"secret" && !path.contains("secret")), "{path}");
    }
}

#[tokio::test]
async fn names_in_messages_keep_the_alphabet() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    for bad in ["../x", "a/b", "", "a b", "x\u{0}", "x\r\ny", "\u{202e}", &"x".repeat(65)] {
        for request in [
            json!({"type": "join_conversation", "conversation_id": bad}),
            json!({"type": "listen_start", "stream_id": bad}),
            json!({"type": "broadcast_request", "content": 1, "target": {"conversation_id": bad}}),
            json!({"type": "disconnect_user", "client_id": bad}),
        ] {
            let answer = c.ask(request.clone()).await;
            assert_eq!(answer["code"], "INVALID_MESSAGE", "{request}");
            c.ask(json!({"type": "ping"})).await;
        }
    }
    assert_eq!(
        c.ask(json!({"type": "join_conversation", "conversation_id": "A-z_09"})).await["type"],
        "conversation_joined"
    );
}
