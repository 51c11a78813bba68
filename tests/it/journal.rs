//! `audio.durability = "journal"`: streams that survive the server's death (SIGKILL to the real binary), and what it costs them.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::process::ServerProcess;
use crate::support::{Client, fixture, http_json, sine16k};

const JOURNAL: (&str, &str) = ("VOXGATE__AUDIO__DURABILITY", "journal");

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn start(data: &Path) -> ServerProcess {
    ServerProcess::start(data, &[JOURNAL])
}

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

fn resume_of(session: &Value, last_seq: Value) -> Value {
    json!({"type": "resume", "session_id": session["id"], "resume_token": session["resume_token"], "last_seq": last_seq})
}

/// Comes back on a new socket.
async fn resume(server: &ServerProcess, session: &mut Value, last_seq: Value) -> (Client, Value) {
    let mut c = server.connect().await;
    c.send(resume_of(session, last_seq)).await;
    let resumed = c.expect("resumed").await;
    assert_eq!(resumed["session"]["id"], session["id"]);
    *session = resumed["session"].clone();
    (c, resumed)
}

fn journals(data: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(data.join("journal")).unwrap().map(|e| e.unwrap().path()).collect()
}

fn recording(data: &Path, ended: &Value) -> Vec<u8> {
    let id = ended["recording"]["id"].as_str().expect("a recording");
    std::fs::read(data.join("recordings").join(format!("{id}.wav"))).unwrap()
}

async fn flush(c: &mut Client) -> Value {
    c.send(json!({"type": "audio_flush", "id": "f"})).await;
    loop {
        let m = c.expect("audio_received").await;
        if m["reply_to"] == "f" {
            return m;
        }
    }
}

/// How the bytes are sent.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Binary,
    Base64,
}

async fn send(c: &mut Client, by: By, offset: usize, bytes: &[u8]) {
    match by {
        By::Binary => c.send_binary(bytes).await,
        By::Base64 => {
            c.send(json!({"type": "audio_data", "data": STANDARD.encode(bytes), "offset": offset})).await;
        }
    }
}

/// A stream in whose middle the server is killed again and again, each time at another moment: before its bytes are written, while
/// they are, after they were acknowledged. Nothing that was acknowledged is asked for again, and nothing is missing at the end.
#[tokio::test]
async fn killed_again_and_again_the_recording_is_as_if_nothing_had_happened() {
    let stereo: Vec<u8> = sine16k(160_000).chunks(2).flat_map(|s| [s[0], s[1], s[1], s[0]]).collect();
    let webm = fixture("recorders/chromium-opus.webm");
    let stereo48 = json!({"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 2});
    for (name, by, format, bytes) in [
        ("pcm", By::Binary, stereo48.clone(), &stereo),
        ("base64", By::Base64, stereo48, &stereo),
        ("webm", By::Binary, json!({"encoding": "webm"}), &webm),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut server = start(data.path());
        let undisturbed = server.connect().await.stream(format.clone(), bytes, 4_000).await;
        let mut c = server.connect().await;
        let mut session = c.hello["session"].clone();
        let started = c.start_with(json!({"format": format, "ack_ms": 0, "stream_id": "speech"})).await;
        let (mut at, mut dice) = (0, Dice(11));
        for kill in 0..6 {
            let mut promised = 0;
            for _ in 0..dice.below(12) {
                let end = bytes.len().min(at + 1 + dice.below(bytes.len() / 80));
                send(&mut c, by, at, &bytes[at..end]).await;
                at = end;
                if dice.below(3) == 0 {
                    promised = flush(&mut c).await["received_bytes"].as_u64().unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(dice.below(30) as u64)).await; // the moment is what the test is about
            server.kill();
            server = start(data.path());
            let resumed;
            (c, resumed) = resume(&server, &mut session, Value::Null).await;
            let row = &resumed["streams"][0];
            assert_eq!((&row["stream_id"], &row["stream_index"]), (&json!("speech"), &started["stream_index"]));
            let received = row["received_bytes"].as_u64().unwrap();
            assert!((promised..=at as u64).contains(&received), "{name}, kill {kill}: {promised} {received} {at}");
            at = received as usize;
        }
        assert!(at < bytes.len(), "{name}: the kills came while it ran");
        for piece in bytes[at..].chunks(3_000) {
            send(&mut c, by, at, piece).await;
            at += piece.len();
        }
        let ended = c.end().await;
        assert_eq!((&ended["reason"], &ended["received_bytes"]), (&json!("end"), &json!(bytes.len())), "{name}");
        assert_eq!(ended["recording"]["id"], started["recording_id"], "{name}");
        assert!(recording(data.path(), &ended) == recording(data.path(), &undisturbed), "{name}: recordings differ");
        for what in ["output_samples", "duration_ms", "peak_dbfs", "rms_dbfs"] {
            assert_eq!(ended[what], undisturbed[what], "{name}: {what}");
        }
        assert_eq!(journals(data.path()), [] as [std::path::PathBuf; 0], "{name}: nothing is kept of what has ended");
    }
}
