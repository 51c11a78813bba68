//! The socket itself: hello, envelope, faults, heartbeats, limits, closing.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{TestServer, http, sine16k};

#[tokio::test]
async fn hello_comes_first_and_says_who_and_what() {
    let server = TestServer::start();
    let client = server.connect_to("/ws/kitchen?conversation_id=house").await;
    let h = &client.hello;
    assert_eq!((h["client_id"].as_str(), h["roles"][0].as_str()), (Some("kitchen"), Some("admin")));
    assert_eq!(h["limits"], json!({"max_message_bytes": 1_048_576, "max_streams": 8, "max_conversations": 32}));
    assert_eq!(h["heartbeat"], json!({"interval_ms": 30_000, "timeout_ms": 90_000}));
    assert!(h["session"]["resume_token"].as_str().unwrap().len() >= 32);
    assert!(h["timestamp"].as_str().unwrap().ends_with('Z') && h["seq"].is_null());
}

#[tokio::test]
async fn a_bad_client_id_is_refused_before_the_upgrade() {
    let server = TestServer::start();
    for path in
        ["/ws/a%2Fb", "/ws/..%2f..%2fetc", "/ws?client_id=a%0d%0ab", "/ws/%00", &format!("/ws/{}", "x".repeat(65))]
    {
        let url = format!("ws://{}{path}", server.addr);
        match tokio_tungstenite::connect_async(url).await {
            Err(tungstenite::Error::Http(r)) => {
                assert_eq!(r.status(), 400, "{path}");
                let body: serde_json::Value = serde_json::from_slice(r.body().as_ref().unwrap()).unwrap();
                assert_eq!(body["code"], "INVALID_MESSAGE");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_subprotocol_is_echoed_when_offered() {
    let server = TestServer::start();
    let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (offer, echoed) in
        [("Sec-WebSocket-Protocol: x, voxgate.v1\r\n", true), ("Sec-WebSocket-Protocol: x\r\n", false), ("", false)]
    {
        let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        s.write_all(format!("GET /ws HTTP/1.1\r\nHost: h\r\n{key}{offer}\r\n").as_bytes()).await.unwrap();
        let mut head = vec![0; 400];
        let n = s.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..n]).to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert_eq!(head.contains("sec-websocket-protocol: voxgate.v1"), echoed, "{offer}");
    }
}

#[tokio::test]
async fn messages_are_answered_with_their_id() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.send(json!({"type":"ping","id":"1","payload":"héllo"})).await;
    let pong = c.next().await;
    assert_eq!(
        (pong["type"].as_str(), pong["reply_to"].as_str(), pong["payload"].as_str()),
        (Some("pong"), Some("1"), Some("héllo"))
    );

    c.send(json!({"type":"text","id":"2","text":"hello there"})).await;
    assert_eq!(c.next().await["state"], "processing");
    let chunk = c.next().await;
    let whole = c.next().await;
    assert_eq!((chunk["type"].as_str(), chunk["text"].as_str()), (Some("response_chunk"), Some("hello there")));
    assert_eq!((whole["type"].as_str(), whole["reply_to"].as_str()), (Some("response"), Some("2")));
    assert_eq!((chunk["seq"].as_u64(), whole["seq"].as_u64()), (Some(1), Some(2)));

    c.send(json!({"type":"status_request"})).await;
    let status = c.next().await;
    assert_eq!((status["state"].as_str(), status["connections"].as_u64()), (Some("ok"), Some(1)));

    c.send(json!({"type":"connection_info_request"})).await;
    let info = c.next().await;
    assert_eq!(info["connection_id"], c.hello["connection_id"]);
    assert_eq!(info["messages_in"], 4);
    c.send(json!({"type":"get_connection_status"})).await;
    assert_eq!(c.next().await["state"], "open");
    c.send(json!({"type":"health_check"})).await;
    assert_eq!(c.next().await["status"], "healthy");
}

#[tokio::test]
async fn five_faults_in_a_row_close_with_4005() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    for code in ["INVALID_JSON", "INVALID_MESSAGE", "UNKNOWN_MESSAGE_TYPE", "INVALID_BASE64"] {
        let text = match code {
            "INVALID_JSON" => "{",
            "INVALID_MESSAGE" => "[1]",
            "UNKNOWN_MESSAGE_TYPE" => r#"{"type":"sing"}"#,
            _ => r#"{"type":"audio_data","data":"AA A"}"#,
        };
        c.send_text(text).await;
        c.expect_error(code).await;
    }
    c.send(json!({"type":"ping"})).await;
    c.expect("pong").await;
    for _ in 0..5 {
        c.send_text("{").await;
    }
    assert_eq!(c.closed().await, 4005);
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009_and_nobody_else_notices() {
    let server = TestServer::start();
    let mut other = server.connect().await;
    let mut c = server.connect().await;
    c.ws.send(Message::binary(vec![0; 1_048_577])).await.ok();
    assert_eq!(c.closed().await, 1009);
    other.send(json!({"type":"ping"})).await;
    other.expect("pong").await;
}

/// Failures.md row 7 and 5 over a bare socket.
#[tokio::test]
async fn broken_framing_closes_with_the_code_rfc_6455_gives() {
    let server = TestServer::start();
    let frames: [(&[u8], u16); 8] = [
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1002), // 2^63 bytes
        (&[0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002),                      // compressed, not negotiated
        (&[0x81, 0x01, b'x'], 1002),                                  // unmasked
        (&[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28], 1007),                // bad UTF-8
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),                            // reserved opcode
        (&[0x82, 0xfe, 0, 3, 0, 0, 0, 0, 1, 2, 3], 1002),             // three bytes, their length in two
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 1002),    // 256, in eight
        (&[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4], 1009), // a gigabyte claimed
    ];
    for (frame, code) in frames {
        let mut s = bare(&server).await;
        s.write_all(frame).await.unwrap();
        assert_eq!(close_code(&mut s).await, code, "{frame:02x?}");
    }
    let mut s = bare(&server).await;
    let mut flood = vec![0x02, 0x80, 0, 0, 0, 0];
    flood.extend([0x00, 0x80, 0, 0, 0, 0].repeat(2_000));
    s.write_all(&flood).await.unwrap();
    assert_eq!(close_code(&mut s).await, 1008, "endless empty fragments");
}

