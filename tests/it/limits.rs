//! What one client may send and have: messages, bytes, connections and the worker's time, each refused with advice before it is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::jwt::{jwt, token};
use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, http_json, sine16k};

#[tokio::test]
async fn messages_past_the_burst_are_refused_and_who_goes_on_is_closed() {
    let server = TestServer::with(|c| c.limits.messages_per_s = 5);
    let mut c = server.connect().await;
    c.start(json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})).await;
    for n in 0..19 {
        assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong", "{n}: a burst of four seconds' worth");
    }
    let mut refused = 0;
    let wait_ms = loop {
        let answer = c.ask(json!({"type": "ping"})).await;
        if answer["code"] == "RATE_LIMITED" {
            refused += 1;
            assert_eq!(answer["retry_suggested"], true);
            break answer["retry_after_ms"].as_u64().unwrap();
        }
    };
    assert!((1..=200).contains(&wait_ms), "{wait_ms}");
    tokio::time::sleep(Duration::from_millis(wait_ms + 5)).await;
    assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong", "who waits as told is served");
    // Audio does not count, but what opens its stream does.
    tokio::time::sleep(Duration::from_millis(250)).await;
    c.start(json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})).await;
    for _ in 0..200 {
        c.send_binary(&sine16k(16)).await;
    }
    for _ in 0..200 {
        c.send(json!({"type": "ping"})).await;
    }
    let code = loop {
        match c.next_or_close().await {
            Ok(m) => refused += u32::from(m["code"] == "RATE_LIMITED"),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4129);
    assert!((20..30).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_client_has_only_so_many_connections() {
    let server = TestServer::with(|c| c.connections.per_client_max = Some(2));
    let mut first = server.connect_to("/ws/desk").await;
    let _second = server.connect_to("/ws/desk").await;
    assert_eq!(server.upgrade("/ws/desk", &[]).await.unwrap().hello, 4129);
    let other = server.connect_to("/ws/other").await;
    assert_eq!(first.ask(json!({"type": "ping"})).await["type"], "pong");
    first.close().await;
    other.close().await;
    wait_for(&server, 1).await;
    server.connect_to("/ws/desk").await;
}

#[tokio::test]
async fn a_user_has_only_so_many_connections_whatever_the_client() {
    let server = TestServer::with(|c| {
        jwt(c);
        c.connections.per_user_max = Some(2);
    });
    let header = format!("Bearer {}", token("ann"));
    let headers = [("Authorization", header.as_str())];
    let _held = [server.upgrade("/ws/a", &headers).await.unwrap(), server.upgrade("/ws/b", &headers).await.unwrap()];
    assert_eq!(server.upgrade("/ws/c", &headers).await.unwrap().hello, 4129);
    server.connect_as("/ws/a", &token("bob")).await;
    let mut late = server.connect_to("/ws/d").await;
    late.send(json!({"type": "authenticate", "token": token("ann")})).await;
    assert_eq!(late.closed().await, 4129, "who says it later is counted then");
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let server = TestServer::with(|c| c.server.max_connections = 3);
    let first = server.connect().await;
    let _held = [server.connect().await, server.connect().await];
    assert_eq!(server.upgrade("/ws", &[]).await.unwrap().hello, 1013);
    first.close().await;
    wait_for(&server, 2).await;
    server.connect().await;
}

/// Until so many connections are left: the server forgets one after its client has seen the close.
pub(crate) async fn wait_for(server: &TestServer, connections: u64) {
    let began = Instant::now();
    while http_json(server.addr, "GET", "/health").await.1["active_connections"] != connections {
        assert!(began.elapsed() < Duration::from_secs(10), "still not {connections}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn bytes_past_the_rate_are_read_later_and_none_is_lost() {
    let server = TestServer::with(|c| c.limits.bytes_per_s = Some(64_000));
    let mut c = server.connect().await;
    c.start(json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})).await;
    let pcm = sine16k(96_000); // three seconds of the rate, one of which may come at once
    let began = Instant::now();
    for piece in pcm.chunks(8_000) {
        c.send_binary(piece).await;
    }
    let ended = c.end().await;
    let took = began.elapsed().as_millis();
    assert_eq!(ended["output_samples"], 96_000);
    assert!((1_800..8_000).contains(&took), "{took} ms");
}

/// The server is stopped for longer than a silent client would be borne (so does a machine that sleeps): who spoke meanwhile is alive.
#[tokio::test]
async fn who_spoke_while_the_server_slept_is_not_taken_for_dead() {
    let data = tempfile::tempdir().unwrap();
    let settings = [
        ("VOXGATE__CONNECTIONS__HEARTBEAT_INTERVAL_MS", "1000"),
        ("VOXGATE__CONNECTIONS__HEARTBEAT_TIMEOUT_MS", "3000"),
        ("VOXGATE__AUDIO__STALL_TIMEOUT_MS", "3000"),
    ];
    let server = ServerProcess::start(data.path(), &settings);
    let mut c = server.connect().await;
    c.start_with(json!({"format": {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}, "ack_ms": 0})).await;
    let pcm = sine16k(1_600);
    for n in 1..=2 {
        c.send_binary(&pcm).await;
        c.send(json!({"type": "audio_flush"})).await;
        let samples = loop {
            let m = c.next_or_close().await.expect("no close, least of all 4108");
            match m["type"].as_str().unwrap() {
                "ping" | "status_update" => {}
                "audio_received" => break m["output_samples"].as_u64().unwrap(),
                other => panic!("{other}: {m}"),
            }
        };
        assert!(samples > (n - 1) * 1_600 * 20, "{samples}");
        server.signal("STOP");
        let stopped = Instant::now();
        while stopped.elapsed() < Duration::from_millis(4_000) {
            c.send_binary(&pcm).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.signal("CONT");
    }
    c.send(json!({"type": "audio_end"})).await;
    let ended = loop {
        match c.next_or_close().await.expect("no close, least of all 4108") {
            m if m["type"] == "ping" || m["type"] == "status_update" => {}
            m => break m,
        }
    };
    assert_eq!((&ended["type"], &ended["reason"]), (&json!("audio_ended"), &json!("end")));
}

/// A connection's turn is bounded: what others wait for is counted in the audio that floods get rid of meanwhile.
#[tokio::test]
async fn a_flood_on_every_worker_leaves_the_others_their_turn() {
    let server = TestServer::with(|c| c.limits.messages_per_s = 10_000);
    let (sent, over) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let workers = std::thread::available_parallelism().unwrap().get();
    let floods: Vec<_> = (0..workers).map(|_| flood(server.addr, Arc::clone(&sent), over.clone())).collect();
    while sent.load(Relaxed) < 10_000_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut c = server.connect().await;
    let mut waits = Vec::new();
    for _ in 0..41 {
        let (before, began) = (sent.load(Relaxed), Instant::now());
        assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong");
        waits.push((sent.load(Relaxed) - before, began.elapsed()));
    }
    over.cancel();
    for f in floods {
        f.join().unwrap();
    }
    waits.sort_unstable();
    assert!(waits[20].0 < 2_000_000, "bytes of floods between a ping and its pong, and the time: {waits:?}");
}

/// Sends audio as fast as it goes, from a thread of its own.
fn flood(addr: SocketAddr, sent: Arc<AtomicU64>, over: CancellationToken) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(over.run_until_cancelled(async {
            let mut c = Client::to(addr, "/ws").await;
            let format = json!({"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 1});
            c.start_with(json!({"format": format, "record": false, "ack_ms": 0})).await;
            let pcm = sine16k(4_800);
            loop {
                c.send_binary(&pcm).await;
                sent.fetch_add(pcm.len() as u64, Relaxed);
            }
        }));
    })
}
