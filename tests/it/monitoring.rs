//! Seeing the server while it runs: metrics, history, error journal, health, and what subscribers are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, http, http_json, sine16k};

const PATIENCE: Duration = Duration::from_secs(20);

fn pcm() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

async fn text_of(server: &TestServer, path: &str, headers: &str) -> (String, String) {
    let (status, head, body) = http(server.addr, "GET", path, headers, b"").await;
    assert_eq!(status, 200, "{path}");
    (head.to_lowercase(), String::from_utf8(body).unwrap())
}

/// The samples of an exposition: name with labels, and value.
fn samples_of(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|l| {
            let (name, value) = l.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {l}"));
            (name.to_owned(), value.parse().unwrap_or_else(|e| panic!("{l}: {e}")))
        })
        .collect()
}

async fn scrape(server: &TestServer) -> BTreeMap<String, f64> {
    samples_of(&text_of(server, "/metrics", "").await.1)
}

/// Asks again until it is so: samples are taken once a second.
async fn until(server: &TestServer, path: &str, so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let (status, body) = http_json(server.addr, "GET", path).await;
        assert_eq!(status, 200, "{path}: {body}");
        if so(&body) {
            return body;
        }
        assert!(begun.elapsed() < PATIENCE, "{path}: {:.600}", body.to_string());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn subscribe(c: &mut Client, events: &[&str]) {
    c.send(json!({"type": "subscribe_events", "events": events})).await;
    let updated = c.expect("subscription_updated").await;
    assert_eq!(updated["denied"], json!([]), "{updated}");
}

#[tokio::test]
async fn metrics_count_what_was_sent() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let before = scrape(&server).await;
    assert_eq!((before["voxgate_connections"], before["voxgate_streams"]), (1.0, 0.0));
    let bytes = sine16k(32_000);
    c.start(pcm()).await;
    for frame in bytes.chunks(640) {
        c.send_binary(frame).await;
    }
    c.send(json!({"type": "audio_flush", "id": "f"})).await;
    while c.expect("audio_received").await["reply_to"] != "f" {}
    assert_eq!(scrape(&server).await["voxgate_streams"], 1.0);
    c.end().await;
    c.send(json!({"type": "nonsense"})).await;
    c.expect_error("UNKNOWN_MESSAGE_TYPE").await;
    let after = scrape(&server).await;
    for (name, value) in [
        ("voxgate_streams", 0.0),
        ("voxgate_audio_seconds_total", 2.0),
        ("voxgate_messages_received_total{type=\"binary\"}", 100.0),
        ("voxgate_messages_received_total{type=\"audio_start\"}", 1.0),
        ("voxgate_messages_received_total{type=\"unreadable\"}", 1.0),
        ("voxgate_streams_started_total{encoding=\"pcm_s16le\"}", 1.0),
        ("voxgate_streams_ended_total{reason=\"end\"}", 1.0),
        ("voxgate_errors_total{code=\"UNKNOWN_MESSAGE_TYPE\",severity=\"low\",part=\"connection\"}", 1.0),
        ("voxgate_health{status=\"healthy\"}", 1.0),
        ("voxgate_store_up", 1.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    // Acknowledgements are cumulative: one may stand for many frames.
    let acks = after["voxgate_ack_latency_seconds_count"];
    assert!((1.0..=10.0).contains(&acks), "{acks}");
    assert_eq!(after["voxgate_ack_latency_seconds_bucket{le=\"+Inf\"}"], acks);
    assert!(after["voxgate_received_bytes_total"] >= bytes.len() as f64);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_cpu_seconds_total"] > 0.0);
    c.close().await;
}

#[tokio::test]
async fn totals_do_not_fall_when_connections_go() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.stream(pcm(), &sine16k(16_000), 640).await;
    let before = scrape(&server).await;
    c.close().await;
    let begun = Instant::now();
    let after = loop {
        let now = scrape(&server).await;
        if now["voxgate_connections"] == 0.0 {
            break now;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    for (name, value) in before.iter().filter(|(n, _)| n.contains("_total") || n.contains("_count")) {
        assert!(after[name] >= *value, "{name} fell from {value} to {}", after[name]);
    }
    assert_eq!(after["voxgate_connections_closed_total{code=\"1000\"}"], 1.0);
}

#[tokio::test]
async fn the_exposition_is_well_formed_in_both_formats() {
    let server = TestServer::start();
    let (head, open) = text_of(&server, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(open.ends_with("# EOF\n"));
    let (head, plain) = text_of(&server, "/metrics", "").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let names = |text: &str| samples_of(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&open), names(&plain));
    let typed: Vec<_> = plain.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    for name in names(&plain) {
        let base = name.split('{').next().unwrap();
        let of = |suffix: &str| base.strip_suffix(suffix).map(|b| format!("{b} histogram"));
        let whole = ["_bucket", "_sum", "_count"].iter().filter_map(|s| of(s));
        let mut known = whole.chain(["counter", "gauge"].map(|kind| format!("{base} {kind}")));
        assert!(known.any(|k| typed.contains(&k.as_str())), "{name} has no type");
        assert!(base.starts_with("voxgate_") || base.starts_with("process_"), "{name}");
    }
}

#[tokio::test]
async fn errors_are_in_the_journal_until_it_is_reset() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.send(json!({"type": "audio_end", "stream_id": "nobody"})).await;
    c.expect_error("STREAM_NOT_FOUND").await;
    c.send(json!({"type": "join_conversation", "conversation_id": "SECRET words"})).await;
    c.expect_error("INVALID_MESSAGE").await;
    let (_, recent) = http_json(server.addr, "GET", "/admin/errors/recent?minutes=5").await;
    let items = recent["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|e| &e["kind"]).collect::<Vec<_>>(), ["INVALID_MESSAGE", "STREAM_NOT_FOUND"]);
    assert_eq!((&items[0]["connection_id"], &items[0]["severity"]), (&c.hello["connection_id"], &json!("low")));
    assert!(!recent.to_string().contains("SECRET"), "{recent}");
    let (_, summary) = http_json(server.addr, "GET", "/monitoring/errors?minutes=5").await;
    assert_eq!((&summary["total"], &summary["by_severity"]["low"]), (&json!(2), &json!(2)), "{summary}");
    assert_eq!(summary["timeline"].as_array().unwrap().iter().map(|m| m["total"].as_u64().unwrap()).sum::<u64>(), 2);
    let (_, reset) = http_json(server.addr, "POST", "/admin/monitoring/reset").await;
    assert_eq!(reset["errors_forgotten"], 2);
    let (_, recent) = http_json(server.addr, "GET", "/admin/errors/recent").await;
    assert_eq!(recent["items"], json!([]));
    let total = "voxgate_errors_total{code=\"STREAM_NOT_FOUND\",severity=\"low\",part=\"connection\"}";
    assert_eq!(scrape(&server).await[total], 1.0, "a reset must not lessen a counter");
    let (status, _) = http_json(server.addr, "GET", "/admin/errors/recent?minutes=x").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn the_history_has_a_point_a_second_and_coarser_ones() {
    let server = TestServer::with(|c| c.monitoring.sample_interval_s = 1);
    let mut c = server.connect().await;
    c.stream(pcm(), &sine16k(16_000), 640).await;
    let some = |b: &Value| b["ack_latency_us"]["count"].as_u64() >= Some(1);
    let live = until(&server, "/monitoring/realtime", some).await;
    assert_eq!((&live["interval_s"], &live["window_s"], &live["status"]), (&json!(1), &json!(300), &json!("healthy")));
    let points = live["points"].as_array().unwrap();
    let total =
        |field: &str| points.iter().map(|p| p[field].as_f64().unwrap() * p["seconds"].as_f64().unwrap()).sum::<f64>();
    assert!((total("audio_s_per_s") - 1.0).abs() < 0.01, "{live}");
    assert!(total("bytes_in_per_s") >= 32_000.0);
    assert!(live["ack_latency_us"]["p99"].as_f64() >= live["ack_latency_us"]["p50"].as_f64());
    assert_eq!(live["trends"]["connections"]["max"], 1.0);
    let day = until(&server, "/monitoring/metrics?window_s=86400&format=json", some).await;
    assert!(day["points"].as_array().unwrap().iter().any(|p| p["ack_p50_us"].is_number()), "{day}");
    let (head, text) = text_of(&server, "/monitoring/metrics?format=prometheus", "").await;
    assert!(head.contains("text/plain") && samples_of(&text)["voxgate_connections"] == 1.0);
    let (_, rows) = http_json(server.addr, "GET", "/monitoring/connections").await;
    assert_eq!(
        (&rows["items"][0]["connection_id"], &rows["items"][0]["queue"]["messages"]),
        (&c.hello["connection_id"], &json!(0))
    );
    http_json(server.addr, "POST", "/admin/monitoring/reset").await;
    let (_, day) = http_json(server.addr, "GET", "/monitoring/metrics?window_s=86400").await;
    assert!(day["points"].as_array().unwrap().len() <= 1);
}

#[tokio::test]
async fn subscribers_are_told_of_figures_connections_and_errors() {
    let server = TestServer::start();
    let mut admin = server.connect().await;
    subscribe(&mut admin, &["metrics", "connections", "errors"]).await;
    let point = admin.expect("metrics").await;
    assert_eq!(point["connections"], 1, "{point}");
    // The first sample after the subscription notes who is there: those who come later are news.
    admin.expect("metrics").await;
    let mut other = server.connect_to("/ws/visitor").await;
    let came = admin.expect("connections").await;
    assert_eq!((&came["opened"][0]["client_id"], &came["connections"]), (&json!("visitor"), &json!(2)), "{came}");
    other.send(json!({"type": "nonsense"})).await;
    other.expect_error("UNKNOWN_MESSAGE_TYPE").await;
    let told = admin.expect("errors").await;
    assert_eq!((&told["errors"][0]["kind"], &told["more"]), (&json!("UNKNOWN_MESSAGE_TYPE"), &json!(0)), "{told}");
    assert_eq!(told["errors"][0]["connection_id"], other.hello["connection_id"]);
    let id = other.hello["connection_id"].clone();
    other.close().await;
    let went = admin.expect("connections").await;
    assert_eq!((&went["closed"][0]["connection_id"], &went["connections"]), (&id, &json!(1)), "{went}");
    admin.send(json!({"type": "unsubscribe_events", "events": ["metrics"]})).await;
    admin.expect("subscription_updated").await;
}

#[tokio::test]
async fn the_dashboard_is_there_with_its_files() {
    let server = TestServer::start();
    let (head, page) = text_of(&server, "/monitoring/dashboard", "").await;
    assert!(head.contains("text/html") && head.contains("content-security-policy: default-src 'none'"), "{head}");
    for part in page.split("\"dashboard/").skip(1).filter_map(|s| s.split('"').next()) {
        let (head, _) = text_of(&server, &format!("/monitoring/dashboard/{part}"), "").await;
        assert!(head.contains("content-type: text/"), "{part}: {head}");
    }
    assert_eq!(http(server.addr, "GET", "/monitoring/dashboard/..%2findex.html", "", b"").await.0, 404);
}

#[tokio::test]
async fn only_administrators_see_the_server_from_inside() {
    let server = TestServer::with(|c| c.server.echo = false);
    let proxied = "X-Forwarded-For: 192.0.2.1\r\n"; // without authentication only the machine itself is an administrator
    for (method, path) in [
        ("GET", "/monitoring/metrics"),
        ("GET", "/monitoring/realtime"),
        ("GET", "/monitoring/connections"),
        ("GET", "/monitoring/errors"),
        ("GET", "/admin/errors/recent"),
        ("POST", "/admin/monitoring/reset"),
        ("GET", "/admin/log-level"),
        ("POST", "/admin/log-level"),
        ("GET", "/health/detailed"),
    ] {
        let (status, _, _) = http(server.addr, method, path, proxied, b"").await;
        assert_eq!(status, 403, "{method} {path}");
    }
    assert_eq!(http(server.addr, "GET", "/metrics", proxied, b"").await.0, 200);
    assert_eq!(
        http(server.addr, "GET", "/monitoring/dashboard", proxied, b"").await.0,
        200,
        "the page holds no figure"
    );
}

#[tokio::test]
async fn an_opened_breaker_and_the_health_it_costs_are_told() {
    // Nothing listens at the discard port: each question fails.
    let server = TestServer::with(|c| {
        c.responder.kind = voxgate::config::ResponderKind::Openai;
        c.responder.base_url = Some(voxgate::config::ServiceUrl::new("http://127.0.0.1:9".to_owned()));
        c.responder.model = Some("none".to_owned());
    });
    let mut admin = server.connect().await;
    subscribe(&mut admin, &["alerts", "system"]).await;
    let mut c = server.connect().await;
    for _ in 0..5 {
        c.send(json!({"type": "text", "text": "hello?"})).await;
        c.expect_error("UPSTREAM_UNAVAILABLE").await;
    }
    let alert = admin.expect("alert").await;
    assert_eq!(
        (&alert["content"]["name"], &alert["content"]["state"]),
        (&json!("responder"), &json!("open")),
        "{alert}"
    );
    let alert = admin.expect("alert").await;
    assert_eq!(
        (&alert["content"]["from"], &alert["content"]["to"]),
        (&json!("healthy"), &json!("degraded")),
        "{alert}"
    );
    assert_eq!(admin.expect("status_update").await["state"], "degraded");
    let (_, health) = http_json(server.addr, "GET", "/health/detailed").await;
    assert_eq!(health["findings"][0]["part"], "responder", "{health}");
    let (_, errors) = http_json(server.addr, "GET", "/monitoring/errors?minutes=5").await;
    assert_eq!(
        (&errors["by_kind"]["CIRCUIT_OPEN"], &errors["by_kind"]["UPSTREAM_UNAVAILABLE"]),
        (&json!(1), &json!(5))
    );
    assert_eq!(scrape(&server).await["voxgate_circuit_breaker_state{name=\"responder\"}"], 2.0);
    assert_eq!(http_json(server.addr, "POST", "/admin/circuit-breakers/reset").await.0, 200);
    let alert = loop {
        let alert = admin.expect("alert").await;
        if alert["content"]["kind"] == "health" {
            break alert;
        }
    };
    assert_eq!((&alert["content"]["to"], &alert["severity"]), (&json!("healthy"), &json!("info")), "{alert}");
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs_and_lines_name_their_connection() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("logs/voxgate.log");
    let server = ServerProcess::start(data.path(), &[("VOXGATE__LOG__FILE", file.to_str().unwrap())]);
    let stream = async |server: &ServerProcess| {
        let mut c = server.connect().await;
        let started = c.start(pcm()).await;
        c.end().await;
        (c.hello["connection_id"].clone(), started["stream_uid"].clone())
    };
    let quiet = stream(&server).await;
    let (status, _, body) = http(server.addr, "GET", "/admin/log-level", "", b"").await;
    assert_eq!((status, serde_json::from_slice::<Value>(&body).unwrap()), (200, json!({"level": "error"})));
    let json_body = "Content-Type: application/json\r\n";
    for (body, wanted) in [(r#"{"level":"nonsense"}"#, 400), (r#"{"level":"info,voxgate::server=debug"}"#, 200)] {
        let (status, _, _) = http(server.addr, "POST", "/admin/log-level", json_body, body.as_bytes()).await;
        assert_eq!(status, wanted, "{body}");
    }
    let loud = stream(&server).await;
    server.kill();
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(!log.contains(quiet.1.as_str().unwrap()), "{log}");
    let lines = log.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let ends: Vec<Value> = lines.filter(|l| l["message"] == "stream ended").collect();
    let [end] = &ends[..] else { panic!("one line of a stream's end: {ends:?}") };
    assert_eq!((&end["span"]["connection"], &end["span"]["stream"]), (&loud.0, &loud.1), "{end}");
    assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink(), "the name leads to today's file");
}

/// Words of a query that are metrics: those with one of our prefixes.
fn metrics_in(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|w| w.starts_with("voxgate_") || w.starts_with("process_"))
}

#[tokio::test]
async fn every_metric_of_the_grafana_dashboard_and_of_the_docs_exists() {
    let server = TestServer::with(|c| c.audio.durability = voxgate::config::Durability::Journal);
    let (_, text) = text_of(&server, "/metrics", "").await;
    let mut known = Vec::new();
    for (name, kind) in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' ')) {
        match kind {
            "histogram" => known.extend(["", "_bucket", "_sum", "_count"].map(|s| format!("{name}{s}"))),
            _ => known.push(name.to_owned()),
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(root.join("grafana/voxgate.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets: Vec<_> = panels.filter_map(|p| p["targets"].as_array()).flatten().collect();
    assert!(targets.len() > 30, "{} queries", targets.len());
    for query in targets.iter().map(|t| t["expr"].as_str().unwrap()) {
        let used: Vec<_> = metrics_in(query).collect();
        assert!(!used.is_empty(), "no metric in {query}");
        for name in used {
            assert!(known.iter().any(|k| k == name), "{name} of {query} does not exist");
        }
    }
    let docs = std::fs::read_to_string(root.join("OBSERVABILITY.md")).unwrap();
    for name in metrics_in(&docs) {
        assert!(known.iter().any(|k| k == name), "{name} of the docs does not exist");
    }
    let told: Vec<_> = metrics_in(&docs).collect();
    for name in text.lines().filter_map(|l| Some(l.strip_prefix("# TYPE ")?.split_once(' ')?.0)) {
        assert!(told.contains(&name), "{name} is not in the docs");
    }
}