/// RFC 6455 section 4.2.1; of another version the client is told ours (section 4.4).
#[tokio::test]
async fn what_is_no_handshake_is_told_what_one_is() {
    let server = TestServer::start();
    let upgrade = "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, wanted) in [
        (format!("GET /ws HTTP/1.1\r\nHost: h\r\n{upgrade}Sec-WebSocket-Version: 13\r\n{key}\r\n"), "101"),
        (format!("GET /ws HTTP/1.1\r\nHost: h\r\n{upgrade}Sec-WebSocket-Version: 8\r\n{key}\r\n"), "426"),
        (format!("GET /ws HTTP/1.1\r\nHost: h\r\n{upgrade}{key}\r\n"), "426"),
        (format!("GET /ws HTTP/1.1\r\nHost: h\r\n{upgrade}Sec-WebSocket-Version: 13\r\n\r\n"), "400"),
        (format!("GET /ws HTTP/1.1\r\n{upgrade}Sec-WebSocket-Version: 13\r\n{key}\r\n"), "400"),
        (format!("GET /ws HTTP/1.0\r\nHost: h\r\n{upgrade}Sec-WebSocket-Version: 13\r\n{key}\r\n"), "400"),
    ] {
        let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        s.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(s.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert_eq!(&head[9..12], wanted, "{request}{head}");
        assert_eq!(wanted == "426", head.contains("sec-websocket-version: 13"), "{head}");
    }
}

/// A socket after the handshake, its hello read.
async fn bare(server: &TestServer) -> tokio::net::TcpStream {
    let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    s.write_all(format!("GET /ws HTTP/1.1\r\nHost: h\r\n{key}\r\n").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\"}") {
        seen.push(s.read_u8().await.unwrap());
    }
    s
}

/// Skips frames until a close comes.
async fn close_code(s: &mut tokio::net::TcpStream) -> u16 {
    loop {
        let (b0, b1) = (s.read_u8().await.unwrap(), s.read_u8().await.unwrap());
        let len = match b1 {
            126 => usize::from(s.read_u16().await.unwrap()),
            n => usize::from(n),
        };
        let mut payload = vec![0; len];
        s.read_exact(&mut payload).await.unwrap();
        if b0 == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// Row 6: pings are answered, but count as messages do; who goes on beyond their rate is closed, and nobody else notices.
#[tokio::test]
async fn pings_are_answered_and_a_flood_of_them_is_closed_alone() {
    let server = TestServer::start();
    let mut other = server.connect().await;
    let mut s = bare(&server).await;
    for n in 0..20u8 {
        s.write_all(&[0x89, 0x81, 0, 0, 0, 0, n]).await.unwrap();
        let mut pong = [0; 3];
        s.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0x8a, 1, n]);
    }
    for flood in [0x89, 0x8a] {
        let mut s = bare(&server).await;
        let frame = [flood, 0xfd, 0, 0, 0, 0].iter().copied().chain([7; 125]).collect::<Vec<u8>>();
        s.write_all(&frame.repeat(2_000)).await.unwrap();
        assert_eq!(close_code(&mut s).await, 4129);
    }
    other.send(json!({"type":"ping"})).await;
    other.expect("pong").await;
}

