//! Health over HTTP while the real thing happens: disks that are full, decoders that panic, a worker that hangs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, query};
use voxgate::config::Durability;

use crate::support::disk::TinyDisk;
use crate::support::faults::{self, HANGING_HZ, PANICKING_HZ};
use crate::support::{Client, TestServer, http, http_json, samples, sine16k};

const PATIENCE: Duration = Duration::from_secs(40);

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

async fn detailed(server: &TestServer) -> Value {
    http_json(server.addr, "GET", "/health/detailed").await.1
}

async fn until(server: &TestServer, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let health = detailed(server).await;
        if health["status"] == status {
            return health;
        }
        assert!(begun.elapsed() < PATIENCE, "not {status}: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the routes for machines say: the status and whether new work may come.
async fn routes(server: &TestServer) -> (Value, [u16; 3]) {
    let (all, summary) = http_json(server.addr, "GET", "/health").await;
    let live = http_json(server.addr, "GET", "/health/live").await.0;
    let ready = http_json(server.addr, "GET", "/health/ready").await.0;
    (summary["status"].clone(), [all, live, ready])
}

async fn metric(server: &TestServer, name: &str) -> f64 {
    let (_, _, text) = http(server.addr, "GET", "/metrics", "", b"").await;
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("{name}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Streams a little; its end, and the error that came before it.
async fn stream(c: &mut Client, pcm: &[u8]) -> (Value, Value, Value) {
    let started = c.start(pcm16k()).await;
    c.send_binary(pcm).await;
    c.send(json!({"type": "audio_end"})).await;
    let mut error = Value::Null;
    loop {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "error" => error = m,
            "audio_ended" => return (started, error, m),
            _ => {}
        }
    }
}

fn part<'a>(health: &'a Value, name: &str) -> Vec<&'a Value> {
    health["findings"].as_array().unwrap().iter().filter(|f| f["part"] == name).collect()
}

/// Row 27: the recordings' disk is full. After five failures it is left alone: streams run and are told at once that they are not
/// recorded, and when that may change.
#[tokio::test]
async fn a_full_disk_of_recordings_is_left_alone_until_it_has_room() {
    let data = tempfile::tempdir().unwrap();
    let Some(disk) = TinyDisk::mount(&data.path().join("recordings"), "4m") else { return };
    let server = TestServer::in_dir(data, |_| ());
    let (mut c, pcm) = (server.connect().await, sine16k(16_000));
    assert!(stream(&mut c, &pcm).await.1.is_null());
    disk.fill();
    for n in 1..=5 {
        let (started, error, ended) = stream(&mut c, &pcm).await;
        assert!(!started["recording_id"].is_null(), "{n}: tried");
        assert_eq!(
            (&error["code"], &error["details"]["sink"]),
            (&json!("INTERNAL"), &json!("recorder")),
            "{n}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains("the disk is full"), "{error}");
        assert_eq!((&ended["reason"], ended["output_samples"].as_u64()), (&json!("end"), Some(16_000)));
    }
    let (started, error, ended) = stream(&mut c, &pcm).await;
    assert!(started["recording_id"].is_null() && ended["recording"].is_null());
    assert_eq!(
        (&error["code"], &error["details"]["sink"]),
        (&json!("UPSTREAM_UNAVAILABLE"), &json!("recorder")),
        "{error}"
    );
    assert_eq!((&error["stream_id"], &error["retry_suggested"]), (&started["stream_id"], &json!(true)));
    assert!((1..=30_000).contains(&error["retry_after_ms"].as_u64().unwrap()), "{error}");
    assert_eq!((&ended["reason"], ended["output_samples"].as_u64()), (&json!("end"), Some(16_000)));
    let health = until(&server, "degraded").await;
    assert_eq!(part(&health, "recorder").len(), 2, "{health}");
    let recorder = &health["components"]["recorder"];
    assert_eq!((&recorder["status"], &recorder["circuit_breaker"]), (&json!("degraded"), &json!("open")));
    assert_eq!(metric(&server, "voxgate_circuit_breaker_state{name=\"recorder\"}").await, 2.0);
    assert_eq!(routes(&server).await, (json!("degraded"), [200, 200, 200]));
    disk.free();
    // An administrator need not wait the half minute.
    let (status, _, _) = http(
        server.addr,
        "POST",
        "/admin/circuit-breakers/reset",
        "Content-Type: application/json\r\n",
        br#"{"name":"recorder"}"#,
    )
    .await;
    assert_eq!(status, 200);
    let (_, error, ended) = stream(&mut c, &pcm).await;
    assert!(error.is_null(), "{error}");
    assert!(server.recording(&ended).1 == samples(&pcm));
    assert_eq!(until(&server, "healthy").await["findings"], json!([]));
}

/// All that is written lies on one disk, and it is full: recorder, journal and store fail at once, which is no accident of one of them.
#[tokio::test]
async fn a_full_disk_under_everything_is_unhealthy_until_it_has_room() {
    let data = tempfile::tempdir().unwrap();
    let Some(disk) = TinyDisk::mount(data.path(), "8m") else { return };
    let server = TestServer::in_dir(data, |c| c.audio.durability = Durability::Journal);
    let pcm = sine16k(16_000);
    assert!(stream(&mut server.connect().await, &pcm).await.1.is_null());
    assert_eq!(routes(&server).await, (json!("healthy"), [200, 200, 200]));
    let mut writer = server.connect().await;
    writer.send(json!({"type": "join_conversation", "conversation_id": "room"})).await;
    writer.expect("conversation_joined").await;
    disk.fill();
    let begun = Instant::now();
    let health = loop {
        writer.send(json!({"type": "message", "conversation_id": "room", "content": "x".repeat(5_000)})).await;
        let (_, error, ended) = stream(&mut server.connect().await, &pcm).await;
        assert!(
            !error.is_null() && ended["reason"] == "error",
            "no promise of durability is broken in silence: {ended}"
        );
        let health = detailed(&server).await;
        if health["status"] == "unhealthy" {
            break health;
        }
        assert!(begun.elapsed() < PATIENCE, "{health}");
    };
    for name in ["recorder", "journal", "store", "parts"] {
        assert!(!part(&health, name).is_empty(), "{name}: {health}");
    }
    let journal = &health["components"]["journal"];
    assert_eq!(journal["status"], "degraded");
    assert!(journal["failures"].as_u64().unwrap() > 0, "{journal}");
    assert_eq!(routes(&server).await, (json!("unhealthy"), [200, 200, 503]));
    assert_eq!(metric(&server, "voxgate_health{status=\"unhealthy\"}").await, 1.0);
    assert!(metric(&server, "voxgate_journal_failed_total{reason=\"disk\"}").await > 0.0);
    disk.free();
    http_json(server.addr, "POST", "/admin/circuit-breakers/reset").await;
    let begun = Instant::now();
    loop {
        writer.send(json!({"type": "message", "conversation_id": "room", "content": "again"})).await;
        stream(&mut server.connect().await, &pcm).await;
        let health = detailed(&server).await;
        // What it told as critical errors meanwhile is remembered for a minute or two.
        if health["findings"].as_array().unwrap().iter().all(|f| f["part"] == "errors") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(metric(&server, "voxgate_journal_streams").await, 0.0);
}

/// Errors of the server itself: ten are more than an accident, two hundred more than it should go on with.
#[tokio::test]
async fn errors_make_it_degraded_then_unhealthy() {
    faults::install();
    let server = TestServer::with(|c| {
        c.limits.messages_per_s = 10_000;
        c.recording.enabled = false;
    });
    let mut c = server.connect().await;
    for n in 1..=200 {
        c.start(json!({"encoding": "mulaw", "sample_rate": PANICKING_HZ, "channels": 1})).await;
        c.send_binary(b"now: panic").await;
        c.expect_error("INTERNAL").await;
        c.expect("audio_ended").await;
        let wanted = match n {
            9 => ("healthy", 200),
            10 | 199 => ("degraded", 200),
            200 => ("unhealthy", 503),
            _ => continue,
        };
        let (status, [_, _, ready]) = routes(&server).await;
        assert_eq!((status.as_str().unwrap(), ready), wanted, "after {n}");
    }
    let health = detailed(&server).await;
    assert_eq!(part(&health, "errors")[0]["status"], "unhealthy");
}

/// A worker that does not come back: nothing of it is served any more.
#[tokio::test]
async fn a_worker_that_hangs_is_critical_until_it_comes_back() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return; // one worker alone cannot tell of itself
    }
    faults::install();
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.start(json!({"encoding": "mulaw", "sample_rate": HANGING_HZ, "channels": 1})).await;
    c.send_binary(&[0; 160]).await;
    // At first the worker passes for busy, and may be given the socket of who asks.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let health = until(&server, "critical").await;
    assert_eq!(part(&health, "workers")[0]["status"], "critical");
    assert_eq!(routes(&server).await, (json!("critical"), [200, 200, 503]));
    faults::release();
    until(&server, "healthy").await;
    assert_eq!(c.end().await["reason"], "end");
}

/// Row 27: another process holds the database. What must be kept is refused with a reason, nothing else notices, and it ends by itself.
#[tokio::test]
async fn a_locked_store_costs_what_must_be_kept_and_nothing_else() {
    let server = TestServer::start();
    let mut writer = server.connect_to("/ws/writer?conversation_id=room").await;
    writer.expect("conversation_joined").await;
    let mut speaker = server.connect().await;
    let started = speaker.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    let mut ear = server.connect().await;
    ear.send(json!({"type": "listen_start", "stream_id": started["stream_uid"]})).await;
    ear.expect("listening").await;
    let mut other =
        SqliteConnectOptions::new().filename(server.data.path().join("voxgate.db")).connect().await.unwrap();
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let say = json!({"type": "message", "id": "m", "conversation_id": "room", "content": "x"});
    writer.send(say.clone()).await;
    for n in 1..=10 {
        speaker.send_binary(&sine16k(320)).await;
        speaker.send(json!({"type": "audio_flush"})).await;
        assert_eq!(speaker.expect("audio_received").await["output_samples"], n * 320);
    }
    ear.binaries(10).await;
    let refused = writer.expect_error("UPSTREAM_UNAVAILABLE").await;
    assert_eq!((&refused["reply_to"], refused["retry_after_ms"].is_u64()), (&json!("m"), true));
    assert!(!part(&until(&server, "degraded").await, "store").is_empty());
    query("ROLLBACK").execute(&mut other).await.unwrap();
    writer.send(say).await;
    assert_eq!(writer.expect("message_accepted").await["message_seq"], 1);
    assert_eq!(until(&server, "healthy").await["findings"], json!([]));
    other.close().await.unwrap();
}
