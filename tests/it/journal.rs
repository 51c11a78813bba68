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

/// What `GET /api/recordings/{id}` says once the recording is closed.
async fn until_complete(server: &ServerProcess, id: &Value) -> Value {
    let path = format!("/api/recordings/{}", id.as_str().unwrap());
    loop {
        let (status, item) = http_json(server.addr, "GET", &path).await;
        if status == 200 && item["state"] == "complete" && !item["sha256"].is_null() {
            return item;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_empty(data: &Path) {
    while !journals(data).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Several streams on one socket, their names, indices and framing; events and their numbers; the conversation.
#[tokio::test]
async fn the_whole_session_is_there_again() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    let mut c = server.connect().await;
    let mut session = c.hello["session"].clone();
    c.send(json!({"type": "join_conversation", "conversation_id": "house"})).await;
    c.expect("conversation_joined").await;
    let tagged =
        |name: &str| json!({"stream_id": name, "framing": "tagged", "format": pcm16k(), "ack_ms": 0, "id": name});
    let with_tag =
        |of: &Value, bytes: &[u8]| [&(of["stream_index"].as_u64().unwrap() as u32).to_le_bytes()[..], bytes].concat();
    let gone = c.start_with(tagged("gone")).await;
    let mut fields = tagged("kept");
    fields["conversation_id"] = "house".into();
    let kept = c.start_with(fields).await;
    c.send(json!({"type": "audio_end", "stream_id": "gone"})).await;
    let seen = c.expect("audio_ended").await["seq"].as_u64().unwrap();
    let raw = c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    let pcm = sine16k(8_000);
    c.send_binary(&pcm[..3_000]).await; // to the newest raw stream
    c.send(json!({"type": "audio_end", "stream_id": raw["stream_id"]})).await;
    let raw_ended = c.expect("audio_ended").await;
    c.send_binary(&with_tag(&kept, &pcm[..5_001])).await; // half a sample is carried over the kill
    assert_eq!(flush(&mut c).await["received_bytes"], 5_000);
    assert_eq!(journals(data.path()).len(), 1, "of the one that is open");
    server.kill();

    let server = start(data.path());
    let (mut c, resumed) = resume(&server, &mut session, json!(seen)).await;
    let row = json!({"stream_id": "kept", "stream_index": kept["stream_index"], "received_bytes": 5_001});
    assert_eq!(resumed["streams"], json!([row]));
    // Beginning and end of the raw one; and that it is in the conversation may be told once more.
    assert!((2..=3).contains(&resumed["replayed"].as_u64().unwrap()) && resumed["missed"] == 0, "{resumed}");
    assert_eq!(c.expect("audio_started").await["seq"], raw["seq"]);
    let again = c.expect("audio_ended").await;
    assert_eq!((&again["seq"], &again["stream_id"]), (&raw_ended["seq"], &raw_ended["stream_id"]));
    // The same request once more gets the same answer, and the name is taken.
    let mut repeated = tagged("kept");
    repeated["type"] = "audio_start".into();
    c.send(repeated).await;
    assert_eq!(c.expect("audio_started").await["stream_uid"], kept["stream_uid"]);
    c.send(json!({"type": "audio_start", "stream_id": "kept", "format": pcm16k()})).await;
    c.expect_error("STREAM_EXISTS").await;
    c.send(json!({"type": "presence_request", "conversation_id": "house"})).await;
    let presence = c.expect("presence").await;
    assert_eq!(presence["members"][0]["streaming"], true, "{presence}");
    let new = c.start_with(json!({"stream_id": "gone", "framing": "tagged", "format": pcm16k(), "ack_ms": 0})).await;
    assert!(new["stream_index"].as_u64() > kept["stream_index"].as_u64(), "no index comes twice: {new}");
    assert!(new["seq"].as_u64() > again["seq"].as_u64(), "nor a number");
    assert_ne!(new["stream_uid"], gone["stream_uid"]);
    c.send_binary(&with_tag(&kept, &pcm[5_001..])).await;
    c.send(json!({"type": "audio_end", "stream_id": "kept"})).await;
    let ended = c.expect("audio_ended").await;
    assert_eq!((&ended["received_bytes"], &ended["output_samples"]), (&json!(16_000), &json!(8_000)));
    assert!(recording(data.path(), &ended).ends_with(&pcm));
    c.send(json!({"type": "audio_cancel", "stream_id": "gone"})).await;
    assert_eq!(c.expect("audio_ended").await["reason"], "cancelled");
    assert!(journals(data.path()).is_empty());
}

/// The one whose session it is, by the newest token or, until he was heard, the one before it; nobody else.
#[tokio::test]
async fn a_restart_opens_no_door() {
    let data = tempfile::tempdir().unwrap();
    let mut server = start(data.path());
    let mut c = server.connect().await;
    let first = c.hello["session"].clone();
    let mut session = first.clone();
    c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    c.send_binary(&sine16k(800)).await;
    flush(&mut c).await;
    drop(c);
    let (c, _) = resume(&server, &mut session, Value::Null).await;
    drop(c); // never heard: both tokens are good
    server.kill();
    let text: Vec<u8> = journals(data.path()).iter().flat_map(|p| std::fs::read(p).unwrap()).collect();
    for token in [&first, &session] {
        let token = token["resume_token"].as_str().unwrap().as_bytes();
        assert!(!text.windows(token.len()).any(|w| w == token), "no token is on the disk");
    }
    server = start(data.path());
    let refused = async |server: &ServerProcess, token: &Value| {
        let mut c = server.connect().await;
        c.send(resume_of(&json!({"id": first["id"], "resume_token": token}), Value::Null)).await;
        c.expect_error("RESUME_FAILED").await;
    };
    refused(&server, &json!("0".repeat(32))).await;
    refused(&server, &json!("")).await;
    let mut with_first = first.clone();
    let (mut c, resumed) = resume(&server, &mut with_first, Value::Null).await;
    assert_eq!(resumed["streams"][0]["received_bytes"], 1_600);
    flush(&mut c).await; // heard
    server.kill();
    server = start(data.path());
    refused(&server, &first["resume_token"]).await;
    refused(&server, &session["resume_token"]).await;
    let (mut c, _) = resume(&server, &mut with_first, Value::Null).await;
    assert_eq!(c.end().await["received_bytes"], 1_600);
}

/// With tokens: another user is refused, the same one with a token of his own is not.
#[tokio::test]
async fn after_a_restart_too_a_session_is_its_users_alone() {
    let data = tempfile::tempdir().unwrap();
    let secret = "a secret that is long enough to sign with";
    let settings = [JOURNAL, ("VOXGATE__AUTH__MODE", "jwt"), ("VOXGATE__AUTH__HS256_SECRET", secret)];
    let token = |user: &str| {
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_voxgate"))
            .args(["token", "--user", user, "--secret", secret])
            .output()
            .unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let as_user =
        async |server: &ServerProcess, user: &str| Client::to(server.addr, &format!("/ws?token={}", token(user))).await;
    let server = ServerProcess::start(data.path(), &settings);
    let mut c = as_user(&server, "ann").await;
    let session = c.hello["session"].clone();
    c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    c.send_binary(&sine16k(800)).await;
    flush(&mut c).await;
    server.kill();
    let server = ServerProcess::start(data.path(), &settings);
    let mut other = as_user(&server, "bob").await;
    other.send(resume_of(&session, Value::Null)).await;
    other.expect_error("RESUME_FAILED").await;
    let mut c = as_user(&server, "ann").await;
    c.send(resume_of(&session, Value::Null)).await;
    assert_eq!(c.expect("resumed").await["streams"][0]["received_bytes"], 1_600);
    assert_eq!(c.end().await["reason"], "end");
}

/// Nobody comes back: the window counts from the restart, then the recording is completed and nothing stays.
#[tokio::test]
async fn a_session_nobody_comes_back_for_is_completed() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    let mut c = server.connect().await;
    let session = c.hello["session"].clone();
    let started = c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    c.send_binary(&sine16k(16_000)).await;
    flush(&mut c).await;
    server.kill();
    let window = ("VOXGATE__SESSION__RESUME_WINDOW_MS", "50");
    let server = ServerProcess::start(data.path(), &[JOURNAL, window]);
    let item = until_complete(&server, &started["recording_id"]).await;
    assert_eq!((&item["end_reason"], &item["samples"]), (&json!("disconnected"), &json!(16_000)));
    until_empty(data.path()).await;
    let mut c = server.connect().await;
    c.send(resume_of(&session, Value::Null)).await;
    c.expect_error("RESUME_FAILED").await;
}

/// A write that was cut, by a byte or by a bit: what is whole counts, the rest is sent again.
#[tokio::test]
async fn a_torn_end_is_cut_and_sent_again() {
    let pcm = sine16k(16_000);
    for damage in ["cut", "flip", "garbage", "head only"] {
        let data = tempfile::tempdir().unwrap();
        let server = start(data.path());
        let mut c = server.connect().await;
        let mut session = c.hello["session"].clone();
        c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
        for piece in pcm[..16_000].chunks(1_600) {
            c.send_binary(piece).await;
        }
        flush(&mut c).await;
        server.kill();
        let path = &journals(data.path())[0];
        let mut bytes = std::fs::read(path).unwrap();
        let len = bytes.len();
        match damage {
            "cut" => bytes.truncate(len - 1),
            "flip" => bytes[len - 800] ^= 4,
            "garbage" => bytes.extend([0xFF; 100]),
            _ => bytes.truncate(13),
        }
        std::fs::write(path, &bytes).unwrap();
        let server = start(data.path());
        if damage == "head only" {
            assert!(journals(data.path()).is_empty(), "it promised nothing to anyone");
            continue;
        }
        let (mut c, resumed) = resume(&server, &mut session, Value::Null).await;
        let received = resumed["streams"][0]["received_bytes"].as_u64().unwrap() as usize;
        assert_eq!(received, if damage == "garbage" { 16_000 } else { 14_400 }, "{damage}");
        c.send_binary(&pcm[received..]).await;
        let ended = c.end().await;
        assert_eq!(ended["output_samples"], 16_000, "{damage}");
        assert!(recording(data.path(), &ended).ends_with(&pcm), "{damage}");
    }
}

/// The journal holds so much and no more; whoever goes beyond is told, what he was promised is recorded, others go on.
#[tokio::test]
async fn what_the_journal_may_hold_is_bounded() {
    let data = tempfile::tempdir().unwrap();
    let settings = [
        JOURNAL,
        ("VOXGATE__AUDIO__JOURNAL_STREAM_BYTES", "100000"),
        ("VOXGATE__AUDIO__JOURNAL_TOTAL_BYTES", "130000"),
    ];
    let server = ServerProcess::start(data.path(), &settings);
    let (mut c, mut other) = (server.connect().await, server.connect().await);
    let pcm = sine16k(25_000);
    other.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    other.send_binary(&pcm[..40_000]).await;
    flush(&mut other).await;
    c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    c.send_binary(&pcm).await;
    flush(&mut c).await;
    c.send_binary(&pcm[..800]).await;
    c.send_binary(&pcm).await;
    let error = c.expect_error("QUOTA_EXCEEDED").await;
    assert_eq!(error["details"]["limit_bytes"], 100_000);
    let ended = c.expect("audio_ended").await;
    assert_eq!((&ended["reason"], &ended["output_samples"]), (&json!("error"), &json!(25_400)));
    // Its room is free again; together they have no more than so much.
    c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    c.send_binary(&pcm).await;
    flush(&mut c).await;
    other.send_binary(&pcm).await;
    let error = other.expect_error("QUOTA_EXCEEDED").await;
    assert!(error["details"]["limit_bytes"].is_null(), "{error}");
    assert_eq!(other.expect("audio_ended").await["output_samples"], 20_000);
    assert_eq!(c.end().await["output_samples"], 25_000);
    assert!(journals(data.path()).is_empty());
}

/// The disk takes no more (here: a limit on the size of files): the stream that needed it ends, others do not.
#[tokio::test]
async fn a_disk_that_takes_no_more_ends_the_stream_and_no_other() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start_after("trap '' XFSZ; ulimit -f 1024", data.path(), &[JOURNAL]);
    let (mut c, mut other) = (server.connect().await, server.connect().await);
    let stereo48 = json!({"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 2});
    c.start_with(json!({"format": stereo48, "ack_ms": 0})).await;
    other.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    other.send_binary(&sine16k(1_600)).await;
    let mut promised = 0;
    let error = loop {
        c.send_binary(&sine16k(9_600)).await;
        c.send(json!({"type": "audio_flush"})).await;
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "error" => break m,
            _ => promised = m["received_bytes"].as_u64().unwrap(),
        }
    };
    assert_eq!(error["code"], "INTERNAL");
    let words = error["message"].as_str().unwrap();
    assert!(words.contains("journal") && !words.contains('/'), "{words}");
    assert!(promised > 900_000 && promised <= 1 << 20, "{promised}");
    let ended = loop {
        let m = c.next().await; // the flush behind it may find no stream
        if m["type"] == "audio_ended" {
            break m;
        }
    };
    assert_eq!(ended["reason"], "error");
    assert!(ended["output_samples"].as_u64().unwrap() >= promised / 12 - 16_000, "what was decoded is kept: {ended}");
    c.send(json!({"type": "status_request"})).await;
    assert_eq!(c.expect("status_update").await["state"], "degraded");
    other.send_binary(&sine16k(1_600)).await;
    assert_eq!(flush(&mut other).await["received_bytes"], 6_400);
    assert_eq!(other.end().await["output_samples"], 3_200);
    assert!(journals(data.path()).is_empty());
}

/// What a restart costs: the audio is decoded again far faster than it was spoken.
#[tokio::test]
async fn two_minutes_are_rebuilt_in_no_time() {
    const AUDIO_S: usize = 120;
    /// Of real time, the start of the process included; unoptimised code is not what is promised.
    // A bound that only a fault breaks: how fast it is, the line it prints says (a debug build on a busy machine is no measure).
    const SPEED_MIN: f64 = 2.0;
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    let mut c = server.connect().await;
    let mut session = c.hello["session"].clone();
    let stereo48 = json!({"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 2});
    c.start_with(json!({"format": stereo48, "ack_ms": 0})).await;
    let second = sine16k(96_000);
    for _ in 0..AUDIO_S {
        for frame in second.chunks(3_840) {
            c.send_binary(frame).await;
        }
    }
    flush(&mut c).await;
    server.kill();
    let began = std::time::Instant::now();
    let server = start(data.path());
    let (mut c, resumed) = resume(&server, &mut session, Value::Null).await;
    let speed = AUDIO_S as f64 / began.elapsed().as_secs_f64();
    eprintln!("rebuilt at {speed:.0} times real time, the start of the server included");
    assert_eq!(resumed["streams"][0]["received_bytes"], AUDIO_S * second.len());
    assert!(speed >= SPEED_MIN, "{speed}");
    assert_eq!(c.end().await["output_samples"], AUDIO_S * 16_000);
}
