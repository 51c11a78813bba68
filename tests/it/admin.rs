//! Administration, over the socket and over HTTP: it works for administrators, for nobody else, and is in the log with who did it.

use serde_json::{Value, json};

use crate::support::jwt::{SECRET, admin_token, bearer, token};
use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, http};

async fn admin(c: &mut Client, request: Value) -> Value {
    let answer = c.ask(request.clone()).await;
    assert_eq!((&answer["type"], &answer["request"]), (&json!("admin_result"), &request["type"]), "{answer}");
    let reads = request["type"].as_str().unwrap().starts_with("get_");
    assert_eq!(answer["seq"].is_u64(), !reads, "the answer to an act reaches who was away: {answer}");
    answer["data"].clone()
}

const REQUESTS: [&str; 8] = [
    "get_connection_stats",
    "get_router_stats",
    "get_all_connections",
    "get_event_queue_status",
    "clear_event_queue",
    "get_system_metrics",
    "disconnect_user",
    "broadcast_admin_message",
];

fn request(kind: &str) -> Value {
    json!({"type": kind, "client_id": "nobody", "content": "x", "severity": "info"})
}

#[tokio::test]
async fn every_message_works_for_administrators_and_for_nobody_else() {
    let server = TestServer::with_tokens();
    let mut root = server.connect_as("/ws/root", &admin_token("root")).await;
    let mut ann = server.connect_as("/ws/ann?conversation_id=hall", &token("ann")).await;
    for kind in REQUESTS {
        let refused = ann.ask(request(kind)).await;
        assert_eq!((&refused["code"], &refused["severity"]), (&json!("FORBIDDEN"), &json!("medium")), "{kind}");
    }
    ann.told().await;
    let stats = admin(&mut root, request("get_connection_stats")).await;
    assert_eq!((&stats["connections"], &stats["conversations"]), (&json!(2), &json!(1)), "{stats}");
    assert!(stats["messages_in"].as_u64().unwrap() >= 8 && stats["errors"].as_u64().unwrap() >= 8, "{stats}");
    let router = admin(&mut root, request("get_router_stats")).await;
    assert_eq!(router["store"]["healthy"], true, "{router}");
    let all = admin(&mut root, request("get_all_connections")).await;
    assert_eq!((&all["total"], &all["connections"][1]["user_id"]), (&json!(2), &json!("ann")), "{all}");
    let queues = admin(&mut root, request("get_event_queue_status")).await;
    assert_eq!((&queues["messages"], &queues["limit"]), (&json!(0), &json!(100)), "{queues}");
    assert_eq!(admin(&mut root, request("clear_event_queue")).await, json!({"cleared": 0}));
    let system = admin(&mut root, request("get_system_metrics")).await;
    assert!(system.as_object().unwrap().values().any(Value::is_number), "{system}");
    assert_eq!(admin(&mut root, request("disconnect_user")).await, json!({"disconnected": 0}));

    for severity in ["info", "warning", "critical"] {
        let alert = json!({"type": "broadcast_admin_message", "content": {"at": "noon"}, "severity": severity});
        assert_eq!(admin(&mut root, alert).await, json!({"delivered": 2}));
        for c in [&mut root, &mut ann] {
            let m = c.expect("alert").await;
            assert_eq!(
                (&m["severity"], &m["content"], &m["from"]["user_id"]),
                (&json!(severity), &json!({"at": "noon"}), &json!("root"))
            );
        }
    }
    let severe = root.ask(json!({"type": "broadcast_admin_message", "content": 1, "severity": "dire"})).await;
    assert_eq!(severe["code"], "INVALID_MESSAGE");
}

