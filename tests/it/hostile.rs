//! What a client can do to the server on purpose, each beside an ordinary speaker who must not notice. The rows are those of the failure
//! table.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use voxgate::websocket::{OpCode, encode_masked};

use crate::support::ordinary::Ordinary;
use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, http_json, sine16k};

const UPGRADE: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

/// Until the server has given the socket up and keeps the session for another.
async fn until_recovering(server: &TestServer, hello: &Value) {
    let path = format!("/api/sessions/{}", hello["session"]["id"].as_str().unwrap());
    let begun = Instant::now();
    while http_json(server.addr, "GET", &path).await.1["state"] != "recovering" {
        assert!(begun.elapsed() < Duration::from_secs(10), "the socket was not given up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn resume(server: &TestServer, hello: &Value, last_seq: Value) -> (Client, Value) {
    let mut c = server.connect().await;
    c.send(json!({"type": "resume", "session_id": hello["session"]["id"],
        "resume_token": hello["session"]["resume_token"], "last_seq": last_seq}))
        .await;
    let resumed = c.expect("resumed").await;
    (c, resumed)
}

/// Row 1: who leaves too many messages unread is closed with 4111 and may come back; the others get all of them.
#[tokio::test]
async fn who_reads_no_messages_is_closed_with_4111_and_nobody_else_notices() {
    const MESSAGES: u64 = 600;
    let server = TestServer::with(|c| {
        c.limits.messages_per_s = 100_000;
        c.connections.queue_messages = 30;
    });
    let ordinary = Ordinary::start(server.addr).await;
    let mut slow = Client::narrow(server.addr, "/ws/slow?conversation_id=house").await;
    let mut quick = server.connect_to("/ws/quick?conversation_id=house").await;
    let mut speaker = server.connect_to("/ws/speaker?conversation_id=house").await;
    for c in [&mut slow, &mut quick, &mut speaker] {
        c.expect("conversation_joined").await;
    }
    let long = "x".repeat(12 << 10);
    for n in 0..MESSAGES {
        speaker.send(json!({"type": "message", "conversation_id": "house", "content": {"n": n, "x": long}})).await;
        speaker.expect("message_accepted").await;
        assert_eq!(quick.expect("message").await["content"]["n"], n);
    }
    until_recovering(&server, &slow.hello).await;
    let mut last_seq = 0;
    let code = loop {
        use futures_util::StreamExt;
        use tokio_tungstenite::tungstenite::Message;
        match slow.ws.next().await {
            Some(Ok(Message::Text(text))) => {
                last_seq = serde_json::from_str::<Value>(&text).unwrap()["seq"].as_u64().unwrap_or(last_seq);
            }
            Some(Ok(Message::Close(frame))) => break frame.map(|f| u16::from(f.code)),
            Some(Ok(_)) => {}
            // The server waits two seconds for a close to be taken; what lay in the socket can still be read.
            Some(Err(_)) | None => break None,
        }
    };
    assert!(matches!(code, Some(4111) | None), "{code:?}");
    let (mut slow, resumed) = resume(&server, &slow.hello, json!(last_seq)).await;
    let (replayed, missed) = (resumed["replayed"].as_u64().unwrap(), resumed["missed"].as_u64().unwrap());
    assert!(missed > 0, "what was thrown away is counted: {resumed}");
    let mut seq = last_seq;
    for _ in 0..replayed {
        let next = slow.next().await["seq"].as_u64().unwrap();
        assert!(next > seq, "{next} after {seq}");
        seq = next;
    }
    speaker.send(json!({"type": "message", "conversation_id": "house", "content": "and now"})).await;
    let m = slow.expect("message").await;
    assert_eq!(
        (&m["content"], m["seq"].as_u64()),
        (&json!("and now"), Some(last_seq + missed + replayed + 1)),
        "no hole but those that were told"
    );
    ordinary.was_not_disturbed(&server).await;
}

/// Row 1, the other side of it: the store takes a burst in one group and tells of it at once. Who reads is not slow for that.
#[tokio::test]
async fn a_burst_that_comes_at_once_closes_nobody_who_reads() {
    const BURST: usize = 195; // of the 200 that may be said at once, a join before them
    let server = TestServer::start();
    let mut speaker = server.connect_to("/ws/speaker?conversation_id=house").await;
    let mut member = server.connect_to("/ws/member?conversation_id=house").await;
    for c in [&mut speaker, &mut member] {
        c.expect("conversation_joined").await;
    }
    let mut burst = Vec::new();
    for n in 0..BURST {
        let message = json!({"type": "message", "conversation_id": "house", "content": n}).to_string();
        encode_masked(&mut burst, OpCode::Text, message.as_bytes(), [0; 4]);
    }
    speaker.ws.get_mut().write_all(&burst).await.unwrap();
    for n in 0..BURST {
        assert_eq!(member.expect("message").await["content"], n);
        speaker.expect("message_accepted").await;
    }
}

/// Row 2: a peer that takes no byte, though it sends. The blocked write is found; the session stays resumable.
#[tokio::test]
async fn a_blocked_write_is_found_and_the_session_stays_resumable() {
    let server = TestServer::with(|c| {
        c.limits.messages_per_s = 1_000_000;
        c.connections.heartbeat_interval_ms = 200;
        c.connections.heartbeat_timeout_ms = 700;
    });
    let ordinary = Ordinary::start(server.addr).await;
    let mut stuck = Client::narrow(server.addr, "/ws").await;
    stuck.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    stuck.send_binary(&sine16k(8_000)).await;
    stuck.send(json!({"type": "audio_flush"})).await;
    stuck.expect("audio_received").await;
    let mut ping = Vec::new();
    let text = json!({"type": "ping", "payload": "x".repeat(125)}).to_string();
    (0..200).for_each(|_| encode_masked(&mut ping, OpCode::Text, text.as_bytes(), [0; 4]));
    // Goes on until the server, whose answers nobody takes, reads no more.
    while tokio::time::timeout(Duration::from_millis(300), stuck.ws.get_mut().write_all(&ping)).await.is_ok() {}
    until_recovering(&server, &stuck.hello).await;
    let (mut c, resumed) = resume(&server, &stuck.hello, Value::Null).await;
    assert_eq!(resumed["streams"][0]["received_bytes"], 16_000);
    c.send_binary(&sine16k(8_000)).await;
    let ended = c.end().await;
    assert_eq!((&ended["reason"], &ended["output_samples"]), (&json!("end"), &json!(16_000)));
    ordinary.was_not_disturbed(&server).await;
}

/// Row 3: two hundred handshakes a byte at a time.
#[tokio::test]
async fn dripped_headers_are_cut_at_their_deadline_and_hold_up_nobody() {
    let server = TestServer::with(|c| c.server.handshake_timeout_ms = 600);
    let ordinary = Ordinary::start(server.addr).await;
    let mut dripping = JoinSet::new();
    for n in 0..200u64 {
        let mut s = TcpStream::connect(server.addr).await.unwrap();
        dripping.spawn(async move {
            let begun = Instant::now();
            let head = format!("GET /ws HTTP/1.1\r\n{UPGRADE}X-Drip: {}", "x".repeat(4_000));
            for byte in head.bytes() {
                if s.write_all(&[byte]).await.is_err() {
                    break;
                }
                let mut answer = [0; 512];
                match tokio::time::timeout(Duration::from_millis(20 + n % 20), s.read(&mut answer)).await {
                    Err(_) => {}
                    Ok(Ok(got)) if got > 0 => {
                        assert!(!answer.starts_with(b"HTTP/1.1 101"));
                    }
                    Ok(_) => break,
                }
            }
            begun.elapsed()
        });
    }
    server.connect().await; // beside them one comes in at once
    for took in dripping.join_all().await {
        assert!(took < Duration::from_secs(5), "cut after {took:?}");
    }
    ordinary.was_not_disturbed(&server).await;
}

/// A socket after the handshake, its hello read.
async fn bare(server: &TestServer) -> TcpStream {
    let mut s = TcpStream::connect(server.addr).await.unwrap();
    s.write_all(format!("GET /ws HTTP/1.1\r\n{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\"}") {
        seen.push(s.read_u8().await.unwrap());
    }
    s
}

/// Reads to the end; the code of the close frame, which is the last.
async fn last_close(mut s: TcpStream) -> Option<u16> {
    let mut all = Vec::new();
    let _ = s.read_to_end(&mut all).await;
    let at = memchr::memmem::rfind(&all, &[0x88])?;
    Some(u16::from_be_bytes([*all.get(at + 2)?, *all.get(at + 3)?]))
}

/// Row 5: tiny, empty and endless fragments, from fifty sockets at once.
#[tokio::test]
async fn floods_of_fragments_are_closed_and_hold_up_nobody() {
    let server = TestServer::start();
    let ordinary = Ordinary::start(server.addr).await;
    let mut floods = JoinSet::new();
    for n in 0..50usize {
        let mut s = bare(&server).await;
        floods.spawn(async move {
            let first = [[0x01, 0x80, 0, 0, 0, 0], [0x02, 0x80, 0, 0, 0, 0]][n % 2];
            let fragment: &[u8] = if n % 4 < 2 { &[0x00, 0x80, 0, 0, 0, 0] } else { &[0x00, 0x81, 0, 0, 0, 0, b'x'] };
            let flood = [&first[..], &fragment.repeat(1_100)].concat();
            let _ = s.write_all(&flood).await;
            last_close(s).await
        });
    }
    for code in floods.join_all().await {
        assert!(matches!(code, Some(1008) | None), "{code:?}"); // none where the reset overtook it
    }
    ordinary.was_not_disturbed(&server).await;
}

/// Row 5: fragments that come slowly, for ever.
#[tokio::test]
async fn a_message_that_never_ends_is_closed_after_ten_seconds() {
    let server = TestServer::start();
    let ordinary = Ordinary::start(server.addr).await;
    let mut s = bare(&server).await;
    let begun = Instant::now();
    s.write_all(&[0x02, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    while s.write_all(&[0x00, 0x81, 0, 0, 0, 0, b'x']).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        let mut answer = [0; 256];
        match tokio::time::timeout(Duration::from_millis(200), s.read(&mut answer)).await {
            Err(_) => {}
            Ok(read) => {
                assert_eq!((read.unwrap() > 4, answer[0], &answer[2..4]), (true, 0x88, &1008u16.to_be_bytes()[..]));
                break;
            }
        }
    }
    assert!((9..=13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    ordinary.was_not_disturbed(&server).await;
}

/// Row 6: ten sockets send nothing but pings and read nothing. No queue of pongs grows behind them.
#[tokio::test]
async fn ping_floods_hold_up_nobody_and_fill_no_memory() {
    let server = TestServer::start();
    let ordinary = Ordinary::start(server.addr).await;
    let ping = [0x89, 0xfd, 0, 0, 0, 0].iter().copied().chain([7; 125]).collect::<Vec<u8>>().repeat(100);
    let mut floods = JoinSet::new();
    for _ in 0..10 {
        let mut s = bare(&server).await;
        let ping = ping.clone();
        floods.spawn(async move {
            let begun = Instant::now();
            let mut sent = 0u64;
            while begun.elapsed() < Duration::from_secs(1) {
                let write = s.write_all(&ping);
                match tokio::time::timeout(Duration::from_millis(200), write).await {
                    Ok(Ok(())) => sent += 100,
                    _ => break,
                }
            }
            (s, sent)
        });
    }
    let floods = floods.join_all().await;
    assert!(floods.iter().map(|(_, sent)| sent).sum::<u64>() > 5_000);
    drop(floods);
    ordinary.was_not_disturbed(&server).await;
}

/// Row 8: one error each, the socket stays; the depth is looked at before anything is parsed.
#[tokio::test]
async fn huge_and_deeply_nested_json_is_refused_before_it_is_parsed() {
    let server = TestServer::start();
    let ordinary = Ordinary::start(server.addr).await;
    let mut c = server.connect().await;
    let depth = 400_000;
    for (text, code) in [
        (format!("{}{}", "[".repeat(depth), "]".repeat(depth)), "INVALID_JSON"),
        ("{\"a\":".repeat(depth / 4), "INVALID_JSON"),
        (format!("{{\"type\":\"ping\",\"x\":{}1{}}}", "[".repeat(40), "]".repeat(40)), "INVALID_JSON"),
        (json!({"type": "broadcast_request", "content": "x".repeat(17 << 10)}).to_string(), "MESSAGE_TOO_LARGE"),
    ] {
        let begun = Instant::now();
        c.send_text(&text).await;
        c.expect_error(code).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    c.send(json!({"type": "ping"})).await;
    c.expect("pong").await;
    ordinary.was_not_disturbed(&server).await;
}

/// Row 24 in small: three hundred clients lose their sockets and come back at once, to their sessions and streams.
#[tokio::test]
async fn a_storm_of_clients_that_come_back_finds_its_sessions() {
    const CLIENTS: usize = 300;
    let server = TestServer::start();
    let ordinary = Ordinary::start(server.addr).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut c = server.connect().await;
        c.start_with(json!({"format": pcm16k(), "record": false, "ack_ms": 0})).await;
        c.send_binary(&[0; 640]).await;
        c.send(json!({"type": "audio_flush"})).await;
        c.expect("audio_received").await;
        clients.push(c.hello.clone());
        drop(c);
    }
    let mut storm = JoinSet::new();
    for hello in clients {
        let addr = server.addr;
        storm.spawn(async move {
            let mut c = Client::to(addr, "/ws").await;
            c.send(json!({"type": "resume", "session_id": hello["session"]["id"],
                "resume_token": hello["session"]["resume_token"]}))
                .await;
            let resumed = c.expect("resumed").await;
            assert_eq!(resumed["streams"][0]["received_bytes"], 640);
            c.send_binary(&[0; 640]).await;
            c.end().await["output_samples"].as_u64()
        });
    }
    let ends = storm.join_all().await;
    assert_eq!(ends, vec![Some(640); CLIENTS]);
    ordinary.was_not_disturbed(&server).await;
}

/// Row 29, the process itself: SIGTERM with a stream open.
#[tokio::test]
async fn sigterm_waits_for_streams_and_exits_with_0() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &[]);
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    let started = busy.start(pcm16k()).await;
    busy.send_binary(&sine16k(8_000)).await;
    server.terminate();
    assert_eq!(idle.expect("status_update").await["state"], "draining");
    assert_eq!(idle.closed().await, 4202);
    // The acceptor hears of it on a thread of its own.
    let refused = async { while TcpStream::connect(server.addr).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("nobody is accepted any more");
    busy.send_binary(&sine16k(8_000)).await;
    let ended = busy.end().await;
    assert_eq!((&ended["reason"], &ended["output_samples"]), (&json!("end"), &json!(16_000)));
    assert_eq!(busy.closed().await, 4202);
    drop((idle, busy));
    assert_eq!(server.exit_code().await, Some(0));
    let id = started["recording_id"].as_str().unwrap();
    let wav = hound::WavReader::open(data.path().join(format!("recordings/{id}.wav"))).unwrap();
    assert_eq!(wav.len(), 16_000);
}
