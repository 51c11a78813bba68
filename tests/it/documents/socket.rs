//! Real messages of real sockets against the schemas of `/ws/protocol`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{document, token, whole, with_tokens};
use crate::support::{Client, TestServer, fixture, http, sine16k};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that keeps all it hears.
struct Witness {
    client: Client,
    heard: Vec<Value>,
}

impl Witness {
    async fn connect(server: &TestServer, path: &str) -> Self {
        let client = server.connect_to(path).await;
        let heard = vec![client.hello.clone()];
        Self { client, heard }
    }

    /// Listens until a message of that type comes. The server's pings would let it wait for ever, so it has an end of its own.
    async fn hear(&mut self, kind: &str) -> Value {
        let heard = async {
            loop {
                let message = self.client.next().await;
                self.heard.push(message.clone());
                if message["type"] == kind {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{kind} does not come"))
    }

    async fn ask(&mut self, message: Value, answer: &str) -> Value {
        self.client.send(message).await;
        self.hear(answer).await
    }
}

/// A session in which almost every message comes up.
async fn converse(server: &TestServer) -> Vec<Value> {
    let mut ada = Witness::connect(server, &format!("/ws/ada?token={}", token("ada", &["admin"]))).await;
    let mut bob = Witness::connect(server, &format!("/ws/bob?token={}", token("bob", &[]))).await;
    alone(&mut ada).await;
    together(&mut ada, &mut bob).await;
    speaking(&mut ada, &mut bob).await;
    losing(&mut ada).await;
    administrating(&mut ada, &mut bob).await;
    ada.hear("ping").await;
    server.drain();
    while ada.hear("status_update").await["state"] != "draining" {}
    ada.heard.extend(bob.heard);
    ada.heard
}

async fn alone(ada: &mut Witness) {
    for (message, answer) in [
        (json!({"type": "ping", "id": "p", "payload": "x"}), "pong"),
        (json!({"type": "status_request"}), "status_update"),
        (json!({"type": "health_check"}), "health"),
        (json!({"type": "connection_info_request"}), "connection_info"),
        (json!({"type": "get_connection_status"}), "connection_status"),
        (json!({"type": "authenticate", "token": token("ada", &["admin"])}), "authenticated"),
        (
            json!({"type": "subscribe_events", "events": ["speech", "levels", "alerts", "nothing"]}),
            "subscription_updated",
        ),
        (json!({"type": "unsubscribe_events", "events": ["alerts"]}), "subscription_updated"),
        (json!({"type": "set_preferences", "preferences": {"a": 1}}), "preferences"),
        (json!({"type": "get_preferences", "id": "g"}), "preferences"),
        (json!({"type": "text", "id": "t", "text": "good morning"}), "response"),
        (json!({"type": "nothing", "id": "n"}), "error"),
        (json!({"type": "audio_end", "stream_id": "none"}), "error"),
    ] {
        ada.ask(message, answer).await;
    }
}

async fn together(ada: &mut Witness, bob: &mut Witness) {
    let team = |kind: &str| json!({"type": kind, "conversation_id": "team"});
    ada.ask(team("join_conversation"), "conversation_joined").await;
    bob.ask(team("join_conversation"), "conversation_joined").await;
    ada.hear("presence_changed").await;
    ada.ask(
        json!({"type": "message", "id": "m", "conversation_id": "team", "content": {"a": [1]}}),
        "message_accepted",
    )
    .await;
    bob.hear("message").await;
    ada.client.send(json!({"type": "typing", "conversation_id": "team", "active": true})).await;
    bob.hear("typing").await;
    bob.ask(team("presence_request"), "presence").await;
    bob.ask(team("history_request"), "history").await;
    ada.ask(json!({"type": "broadcast_request", "content": "all"}), "broadcast_confirmation").await;
    bob.hear("broadcast").await;
}

async fn speaking(ada: &mut Witness, bob: &mut Witness) {
    let listening = bob.ask(json!({"type": "listen_start", "conversation_id": "team"}), "listening").await;
    let start = json!({"type": "audio_start", "stream_id": "mic", "conversation_id": "team", "ack_ms": 100, "format": {"encoding": "wav"}});
    ada.ask(start, "audio_started").await;
    bob.hear("listening_changed").await;
    ada.client.send_binary(&fixture("recorders/speech48.wav")).await;
    ada.ask(json!({"type": "connection_info_request"}), "connection_info").await;
    ada.ask(json!({"type": "audio_flush", "id": "f"}), "audio_received").await;
    ada.ask(json!({"type": "audio_end"}), "audio_ended").await;
    bob.hear("listening_changed").await;
    bob.ask(json!({"type": "listen_stop", "listener_id": listening["listener_id"]}), "listening_stopped").await;
    bob.ask(json!({"type": "leave_conversation", "conversation_id": "team"}), "conversation_left").await;
    let heard: BTreeSet<&str> = ada.heard.iter().filter_map(|m| m["type"].as_str()).collect();
    assert!(heard.contains("speech_started") && heard.contains("audio_level"), "{heard:?}");
}

async fn losing(ada: &mut Witness) {
    let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let start = json!({"type": "audio_start", "stream_id": "lost", "format": format, "overflow": "drop_oldest", "record": false});
    ada.ask(start, "audio_started").await;
    ada.client.send_binary(&sine16k(400_000)).await;
    ada.hear("audio_dropped").await;
    ada.ask(json!({"type": "audio_cancel"}), "audio_ended").await;
}

async fn administrating(ada: &mut Witness, bob: &mut Witness) {
    for kind in [
        "get_connection_stats",
        "get_router_stats",
        "get_all_connections",
        "get_event_queue_status",
        "get_system_metrics",
    ] {
        ada.ask(json!({"type": kind}), "admin_result").await;
    }
    ada.ask(json!({"type": "broadcast_admin_message", "content": "soon", "severity": "info"}), "admin_result").await;
    bob.hear("alert").await;
}

#[tokio::test]
async fn what_is_said_on_a_socket_is_what_the_document_says() {
    let server = with_tokens(|c| {
        c.audio.queue_ms = 500;
        c.connections.heartbeat_interval_ms = 1_000;
    });
    let document = document(&server, "/ws/protocol").await;
    let messages = document["components"]["messages"].as_object().unwrap();
    let heard = converse(&server).await;
    let mut kinds: BTreeMap<&str, jsonschema::Validator> = BTreeMap::new();
    for message in &heard {
        let kind = message["type"].as_str().unwrap();
        let validator = kinds.entry(kind).or_insert_with(|| {
            let described =
                messages.get(&format!("server.{kind}")).unwrap_or_else(|| panic!("{kind} is not described"));
            jsonschema::draft7::new(&whole(&document, &described["payload"])).unwrap()
        });
        if let Err(e) = validator.validate(message) {
            panic!("{message}: {}: {e}", e.instance_path());
        }
        // Nothing is said that the document does not know of.
        let alternatives = messages[&format!("server.{kind}")]["payload"]["oneOf"].as_array();
        let known = &messages[&format!("server.{kind}")]["payload"]["properties"];
        let open = kind == "health" || alternatives.is_some();
        for field in message.as_object().unwrap().keys().filter(|_| !open) {
            assert!(known.get(field).is_some(), "{kind}.{field} is not described");
        }
    }
    let described: BTreeSet<&str> =
        messages.keys().filter_map(|k| k.strip_prefix("server.")).filter(|k| *k != "audio").collect();
    let unheard: Vec<_> = described.iter().filter(|kind| !kinds.contains_key(*kind)).collect();
    // The figures of each second are nothing that is said in answer: monitoring.rs has them.
    let elsewhere = ["connections", "errors", "metrics", "resumed"];
    assert_eq!(unheard, elsewhere.each_ref(), "the conversation above should bring up every other message");
}

#[tokio::test]
async fn the_protocol_comes_as_a_page_for_people() {
    let server = TestServer::start();
    let (status, head, json) = http(server.addr, "GET", "/ws/protocol", "Accept: */*\r\n", b"").await;
    assert!(status == 200 && head.to_lowercase().contains("content-type: application/json"), "{head}");
    let document: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert!(jsonschema::meta::is_valid(&document["channels"]["socket"]["bindings"]["ws"]["query"]));
    assert_eq!(document["servers"]["here"]["host"], server.addr.to_string());
    for (path, accept) in [("/ws/protocol", "Accept: text/html,*/*;q=0.8\r\n"), ("/ws/protocol?format=html", "")] {
        let (status, head, page) = http(server.addr, "GET", path, accept, b"").await;
        assert!(status == 200 && head.to_lowercase().contains("content-type: text/html"), "{head}");
        let page = String::from_utf8(page).unwrap();
        assert!(!page.contains("<script") && !page.contains("src="), "the page is all there is");
        for key in document["components"]["messages"].as_object().unwrap().keys() {
            assert!(
                page.contains(&format!(
                    "<article class=\"{}\" id=\"{key}\">",
                    if key.starts_with("client") { "up" } else { "down" }
                )),
                "{key}"
            );
        }
    }
    let (_, head, _) = http(server.addr, "GET", "/ws/protocol?format=json", "Accept: text/html\r\n", b"").await;
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
}
