//! Every route of the router against `/api/openapi.json`, called for real.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{document, token, whole, with_tokens};
use crate::support::{Client, TestServer, fixture, http, sine16k};

/// As a header; `/api/decode` does not mind.
const JSON: &str = "Content-Type: application/json\r\n";

/// The routes as `router.rs` lists them: path and methods.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let source = include_str!("../../../src/server/router.rs");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in source.split(".route(\"").skip(1) {
        let (path, rest) = part.split_once('"').unwrap();
        let handlers = rest.split(".route(").next().unwrap().split(';').next().unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            let call = format!("{method}(");
            let named = handlers.match_indices(&call);
            if named
                .into_iter()
                .any(|(at, _)| !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
            {
                found.entry(path.to_owned()).or_default().insert(method.to_owned());
            }
        }
    }
    found
}

/// The operations of the document: method, path, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = |(path, item): (&String, &Value)| {
        let all: Vec<_> = item.as_object().unwrap().iter().map(|(m, o)| (m.clone(), path.clone(), o.clone())).collect();
        all
    };
    paths.iter().flat_map(each).collect()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_no_other() {
    let server = TestServer::start();
    let document = document(&server, "/api/openapi.json").await;
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().unwrap() {
            assert!(jsonschema::meta::is_valid(&parameter["schema"]), "{method} {path}: {parameter}");
        }
        // The file and what is known of it are one route.
        described.entry(path.replace(".wav", "")).or_default().insert(method);
    }
    let mut routes = routes();
    assert!(routes.len() > 20, "{routes:?}");
    routes.remove("/ws/echo"); // only there with --echo, for measuring
    assert_eq!(described, routes);
    for (path, methods) in &described {
        for method in ["get", "post", "put", "patch", "delete"].iter().filter(|m| !methods.contains(**m)) {
            let path = path.replace(['{', '}'], "");
            let (status, head, body) = http(server.addr, &method.to_uppercase(), &path, "", b"").await;
            assert_eq!(status, 405, "{method} {path}");
            check(&document, "GET", "/", None, status, &head, &body);
        }
    }
}

/// Holds an answer against its description; where there is none, it must be a problem.
fn check(document: &Value, method: &str, path: &str, operation: Option<&Value>, status: u16, head: &str, body: &[u8]) {
    let head = head.to_lowercase();
    let media = head.lines().find_map(|l| l.strip_prefix("content-type: ")).map(|m| m.split(';').next().unwrap());
    let described = operation.map(|o| &o["responses"][status.to_string()]);
    assert!(
        described.is_none_or(Value::is_object),
        "{method} {path} does not say that it answers {status}: {}",
        String::from_utf8_lossy(body)
    );
    let problem = &document["components"]["responses"]["Problem"];
    let response = match described {
        Some(d) if d["$ref"].is_null() => d,
        Some(_) | None => problem,
    };
    let Some(contents) = response["content"].as_object() else {
        assert!(body.is_empty(), "{method} {path} answers {status} with a body");
        return;
    };
    let media = media.unwrap_or_else(|| panic!("{method} {path} has no type: {head}"));
    let content = contents.get(media).unwrap_or_else(|| panic!("{method} {path} does not say that it answers {media}"));
    if media.contains("json") {
        let answer: Value = serde_json::from_slice(body).unwrap();
        let validator = jsonschema::draft202012::new(&whole(document, &content["schema"])).unwrap();
        if let Err(e) = validator.validate(&answer) {
            panic!("{method} {path} {status}: {answer}: {}: {e}", e.instance_path());
        }
        if media == "application/problem+json" {
            assert_eq!(answer["status"], status, "{method} {path}: {answer}");
        }
    } else {
        assert!(!body.is_empty(), "{method} {path}");
    }
}

/// What there is to ask for: two connections, a conversation with a message, a recording.
struct World {
    ids: Vec<(&'static str, String)>,
    _ada: Client,
    _bob: Client,
}

impl World {
    async fn make(server: &TestServer, query: &str) -> Self {
        let mut ada = server.connect_to(&format!("/ws/ada{query}")).await;
        let bob = server.connect_to(&format!("/ws/bob{query}")).await;
        ada.send(json!({"type": "join_conversation", "conversation_id": "team"})).await;
        ada.expect("conversation_joined").await;
        ada.send(json!({"type": "message", "conversation_id": "team", "content": 1})).await;
        ada.expect("message_accepted").await;
        let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
        let ended = ada.stream(format, &sine16k(1_600), 3_200).await;
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let ids = vec![
            ("/api/connections/{id}", text(&bob.hello["connection_id"])),
            ("/api/recordings/{id}", text(&ended["recording"]["id"])),
            ("/api/sessions/{id}", text(&ada.hello["session"]["id"])),
            ("/api/conversations/{id}", "team".to_owned()),
        ];
        Self { ids, _ada: ada, _bob: bob }
    }

