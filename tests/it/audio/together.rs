//! What the voice path is for: a browser, a phone, a telephone and a studio at once through one server, each the right WAV.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::ServerProcess;
use crate::support::sound::{difference_at_16k_db, expected, recorder_cuts, studio};
use crate::support::{Client, TestServer, fixture};

/// What is sent, and what must be heard at 16 kHz mono.
struct Sender {
    path: &'static str,
    format: Value,
    sent: Vec<i16>,
    rate_hz: u32,
    channels: usize,
    frames: usize,
    bound_db: f64,
    cutoff_hz: f64,
}

fn senders() -> Vec<Sender> {
    let telephone = expected("phone8-mulaw.wav");
    let sender = |path, format, sent: Vec<i16>, (rate_hz, channels, frames), bound_db, cutoff_hz| Sender {
        path,
        format,
        sent,
        rate_hz,
        channels,
        frames,
        bound_db,
        cutoff_hz,
    };
    // 40 µs late by libopus itself: see the SILK cases of `encodings`.
    let browser = [vec![0; 2], expected("chromium-opus.webm")].concat();
    vec![
        sender("recorders/chromium-opus.webm", json!({"encoding": "webm"}), browser, (48_000, 1, 100_800), -25.0, 6_300.0),
        sender("audio/frag-aac.mp4", json!({"encoding": "mp4"}), expected("frag-aac.mp4"), (48_000, 2, 24_341), -60.0, 6_300.0),
        sender(
            "audio/phone8.mulaw",
            json!({"encoding": "mulaw", "sample_rate": 8_000, "channels": 1}),
            telephone,
            (8_000, 1, 24_000),
            -60.0,
            3_000.0,
        ),
        sender("audio/studio48.wav", json!({"encoding": "wav"}), studio(), (48_000, 2, 24_000), -60.0, 6_300.0),
    ]
}

/// Streams it in the recorder's chunks, or in as many as there are fiftieths of a second; `pace` apart.
async fn stream(mut c: Client, format: Value, path: &str, bytes: &[u8], ms: u64, paced: bool) -> Value {
    let pieces = match path.strip_prefix("recorders/") {
        Some(name) => recorder_cuts(name, bytes),
        None => bytes.chunks(bytes.len().div_ceil(ms as usize / 20)).collect(),
    };
    c.start(format).await;
    let mut clock = tokio::time::interval(Duration::from_millis(ms) / pieces.len() as u32);
    for piece in pieces {
        if paced {
            clock.tick().await;
        }
        c.send_binary(piece).await;
    }
    c.end().await
}

async fn all_at_once(paced: bool, rounds: usize) {
    let server = TestServer::start();
    let mut tasks = tokio::task::JoinSet::new();
    for at in (0..4).cycle().take(4 * rounds) {
        let c = server.connect().await;
        let Sender { path, format, .. } = senders().swap_remove(at);
        tasks.spawn(async move { (at, stream(c, format, path, &fixture(path), 1_500, paced).await) });
    }
    let senders = senders();
    while let Some(done) = tasks.join_next().await {
        let (at, ended) = done.unwrap();
        let s = &senders[at];
        assert_eq!((ended["reason"].as_str(), ended["warnings"].as_u64()), (Some("end"), Some(0)), "{}", s.path);
        assert_eq!(ended["received_bytes"], fixture(s.path).len());
        let (spec, recorded) = server.recording(&ended);
        assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (16_000, 1, 16));
        assert_eq!(recorded.len(), s.frames, "{}", s.path);
        let whole = recorded.len().min(s.sent.len() / s.channels * 16_000 / s.rate_hz as usize);
        let db = difference_at_16k_db(&recorded[..whole], &s.sent, s.rate_hz, s.channels, s.cutoff_hz);
        assert!(db <= s.bound_db, "{}: {db:.1} dB", s.path);
    }
}

#[tokio::test]
async fn a_browser_a_phone_a_telephone_and_a_studio_stream_in_real_time() {
    all_at_once(true, 1).await;
}

#[tokio::test]
async fn a_browser_a_phone_a_telephone_and_a_studio_stream_as_fast_as_they_can() {
    all_at_once(false, 2).await;
}

/// A thousand compressed streams must not mean a thousand threads: two hundred mean none.
#[tokio::test]
async fn compressed_streams_need_no_threads() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let files: Vec<(&str, Vec<u8>)> = [
        ("webm", "recorders/chromium-opus.webm"),
        ("ogg", "audio/studio48-vorbis.ogg"),
        ("mp4", "audio/frag-aac.mp4"),
        ("mp3", "audio/studio48.mp3"),
        ("flac", "audio/studio48.flac"),
        ("mp4", "audio/tail-aac.m4a"),
        ("caf", "audio/studio48-alac.caf"),
        ("aac", "audio/studio48.aac"),
    ]
    .map(|(encoding, path)| (encoding, fixture(path)))
    .into();
    let mut first = server.connect().await;
    first.stream(json!({"encoding": "webm"}), &files[0].1, 9_999).await;
    let before = server.threads();
    let mut clients = Vec::new();
    for _ in 0..25 {
        let mut c = server.connect().await;
        for (encoding, bytes) in &files {
            c.start(json!({"encoding": encoding})).await;
            c.send_binary(&bytes[..4_000]).await;
        }
        clients.push(c);
    }
    first.send(json!({"type": "status_request"})).await;
    assert_eq!(first.expect("status_update").await["streams"], 200);
    assert_eq!(server.threads(), before, "threads with 200 streams");
    for mut c in clients {
        for _ in &files {
            c.send(json!({"type": "audio_cancel"})).await;
            c.expect("audio_ended").await;
        }
    }
    assert_eq!(server.threads(), before);
}
