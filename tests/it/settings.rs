//! A setting a test: that each has its effect, where no other area's tests show it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::support::{Client, TestServer, http_json, sine16k};

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

#[tokio::test]
async fn output_rate_hz_is_what_streams_become() {
    let server = TestServer::with(|c| c.audio.output_rate_hz = 8_000);
    let mut c = server.connect().await;
    assert_eq!(c.start(pcm16k()).await["output"]["sample_rate"], 8_000);
    c.send_binary(&sine16k(16_000)).await;
    let ended = c.end().await;
    assert_eq!(ended["output_samples"], 8_000);
    assert_eq!(server.recording(&ended).0.sample_rate, 8_000);
}

#[tokio::test]
async fn max_streams_bounds_all_connections_together() {
    let server = TestServer::with(|c| c.audio.max_streams = 2);
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    a.start(pcm16k()).await;
    b.start(pcm16k()).await;
    let mut c = server.connect().await;
    c.send(json!({"type": "audio_start", "format": pcm16k()})).await;
    let e = c.expect_error("OVERLOADED").await;
    assert_eq!((&e["retry_suggested"], &e["retry_after_ms"]), (&json!(true), &json!(1_000)));
    a.end().await;
    c.start(pcm16k()).await;
}

#[tokio::test]
async fn max_consecutive_errors_closes_with_4005() {
    let server = TestServer::with(|c| c.connections.max_consecutive_errors = 2);
    let mut c = server.connect().await;
    for _ in 0..2 {
        c.send_text("{").await;
        c.expect_error("INVALID_JSON").await;
    }
    assert_eq!(c.closed().await, 4005);
}

/// Row 1: who reads nothing while others speak.
#[tokio::test]
async fn queue_messages_and_queue_bytes_bound_what_waits_for_a_slow_reader() {
    for (messages, bytes) in [(3, 64 << 20), (1_000_000, 128 << 10)] {
        let server = TestServer::with(|c| {
            c.connections.queue_messages = messages;
            c.connections.queue_bytes = bytes;
            c.limits.messages_per_s = 1_000_000;
            c.limits.broadcasts_per_s = 1_000_000;
        });
        let mut slow = server.connect().await;
        let id = slow.hello["connection_id"].as_str().unwrap().to_owned();
        let mut speaker = server.connect().await;
        let begun = Instant::now();
        // What the system's buffers take goes first.
        while http_json(server.addr, "GET", &format!("/api/connections/{id}")).await.1["state"] == "open" {
            assert!(begun.elapsed() < Duration::from_secs(20));
            for _ in 0..100 {
                speaker.send(json!({"type": "broadcast_request", "content": "x".repeat(15_000)})).await;
                speaker.expect("broadcast_confirmation").await;
            }
        }
        assert_eq!(slow_close(&mut slow).await, 4111);
    }
}