    /// A path with its parameters and required queries filled in.
    fn path(&self, path: &str) -> String {
        let id = self.ids.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("x", |(_, id)| id);
        let path = path.replace("{id}", id).replace("{client_id}", "ada").replace("{user_id}", "ada");
        let file = if path.starts_with("/monitoring") { "dashboard.js" } else { "app.js" };
        let path = path.replace("{file}", file);
        match path.as_str() {
            "/api/connections/cleanup" => format!("{path}?max_inactive_minutes=1000"),
            "/api/decode" => format!("{path}?output_rate=8000"),
            _ => path,
        }
    }
}

fn body(path: &str) -> Vec<u8> {
    match path {
        "/api/decode" => fixture("audio/live16.flac"),
        "/api/broadcast" | "/api/conversations/{id}/messages" => json!({"content": {"a": 1}}).to_string().into_bytes(),
        "/admin/log-level" => json!({"level": "info"}).to_string().into_bytes(),
        "/admin/revocations" => json!({"jti": "t-1"}).to_string().into_bytes(),
        _ => Vec::new(),
    }
}

/// Calls every route, what takes things away last; the statuses.
async fn call_all(server: &TestServer, document: &Value, world: &World, extra: &str) -> BTreeMap<String, u16> {
    let mut all = operations(document);
    all.sort_by_key(|(method, path, _)| (method == "delete", method == "post", path.clone()));
    let mut statuses = BTreeMap::new();
    for (method, path, operation) in &all {
        let (method, at) = (method.to_uppercase(), world.path(path));
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        if matches!(path.as_str(), "/ws" | "/ws/{client_id}") {
            let (status, head) = handshake(server, &at, &format!("{upgrade}{extra}")).await;
            check(document, &method, path, Some(operation), status, &head, b"");
            statuses.insert(format!("{method} {path}"), status);
            continue;
        }
        let (status, head, answer) = http(server.addr, &method, &at, &format!("{extra}{JSON}"), &body(path)).await;
        check(document, &method, path, Some(operation), status, &head, &answer);
        statuses.insert(format!("{method} {path}"), status);
    }
    statuses
}

/// The head of the answer to a handshake; the socket is then let go.
async fn handshake(server: &TestServer, path: &str, headers: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.addr);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

#[tokio::test]
async fn every_route_answers_as_the_document_says() {
    let server = with_tokens(|_| ());
    let document = document(&server, "/api/openapi.json").await;
    let admin = token("ada", &["admin"]);
    let world = World::make(&server, &format!("?token={admin}")).await;
    let statuses = call_all(&server, &document, &world, &format!("Authorization: Bearer {admin}\r\n")).await;
    let failed: Vec<_> = statuses.iter().filter(|(_, status)| **status >= 400).collect();
    // Sessions are not kept yet when they begin; a server inside of a test has no log whose level could change.
    let known = ["GET /api/sessions/{id}", "GET /admin/log-level", "POST /admin/log-level"];
    assert!(failed.iter().all(|(route, _)| known.contains(&route.as_str())), "{failed:?}");
}

#[tokio::test]
async fn who_may_call_what_is_as_the_document_says() {
    let server = with_tokens(|_| ());
    let document = document(&server, "/api/openapi.json").await;
    let world = World::make(&server, &format!("?token={}", token("bob", &[]))).await;
    let needs = |route: &str| {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        let token = !operation["security"].as_array().unwrap().is_empty();
        (token, operation["description"] == "For administrators.")
    };
    for (route, status) in call_all(&server, &document, &world, "").await {
        assert_eq!(status == 401, needs(&route).0, "{route} without a token: {status}");
    }
    let other = format!("Authorization: Bearer {}\r\n", token("eve", &[]));
    for (route, status) in call_all(&server, &document, &world, &other).await {
        assert!(!needs(&route).1 || status == 403, "{route} as somebody: {status}");
    }
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = TestServer::start();
    let document = document(&server, "/api/openapi.json").await;
    let world = World::make(&server, "").await;
    let wav = world.path("/api/recordings/{id}") + ".wav";
    let huge = vec![b' '; 3 << 20];
    for (method, path, extra, body, wanted) in [
        ("GET", "/nothing", "", &b""[..], 404),
        ("GET", "/api/openapi.json/more", "", b"", 404),
        ("GET", "/ws", "", b"", 400),
        ("GET", "/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n", b"", 426),
        ("GET", "/ws/%ff", "", b"", 400),
        ("GET", "/ws?sample_rate=x", "", b"", 400),
        ("GET", "/health", "Origin: https://elsewhere.example\r\n", b"", 403),
        ("GET", "/api/connections?limit=x", "", b"", 400),
        ("GET", "/api/connections?limit=0", "", b"", 400),
        ("GET", "/api/connections/%ff", "", b"", 400),
        ("GET", "/api/connections/nobody", "", b"", 404),
        ("POST", "/api/connections/cleanup", "", b"", 400),
        ("POST", "/api/broadcast", "", b"{", 400),
        ("POST", "/api/broadcast", "", &huge, 413),
        ("POST", "/api/broadcast", "", b"\xff", 400),
        ("POST", "/admin/revocations", "", b"{}", 400),
        ("POST", "/admin/revocations", JSON, b"{}", 400),
        ("GET", &wav, "Range: bytes=999999999-\r\n", b"", 416),
        ("POST", "/api/decode", "", b"what is this", 415),
        ("POST", "/api/decode?encoding=pcm_s16le", "", b"", 400),
        ("POST", "/health", "", b"", 405),
    ] {
        let (status, head, answer) = http(server.addr, method, path, extra, body).await;
        assert_eq!(status, wanted, "{method} {path}: {head} {}", String::from_utf8_lossy(&answer));
        check(&document, method, path, None, status, &head, &answer);
    }
}
