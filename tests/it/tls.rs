//! TLS: HTTP and the WebSocket over it, resuming over it, a certificate renewed under way, what goes wrong on it, the clients' own.

use std::process::{Command, Output};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use voxgate::app::{AppError, Server};
use voxgate::config::Config;
use voxgate::websocket::{OpCode, encode_masked};

use crate::support::certs::{Certs, TlsClient};
use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, fixture, sine16k};

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

async fn get(client: &TlsClient, server: &TestServer, path: &str) -> String {
    let mut s = client.shake(server.addr).await.unwrap();
    s.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut all = Vec::new();
    s.read_to_end(&mut all).await.expect("an orderly end, with TLS's goodbye");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn http_and_the_websocket_are_spoken_over_tls() {
    let certs = Certs::new();
    let server = TestServer::with(|c| certs.configure(c));
    let client = certs.client();
    let health = get(&client, &server, "/health").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("healthy"), "{health}");
    let mut c = client.connect(server.addr).await;
    let pcm = sine16k(48_000);
    let ended = c.stream(pcm16k(), &pcm, 4_000).await;
    let kept: Vec<u8> = server.recording(&ended).1.iter().flat_map(|s| s.to_le_bytes()).collect();
    assert!(kept == pcm);
    c.close().await;
}

/// Row 18, over TLS: the encrypted state goes from one worker to another with the socket.
#[tokio::test]
async fn a_session_is_resumed_over_tls_without_a_sample_lost() {
    let certs = Certs::new();
    let server = TestServer::with(|c| certs.configure(c));
    let client = certs.client();
    let bytes = fixture("recorders/chromium-opus.webm");
    let format = json!({"encoding": "webm"});
    let mut c = client.connect(server.addr).await;
    let undisturbed = c.stream(format.clone(), &bytes, 4_000).await;
    let mut c = client.connect(server.addr).await;
    let (session, mut token) = (c.hello["session"]["id"].clone(), c.hello["session"]["resume_token"].clone());
    c.start_with(json!({"format": format, "ack_ms": 0})).await;
    let (mut at, piece) = (0, bytes.len() / 30);
    for n in 0..20 {
        let mut frame = Vec::new();
        encode_masked(&mut frame, OpCode::Binary, &bytes[at..at + piece], [1, 2, 3, 4]);
        let cut = (n * 7_919) % (frame.len() + 1);
        c.ws.get_mut().write_all(&frame[..cut]).await.unwrap();
        c.ws.get_mut().flush().await.unwrap();
        drop(c);
        c = client.connect(server.addr).await;
        // The resume and what follows it come in one record: what TLS has read already goes over too.
        let resume = json!({"type": "resume", "session_id": session, "resume_token": token});
        let mut all = Vec::new();
        encode_masked(&mut all, OpCode::Text, resume.to_string().as_bytes(), [0; 4]);
        encode_masked(&mut all, OpCode::Text, br#"{"type":"ping"}"#, [0; 4]);
        c.ws.get_mut().write_all(&all).await.unwrap();
        c.ws.get_mut().flush().await.unwrap();
        let resumed = c.expect("resumed").await;
        c.expect("pong").await;
        token = resumed["session"]["resume_token"].clone();
        at = resumed["streams"][0]["received_bytes"].as_u64().unwrap() as usize;
    }
    assert!(at < bytes.len());
    c.send_binary(&bytes[at..]).await;
    let ended = c.end().await;
    assert_eq!(ended["recording"]["sha256"], undisturbed["recording"]["sha256"]);
}

#[tokio::test]
async fn a_slow_reader_over_tls_gets_everything_once_it_reads() {
    let certs = Certs::new();
    let server = TestServer::with(|c| {
        certs.configure(c);
        c.limits.messages_per_s = 1_000_000;
    });
    let Client { ws, .. } = certs.client().connect(server.addr).await;
    let (mut out, mut into) = ws.split();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    const MESSAGES: usize = 200_000;
    let sender = tokio::spawn({
        let sent = sent.clone();
        async move {
            for n in 0..MESSAGES {
                out.send(Message::text(format!(r#"{{"type":"ping","id":"{n}"}}"#))).await.unwrap();
                sent.store(n, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    // It reads nothing until the server, whose answers nobody takes, has stopped reading too.
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    assert!(before < MESSAGES - 1, "the server has to stop reading");
    let mut n = 0;
    while n < MESSAGES {
        if let Message::Text(t) = into.next().await.unwrap().unwrap() {
            let m: Value = serde_json::from_str(&t).unwrap();
            assert_eq!((&m["type"], &m["reply_to"]), (&json!("pong"), &json!(n.to_string())));
            n += 1;
        }
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_bad_one_is_not() {
    let certs = Certs::new();
    let server = TestServer::with(|c| certs.configure(c));
    let old = certs.client();
    let mut c = old.connect(server.addr).await;
    // A certificate whose key is another's, and what is no certificate: the old one goes on being used. That the files were looked
    // at meanwhile shows when the good pair after them is taken up.
    let (key, cert) = (std::fs::read(certs.key()).unwrap(), std::fs::read(certs.cert()).unwrap());
    certs.renew();
    std::fs::write(certs.key(), key).unwrap();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        old.shake(server.addr).await.unwrap();
    }
    std::fs::write(certs.cert(), "no certificate").unwrap();
    std::fs::remove_file(certs.key()).unwrap();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        old.shake(server.addr).await.unwrap();
    }
    certs.renew();
    let new = certs.client();
    while let Err(e) = new.shake(server.addr).await {
        assert!(e.to_string().contains("invalid peer certificate"), "{e}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(old.shake(server.addr).await.is_err());
    assert_ne!(cert, std::fs::read(certs.cert()).unwrap());
    c.send(json!({"type": "ping"})).await;
    c.expect("pong").await; // who was connected stays
    new.connect(server.addr).await.close().await;
}

/// Row 3, below HTTP.
#[tokio::test]
async fn a_tls_handshake_that_takes_too_long_is_cut() {
    let certs = Certs::new();
    let server = TestServer::with(|c| {
        certs.configure(c);
        c.server.handshake_timeout_ms = 300;
    });
    let begun = std::time::Instant::now();
    // One says nothing, one begins a ClientHello and stops, one shakes hands and never asks.
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    let mut half = TcpStream::connect(server.addr).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let mut idle = certs.client().shake(server.addr).await.unwrap();
    let mut bytes = Vec::new();
    let _ = silent.read_to_end(&mut bytes).await;
    let _ = half.read_to_end(&mut bytes).await;
    let _ = idle.read_to_end(&mut bytes).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    // Plain HTTP is no handshake; nobody else is hurt by any of it.
    let mut plain = TcpStream::connect(server.addr).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    bytes.clear();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"));
    certs.client().connect(server.addr).await.close().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let (certs, other) = (Certs::new(), Certs::new());
    let nothing = certs.ca().with_file_name("nothing.pem");
    std::fs::write(&nothing, "no PEM here").unwrap();
    for (cert, key, says) in [
        (nothing.clone(), certs.key(), "server.tls_cert: "),
        (certs.cert(), nothing, "server.tls_key: "),
        (certs.cert(), other.key(), "KeyMismatch"),
        (certs.cert(), certs.cert(), "server.tls_key: "),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.bind = ([127, 0, 0, 1], 0).into();
        config.server.data_dir = dir.path().to_owned();
        config.server.tls_cert = Some(cert);
        config.server.tls_key = Some(key);
        let refused = Server::start(config).err().unwrap();
        assert!(matches!(refused, AppError::Tls(_)), "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
    }
    let voxgate = |key: &str| {
        let dir = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_voxgate"))
            .args(["serve", "--bind", "127.0.0.1:0"])
            .env("VOXGATE__SERVER__TLS_CERT", certs.cert())
            .env("VOXGATE__SERVER__TLS_KEY", key)
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    let refused = voxgate(other.key().to_str().unwrap());
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("KeyMismatch"), "{}", told(&refused));
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_projects_own_clients_speak_tls() {
    let (certs, other, data) = (Certs::new(), Certs::new(), tempfile::tempdir().unwrap());
    let (cert, key) = (certs.cert(), certs.key());
    let settings =
        [("VOXGATE__SERVER__TLS_CERT", cert.to_str().unwrap()), ("VOXGATE__SERVER__TLS_KEY", key.to_str().unwrap())];
    let server = ServerProcess::start(data.path(), &settings);
    assert_eq!(server.scheme, "https");
    let url = format!("wss://{}/ws", server.addr);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/recorders/firefox-opus.ogg");
    let run = |arguments: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_voxgate")).args(arguments).current_dir(dir.path()).output().unwrap()
    };
    let ca = certs.ca();
    let ca = ca.to_str().unwrap();
    let sent = run(&["replay", file, "--url", &url, "--speed", "max", "--ca", ca]);
    assert!(sent.status.success(), "{}", told(&sent));
    let table = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(table.contains(&format!("https://{}/api/recordings/", server.addr)), "{table}");
    let loaded = run(&["bench", "--url", &url, "--ca", ca, "--streams", "8", "--seconds", "1", "--json"]);
    assert!(loaded.status.success(), "{}", told(&loaded));
    let report: Value = serde_json::from_slice(&loaded.stdout).unwrap();
    assert_eq!((&report["lost"], &report["streams"]), (&json!(0), &json!(8)));
    let flood =
        run(&["bench", "--url", &url, "--ca", ca, "--streams", "2", "--seconds", "1", "--speed", "max", "--json"]);
    assert!(flood.status.success(), "{}", told(&flood));
    for authority in [None, Some(other.ca())] {
        let mut arguments = vec!["replay", file, "--url", &url];
        let authority = authority.map(|a| a.to_str().unwrap().to_owned());
        arguments.extend(authority.iter().flat_map(|a| ["--ca", a]));
        let refused = run(&arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains("certificate"), "{}", told(&refused));
    }
    let misplaced = run(&["replay", file, "--ca", ca]);
    assert_eq!(misplaced.status.code(), Some(2), "{}", told(&misplaced));
}