/// Reads on until the close frame; where the socket was stuck it may be missing.
async fn slow_close(c: &mut Client) -> u16 {
    use futures_util::StreamExt;
    loop {
        match c.ws.next().await {
            Some(Ok(tokio_tungstenite::tungstenite::Message::Close(f))) => return f.map_or(1005, |f| f.code.into()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return 4111,
        }
    }
}

#[tokio::test]
async fn inactive_after_ms_ends_who_says_nothing_though_its_heart_beats() {
    let server = TestServer::with(|c| {
        c.connections.inactive_after_ms = Some(600);
        c.connections.heartbeat_interval_ms = 50;
        c.connections.heartbeat_timeout_ms = 10_000;
    });
    let (mut quiet, mut busy) = (server.connect().await, server.connect().await);
    let begun = Instant::now();
    let talk = async {
        while begun.elapsed() < Duration::from_millis(1_500) {
            busy.send(json!({"type": "status_request", "id": "s"})).await;
            busy.expect("status_update").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // It answers pings of both kinds while it waits.
    let beat = async {
        loop {
            let m = tokio::time::timeout(Duration::from_secs(10), futures_util::StreamExt::next(&mut quiet.ws));
            match m.await.expect("a close in time") {
                Some(Ok(tokio_tungstenite::tungstenite::Message::Text(_))) => {
                    quiet.send(json!({"type": "pong"})).await;
                }
                Some(Ok(tokio_tungstenite::tungstenite::Message::Close(f))) => return f.map(|f| u16::from(f.code)),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let ((), code) = tokio::join!(talk, beat);
    assert_eq!(code, Some(4108));
    busy.send(json!({"type": "status_request"})).await;
    busy.expect("status_update").await;
}

#[tokio::test]
async fn message_bytes_and_json_depth_bound_a_message() {
    let server = TestServer::with(|c| {
        c.limits.message_bytes = 4_096;
        c.limits.json_depth = 5;
    });
    let mut c = server.connect().await;
    assert_eq!(c.hello["limits"]["max_message_bytes"], 4_096);
    c.send_text(r#"{"type":"broadcast_request","include_self":true,"content":[[[1]]]}"#).await;
    c.expect("broadcast_confirmation").await;
    c.send_text(r#"{"type":"broadcast_request","content":[[[[[1]]]]]}"#).await;
    c.expect_error("INVALID_JSON").await;
    c.send_text(&json!({"type": "text", "text": "x".repeat(4_096)}).to_string()).await;
    assert_eq!(c.closed().await, 1009);
}

#[tokio::test]
async fn messages_and_broadcasts_beyond_their_rate_are_told_when_to_come_again() {
    let server = TestServer::with(|c| {
        c.limits.messages_per_s = 5;
        c.limits.broadcasts_per_s = 1;
    });
    let mut c = server.connect().await;
    c.send(json!({"type": "broadcast_request", "content": 1})).await;
    c.expect("broadcast_confirmation").await;
    c.send(json!({"type": "broadcast_request", "id": "b", "content": 2})).await;
    let e = c.expect_error("RATE_LIMITED").await;
    assert!((1..=1_000).contains(&e["retry_after_ms"].as_u64().unwrap()) && e["reply_to"] == "b", "{e}");
    for _ in 0..25 {
        c.send(json!({"type": "ping"})).await;
    }
    let e = c.expect_error("RATE_LIMITED").await;
    assert!((1..=200).contains(&e["retry_after_ms"].as_u64().unwrap()), "{e}");
}

#[tokio::test]
async fn history_messages_bounds_what_is_kept_of_a_conversation() {
    let server = TestServer::with(|c| c.limits.history_messages = 10);
    let mut c = server.connect().await;
    c.send(json!({"type": "join_conversation", "conversation_id": "short"})).await;
    c.expect("conversation_joined").await;
    for n in 0..40 {
        c.send(json!({"type": "message", "conversation_id": "short", "content": n})).await;
        c.expect("message_accepted").await;
    }
    let begun = Instant::now();
    loop {
        c.send(json!({"type": "history_request", "conversation_id": "short", "limit": 500})).await;
        let history = c.expect("history").await;
        let kept: Vec<u64> =
            history["messages"].as_array().unwrap().iter().map(|m| m["content"].as_u64().unwrap()).collect();
        assert_eq!(kept.last(), Some(&39));
        if kept.len() <= 10 {
            assert!(kept.iter().copied().eq(40 - kept.len() as u64..40), "the newest: {kept:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{} are kept", kept.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn recording_can_be_off_altogether() {
    let server = TestServer::with(|c| c.recording.enabled = false);
    let mut c = server.connect().await;
    let started = c.start_with(json!({"format": pcm16k(), "record": true})).await;
    assert!(started["recording_id"].is_null(), "{started}");
    c.send_binary(&sine16k(1_600)).await;
    assert!(c.end().await["recording"].is_null());
    assert!(!server.data.path().join("recordings").exists());
}

#[tokio::test]
async fn max_file_bytes_and_quota_bytes_end_the_recording_and_not_the_stream() {
    for quota in [false, true] {
        let server = TestServer::with(|c| {
            let bound = if quota { &mut c.recording.quota_bytes } else { &mut c.recording.max_file_bytes };
            *bound = Some(40_000);
        });
        let mut c = server.connect().await;
        let id = c.start(pcm16k()).await["recording_id"].as_str().unwrap().to_owned();
        let pcm = sine16k(16_000);
        c.send_binary(&pcm[..16_000]).await;
        c.send(json!({"type": "audio_flush"})).await;
        c.expect("audio_received").await;
        // Told while it is spoken, or at the end where that comes first.
        c.send_binary(&pcm[16_000..]).await;
        c.send_binary(&pcm).await;
        c.send(json!({"type": "audio_end"})).await;
        let e = c.expect_error("QUOTA_EXCEEDED").await;
        assert_eq!(e["details"]["sink"], "recorder", "{e}");
        let ended = c.expect("audio_ended").await;
        assert_eq!((&ended["reason"], &ended["received_bytes"]), (&json!("end"), &json!(64_000)));
        assert!(ended["recording"].is_null(), "{ended}");
        let kept = hound::WavReader::open(server.recording_path(&id)).unwrap();
        assert!(kept.duration() > 8_000 && kept.duration() < 20_000, "{}", kept.duration());
    }
}

#[tokio::test]
async fn retain_days_deletes_what_is_older_at_the_start() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let ended = c.stream(pcm16k(), &sine16k(1_600), 640).await;
        ids.push(ended["recording"]["id"].as_str().unwrap().to_owned());
    }
    drop(c);
    let data = server.stop();
    let sidecar = data.path().join("recordings").join(format!("{}.json", ids[0]));
    let mut meta: Value = serde_json::from_slice(&std::fs::read(&sidecar).unwrap()).unwrap();
    let text = meta.to_string();
    for (key, value) in meta.as_object_mut().unwrap() {
        if key.contains("_at") {
            *value = if value.is_string() { json!("2020-01-01T00:00:00.000Z") } else { json!(1_577_836_800_000_u64) };
        }
    }
    assert_ne!(meta.to_string(), text);
    std::fs::write(&sidecar, meta.to_string()).unwrap();
    let server = TestServer::in_dir(data, |c| c.recording.retain_days = Some(30));
    let begun = Instant::now();
    while http_json(server.addr, "GET", &format!("/api/recordings/{}", ids[0])).await.0 != 404 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(http_json(server.addr, "GET", &format!("/api/recordings/{}", ids[1])).await.0, 200);
}

#[tokio::test]
async fn handshake_timeout_ms_bounds_a_request_that_comes_in_drips() {
    use tokio::io::AsyncWriteExt;
    let server = TestServer::with(|c| c.server.handshake_timeout_ms = 300);
    let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let begun = Instant::now();
    for byte in b"GET /health HTTP/1.1\r\nHost: dripping\r\nX-Slow: ".iter().cycle() {
        if s.write_all(&[*byte]).await.is_err() || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        let mut answer = [0; 64];
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(Duration::from_millis(20), s.read(&mut answer)).await {
            break;
        }
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
}