#[tokio::test]
async fn a_disconnected_user_is_told_why_and_not_to_come_back() {
    let server = TestServer::with_tokens();
    let mut root = server.connect_as("/ws/root", &admin_token("root")).await;
    for by in ["user_id", "client_id", "connection_id"] {
        let mut ann = server.connect_as("/ws/desk", &token("ann")).await;
        let mut bob = server.connect_as("/ws/other", &token("bob")).await;
        let whom = match by {
            "user_id" => json!("ann"),
            "client_id" => json!("desk"),
            _ => ann.hello["connection_id"].clone(),
        };
        let mut order = json!({"type": "disconnect_user", "reason": "be kind"});
        order[by] = whom;
        assert_eq!(admin(&mut root, order).await, json!({"disconnected": 1}), "{by}");
        assert_eq!(ann.closed_with().await, (4010, "be kind".to_owned()));
        assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong");
    }
    for wrong in
        [json!({}), json!({"user_id": "a", "client_id": "b"}), json!({"user_id": "a", "reason": "x".repeat(121)})]
    {
        let mut order = wrong;
        order["type"] = "disconnect_user".into();
        assert!(["INVALID_MESSAGE", "MESSAGE_TOO_LARGE"].contains(&root.ask(order).await["code"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn every_route_is_for_administrators() {
    let server = TestServer::with_tokens();
    let mut ann = server.connect_as("/ws/desk", &token("ann")).await;
    let id = ann.hello["connection_id"].as_str().unwrap().to_owned();
    let one = format!("/api/connections/{id}");
    let routes: [(&str, &str, &str); 14] = [
        ("GET", "/health/detailed", ""),
        ("GET", "/api/connections", ""),
        ("GET", "/api/connections/stats", ""),
        ("GET", &one, ""),
        ("POST", "/api/connections/cleanup?max_inactive_minutes=60", ""),
        ("GET", "/api/clients/desk/connections", ""),
        ("GET", "/api/users/ann", ""),
        ("POST", "/api/broadcast", r#"{"content": "hi"}"#),
        ("POST", "/admin/circuit-breakers/reset", ""),
        ("GET", "/admin/revocations", ""),
        ("POST", "/admin/revocations", r#"{"jti": "some"}"#),
        ("DELETE", &one, ""),
        ("DELETE", "/api/clients/desk", ""),
        ("DELETE", "/api/users/ann", ""),
    ];
    let (bob, root) = (bearer(&token("bob")), bearer(&admin_token("root")));
    let ask = async |(method, path, body): (&str, &str, &str), who: &str| {
        let headers = format!("{who}Content-Type: application/json\r\n");
        let (status, _, answer) = http(server.addr, method, path, &headers, body.as_bytes()).await;
        (status, serde_json::from_slice::<Value>(&answer).unwrap_or(Value::Null))
    };
    for route in routes {
        let (status, problem) = ask(route, "").await;
        assert_eq!((status, &problem["code"]), (401, &json!("UNAUTHENTICATED")), "{route:?}");
        let own = route.1.starts_with("/api/clients/"); // of a client one's own connections: none here
        let (status, answer) = ask(route, &bob).await;
        if own {
            assert!(
                status == 200 && (answer["items"] == json!([]) || answer["disconnected"] == 0),
                "{route:?}: {answer}"
            );
        } else {
            assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")), "{route:?}");
        }
    }
    assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong", "nothing was done");
    for route in routes {
        let (status, answer) = ask(route, &root).await;
        assert!((200..300).contains(&status), "{route:?}: {status} {answer}");
    }
    assert_eq!(ann.expect("broadcast").await["content"], "hi");
    assert_eq!(ann.closed().await, 4010);
    assert_eq!(ask(("DELETE", "/api/connections/01a211d0-0bec-721e-8505-5a1243b25695", ""), &root).await.0, 404);
}

#[tokio::test]
async fn connections_without_a_message_for_long_are_cleaned_up() {
    let server = TestServer::start();
    let mut idle = server.connect().await;
    let cleanup = "/api/connections/cleanup?max_inactive_minutes=";
    let (status, _, body) = http(server.addr, "POST", &format!("{cleanup}1"), "", b"").await;
    assert_eq!((status, body), (200, br#"{"closed":0}"#.to_vec()));
    let (_, _, body) = http(server.addr, "POST", &format!("{cleanup}0"), "", b"").await;
    assert_eq!(body, br#"{"closed":1}"#);
    assert_eq!(idle.closed().await, 4108);
    for wrong in ["", "-1", "x"] {
        assert_eq!(http(server.addr, "POST", &format!("{cleanup}{wrong}"), "", b"").await.0, 400);
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_can_be_thrown_away() {
    let server = TestServer::with(|c| {
        c.connections.queue_messages = 10_000;
        c.connections.queue_bytes = 64 << 20;
        c.limits.broadcasts_per_s = 100_000;
        c.limits.messages_per_s = 100_000;
    });
    let _slow = server.connect_to("/ws/slow").await;
    let mut root = server.connect().await;
    let content = "x".repeat(16_000);
    let waiting = loop {
        root.ask(json!({"type": "broadcast_request", "content": content})).await;
        let queues = admin(&mut root, request("get_event_queue_status")).await;
        if queues["messages"].as_u64().unwrap() > 5 {
            break queues;
        }
    };
    assert_eq!(waiting["connections"][0]["client_id"], "slow", "{waiting}");
    assert!(waiting["bytes"].as_u64().unwrap() > 80_000, "{waiting}");
    let cleared = admin(&mut root, request("clear_event_queue")).await["cleared"].as_u64().unwrap();
    assert!(cleared > 5, "{cleared}");
    assert_eq!(admin(&mut root, request("get_event_queue_status")).await["messages"], 0);
}

/// The real binary: each act is a line with who did it, what and to how many.
#[tokio::test]
async fn every_act_is_in_the_log_with_who_did_it() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("stderr.log");
    let settings = [("VOXGATE__AUTH__MODE", "jwt"), ("VOXGATE__AUTH__HS256_SECRET", SECRET)];
    let server = ServerProcess::start_logging_with(&log, data.path(), "json", &settings);
    let root = admin_token("ruth");
    let mut c = Client::to(server.addr, &format!("/ws?token={root}")).await;
    for kind in ["clear_event_queue", "disconnect_user", "broadcast_admin_message"] {
        admin(&mut c, request(kind)).await;
    }
    let headers = format!("{}Content-Type: application/json\r\n", bearer(&root));
    for (method, path, body) in [
        ("DELETE", "/api/clients/desk", ""),
        ("DELETE", "/api/users/ann", ""),
        ("POST", "/api/connections/cleanup?max_inactive_minutes=60", ""),
        ("POST", "/api/broadcast", r#"{"content": "hi"}"#),
        ("POST", "/admin/circuit-breakers/reset", ""),
        ("POST", "/admin/revocations", r#"{"user_id": "mallory"}"#),
    ] {
        let (status, _, _) = http(server.addr, method, path, &headers, body.as_bytes()).await;
        assert!((200..300).contains(&status), "{path}");
    }
    server.kill();
    let log = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let acts: Vec<_> = lines.iter().filter(|l| l.to_string().contains("\"by\":\"ruth\"")).collect();
    assert_eq!(acts.len(), 9, "{acts:#?}");
    for what in
        ["queues cleared", "disconnected by", "message to all", "inactive", "broadcast by", "breakers reset", "revoked"]
    {
        assert!(acts.iter().any(|l| l.to_string().contains(what)), "{what}: {acts:#?}");
    }
    assert!(!log.contains(&root) && !log.contains(SECRET));
}
