//! `voxgate replay` over a network that cuts: it resumes by itself and the recording is the undisturbed one (failures.md row 18).

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use voxgate::audio::{Encoding, StreamFormat};
use voxgate::client::pace::{Pace, Speed};
use voxgate::client::replay::{Carriage, Plan, Progress, replay};
use voxgate::client::{ClientError, WsUrl};

use crate::support::proxy::{Cut, CuttingProxy};
use crate::support::{TestServer, fixture, http_json, samples, sine16k};

fn plan(bytes: &[u8], format: StreamFormat, carriage: Carriage, pace: Pace) -> Plan {
    Plan { bytes: bytes.into(), format, carriage, pace, record: true, conversation_id: None }
}

fn pcm() -> StreamFormat {
    StreamFormat::new(Encoding::PcmS16le, Some(16_000), Some(1)).unwrap()
}

fn recording(server: &TestServer, id: &str) -> Vec<i16> {
    hound::WavReader::open(server.recording_path(id)).unwrap().samples().map(Result::unwrap).collect()
}

/// Cuts in the handshake, in hello, in the stream at odd bytes, and in what the server answers.
fn cuts(n: usize) -> Cut {
    match n {
        0 => Cut::up(20_011),
        1 => Cut::up(100),
        2 => Cut::down(400),
        3 => Cut::up(9_007),
        4 => Cut::down(1_300),
        5 => Cut::up(33_333),
        _ => Cut::NEVER,
    }
}

#[tokio::test]
async fn a_dropped_socket_is_resumed_and_not_a_byte_is_lost_or_doubled() {
    let server = TestServer::start();
    let sine = sine16k(80_000);
    let webm = fixture("recorders/chromium-opus.webm");
    let flac = fixture("audio/studio48.flac");
    let auto = StreamFormat::AUTO;
    for (name, bytes, format, carriage) in [
        ("pcm", &sine, pcm(), Carriage::Binary),
        ("base64", &sine, pcm(), Carriage::Base64),
        ("webm", &webm, auto, Carriage::Binary),
        ("flac", &flac, auto, Carriage::Base64),
    ] {
        let proxy = CuttingProxy::start(server.addr, cuts).await;
        let pace = Pace::timed(bytes.len() as u64, 1_000, 20, 1, Speed::Times(1.0));
        let plan = plan(bytes, format, carriage, pace);
        let whole = replay(&WsUrl::of(server.addr), None, &plan, &mut |_| {}).await.unwrap();
        assert_eq!(whole.reconnected, 0, "{name}");
        let mut last = Progress::default();
        let cut = replay(&WsUrl::of(proxy.addr), None, &plan, &mut |p| last = p).await.unwrap();
        assert!(cut.is_complete() && cut.reconnected >= 3, "{name}: {cut:?}");
        assert_eq!((last.reconnected, last.acked_bytes), (cut.reconnected, bytes.len() as u64), "{name}");
        let (whole, cut) = (whole.ended.recording.unwrap(), cut.ended.recording.unwrap());
        assert_eq!(whole.sha256, cut.sha256, "{name}");
        assert!(recording(&server, &whole.id) == recording(&server, &cut.id), "{name}");
        assert!(proxy.accepted() > 3, "{name}");
    }
}

/// The last words are lost on the way back: the end is told again, and the stream is not ended twice.
#[tokio::test]
async fn an_end_that_was_not_heard_is_told_again() {
    let server = TestServer::start();
    let sine = sine16k(16_000);
    // Somewhere behind `audio_started` the way back is cut: byte by byte through what comes with the end.
    for down in (700..2_200).step_by(125) {
        let proxy = CuttingProxy::start(server.addr, move |n| if n == 0 { Cut::down(down) } else { Cut::NEVER }).await;
        let plan = plan(&sine, pcm(), Carriage::Binary, Pace::at_once(sine.len() as u64, 3_200));
        let sent = replay(&WsUrl::of(proxy.addr), None, &plan, &mut |_| {}).await.unwrap();
        assert!(sent.is_complete(), "cut at {down}: {sent:?}");
        assert!(recording(&server, &sent.ended.recording.unwrap().id) == samples(&sine), "cut at {down}");
    }
}

#[tokio::test]
async fn a_session_that_is_over_is_told_plainly() {
    let server = TestServer::with(|c| c.session.resume_window_ms = 1_000);
    let sine = sine16k(160_000);
    let pace = Pace::timed(sine.len() as u64, 10_000, 20, 2, Speed::Times(1.0));
    let plan = plan(&sine, pcm(), Carriage::Binary, pace);
    // The token is another: as after a restart of the server.
    let other = TestServer::start();
    let addresses = Arc::new(Mutex::new(vec![other.addr, server.addr]));
    let proxy = switching(addresses).await;
    let error = replay(&WsUrl::of(proxy), None, &plan, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::NotResumed { .. }), "{error}");
    assert!(error.to_string().contains("could not be resumed: RESUME_FAILED"), "{error}");
}

/// Sends the first connection to the last address, cut after a while, and the next to the one before.
async fn switching(addresses: Arc<Mutex<Vec<std::net::SocketAddr>>>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let Some(to) = addresses.lock().unwrap().pop() else { return };
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                let both = tokio::io::copy_bidirectional(&mut client, &mut server);
                let _ = tokio::time::timeout(std::time::Duration::from_millis(300), both).await;
            });
        }
    });
    addr
}

/// An administrator cut it off (4010): it does not come back.
#[tokio::test]
async fn who_was_sent_away_stays_away() {
    let server = TestServer::start();
    let sine = sine16k(160_000);
    let pace = Pace::timed(sine.len() as u64, 10_000, 20, 2, Speed::Times(1.0));
    let plan = plan(&sine, pcm(), Carriage::Binary, pace);
    let url = WsUrl::of(server.addr);
    let mut on_progress = |_: Progress| ();
    let sending = replay(&url, None, &plan, &mut on_progress);
    let cutting = async {
        loop {
            let (_, list) = http_json(server.addr, "GET", "/api/connections").await;
            let Some(id) = list["items"][0]["connection_id"].as_str() else { continue };
            return http_json(server.addr, "DELETE", &format!("/api/connections/{id}")).await.0;
        }
    };
    let (sent, status) = tokio::join!(sending, cutting);
    assert!((200..300).contains(&status), "{status}");
    assert!(matches!(sent, Err(ClientError::Closed { code: 4010, .. })), "{sent:?}");
    // The one that was sent away ends by and by; it is the only one there ever was.
    crate::limits::wait_for(&server, 0).await;
}

/// The command itself: exit code, and what it says.
#[tokio::test]
async fn the_command_says_how_often_it_came_back() {
    let server = TestServer::start();
    let proxy = CuttingProxy::start(server.addr, |n| if n < 2 { Cut::up(30_000) } else { Cut::NEVER }).await;
    let path = server.data.path().join("sent.wav");
    std::fs::write(&path, fixture("audio/studio48.wav")).unwrap();
    let url = format!("ws://{}/ws", proxy.addr);
    let child = Command::new(env!("CARGO_BIN_EXE_voxgate"))
        .args(["replay", path.to_str().unwrap(), "--url", &url, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["ok"], &line["reconnected"]), (&json!(true), &json!(2)), "{line}");
    assert!(told.contains("reconnected 2×"), "{told}");
}