/// Row 2 and the heartbeat: a silent peer is pinged, then found dead.
#[tokio::test]
async fn a_silent_peer_is_pinged_and_then_closed_with_4108() {
    let server = TestServer::with(|c| {
        c.connections.heartbeat_interval_ms = 100;
        c.connections.heartbeat_timeout_ms = 350;
    });
    let mut s = bare(&server).await;
    let mut first = [0; 2];
    s.read_exact(&mut first).await.unwrap();
    assert_eq!(first[0], 0x81, "a ping message");
    let mut text = vec![0; usize::from(first[1])];
    s.read_exact(&mut text).await.unwrap();
    assert!(text.starts_with(br#"{"type":"ping""#));
    assert_eq!(close_code(&mut s).await, 4108);
}

/// Row 3: dripped headers end at the deadline.
#[tokio::test]
async fn a_slow_handshake_is_cut_at_its_deadline() {
    let server = TestServer::with(|c| c.server.handshake_timeout_ms = 200);
    let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    s.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nX-Drip: ").await.unwrap();
    let mut rest = Vec::new();
    s.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("101"));
}

/// Row 24 in small: who comes past the limit is told to come later; those inside work on.
#[tokio::test]
async fn past_the_connection_limit_a_socket_closes_with_1013() {
    let server = TestServer::with(|c| c.server.max_connections = 2);
    let (mut a, _b) = (server.connect().await, server.connect().await);
    let (mut third, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.addr)).await.unwrap();
    match third.next().await {
        Some(Ok(Message::Close(Some(f)))) => {
            assert_eq!(u16::from(f.code), 1013);
            assert!(f.reason.contains("retry after"), "{}", f.reason);
        }
        other => panic!("{other:?}"),
    }
    a.send(json!({"type":"ping"})).await;
    a.expect("pong").await;
}

/// Row 24: five hundred clients at once, each served or told to come back.
#[tokio::test]
async fn a_storm_of_clients_is_served() {
    let server = TestServer::with(|c| c.server.max_connections = 300);
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let url = format!("ws://{}/ws", server.addr);
        storm.spawn(async move {
            let (mut ws, _) = tokio_tungstenite::connect_async(url).await.ok()?;
            match ws.next().await {
                Some(Ok(Message::Text(_))) => Some((true, ws)),
                Some(Ok(Message::Close(_))) => Some((false, ws)),
                _ => None,
            }
        });
    }
    let all: Vec<_> = storm.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.iter().filter(|(served, _)| *served).count(), 300);
    assert!(all.iter().any(|(served, _)| !served));
}

/// Row 23.
#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let server = TestServer::with(|c| c.server.allowed_origins = vec!["https://app.example.com".into()]);
    for (origin, status) in [("https://app.example.com", 200), ("https://evil.example.com", 403), ("null", 403)] {
        let (got, _, _) = http(server.addr, "GET", "/health", &format!("Origin: {origin}\r\n"), b"").await;
        assert_eq!(got, status, "{origin}");
    }
}

#[tokio::test]
async fn draining_tells_everyone_and_waits_for_streams() {
    let server = TestServer::start();
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.start(json!({"encoding":"pcm_s16le","sample_rate":16000,"channels":1})).await;
    busy.send_binary(&sine16k(16_000)).await;
    server.drain();
    assert_eq!(idle.expect("status_update").await["state"], "draining");
    assert_eq!(idle.closed().await, 4202);
    assert_eq!(busy.expect("status_update").await["state"], "draining");
    let ended = busy.end().await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(16_000)));
    assert_eq!(busy.closed().await, 4202);
    server.stop();
}

#[tokio::test]
async fn at_the_drain_deadline_streams_end_with_drained() {
    let server = TestServer::with(|c| c.server.drain_ms = 300);
    let mut c = server.connect().await;
    c.start(json!({"encoding":"pcm_s16le","sample_rate":16000,"channels":1})).await;
    c.send_binary(&sine16k(1_600)).await;
    server.drain();
    let ended = c.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("drained"), Some(1_600)));
    assert_eq!(c.closed().await, 4202);
    server.stop();
}
