//! What goes wrong around streams: damage, lies, disks, kills, a system out of descriptors. The rows are those of the failure table.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::faults::{self, PANICKING_HZ};
use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, fixture, http, http_json, samples, sine16k};

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

/// Row 11.
#[tokio::test]
async fn a_declaration_that_the_header_contradicts_names_both() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let wav = fixture("audio/studio48.wav");
    for (field, declared, found) in [("sample_rate", 44_100, 48_000), ("channels", 1, 2)] {
        let mut format = json!({"encoding": "wav"});
        format[field] = declared.into();
        c.start(format).await;
        c.send_binary(&wav[..1_000]).await;
        let e = c.expect_error("UNSUPPORTED_FORMAT").await;
        assert_eq!(e["details"]["field"], field);
        assert_eq!((e["details"]["declared"].as_u64(), e["details"]["found"].as_u64()), (Some(declared), Some(found)));
        assert_eq!(c.expect("audio_ended").await["reason"], "error");
    }
    let ended = c.stream(json!({"encoding": "wav", "sample_rate": 48_000, "channels": 2}), &wav, 7_777).await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(24_000)));
}

/// Row 12: a page's recorder is stopped and another one started in the same stream.
#[tokio::test]
async fn a_recorder_that_begins_anew_goes_on_on_the_same_timeline() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let parts = [fixture("recorders/chromium-opus.webm"), fixture("recorders/firefox-opus.webm")];
    let mut apart = Vec::new();
    for part in &parts {
        let ended = c.stream(json!({"encoding": "webm"}), part, 1_234).await;
        apart.extend(server.recording(&ended).1);
    }
    let ended = c.stream(json!({"encoding": "auto"}), &parts.concat(), 1_111).await;
    assert_eq!(ended["warnings"], 0);
    assert!(server.recording(&ended).1 == apart);
}

/// Row 13.
#[tokio::test]
async fn damage_in_the_middle_is_told_and_the_stream_goes_on() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    for (encoding, path, damage) in [
        ("flac", "audio/live16.flac", 40),
        ("aac", "audio/mono16.aac", 300),
        ("mp3", "audio/live16.mp3", 300),
        ("ogg", "audio/live-opus.ogg", 40),
        ("webm", "audio/live-opus.webm", 400),
    ] {
        let mut bytes = fixture(path);
        let whole = server.recording(&c.stream(json!({"encoding": encoding}), &bytes, 999).await).1;
        let middle = bytes.len() / 2;
        bytes[middle..middle + damage].fill(0);
        c.start(json!({"encoding": encoding})).await;
        for piece in bytes.chunks(997) {
            c.send_binary(piece).await;
        }
        c.send(json!({"type": "audio_end"})).await;
        let mut told = 0;
        let ended = loop {
            let m = c.next().await;
            match m["type"].as_str().unwrap() {
                "audio_ended" => break m,
                "error" => {
                    assert_eq!(
                        (m["code"].as_str(), m["details"]["stream_continues"].as_bool()),
                        (Some("DECODE_FAILED"), Some(true)),
                        "{m}"
                    );
                    told += m["details"]["warnings"].as_u64().unwrap();
                }
                _ => {}
            }
        };
        assert_eq!(
            (ended["reason"].as_str(), ended["received_bytes"].as_u64()),
            (Some("end"), Some(bytes.len() as u64)),
            "{path}"
        );
        assert!(told > 0 && ended["warnings"] == told, "{path}: {told} told, {}", ended["warnings"]);
        let damaged = server.recording(&ended).1;
        let lost = whole.len() as i64 - damaged.len() as i64;
        assert!((-2_000..=5_000).contains(&lost), "{path}: {lost} samples lost");
        assert!(damaged[..1_000] == whole[..1_000], "{path}: what came before is as it was");
        let tail = &whole[whole.len() - 1_000..];
        assert!(energy(&damaged[damaged.len() - 1_000..]) * 4.0 > energy(tail), "{path}: sound comes after");
    }
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|&s| f64::from(s).powi(2)).sum()
}

/// Row 15. What a panic leaves is another stream of the same connection, another connection, the recording so far, and a server.
#[tokio::test]
async fn a_decoder_that_panics_ends_its_stream_alone() {
    faults::install();
    let server = TestServer::start();
    let (mut c, mut other) = (server.connect().await, server.connect().await);
    let pcm = sine16k(8_000);
    other.start(pcm16k()).await;
    other.send_binary(&pcm).await;
    c.start_with(json!({"stream_id": "steady", "format": pcm16k()})).await;
    c.send_binary(&pcm).await;
    for _ in 0..3 {
        let format = json!({"encoding": "mulaw", "sample_rate": PANICKING_HZ, "channels": 1});
        c.start_with(json!({"stream_id": "doomed", "format": format})).await;
        c.send_binary(&[0; 1_600]).await;
        c.send_binary(b"now: panic").await;
        let error = c.expect_error("INTERNAL").await;
        assert_eq!(error["stream_id"], "doomed");
        assert!(!error["message"].as_str().unwrap().contains("asked"), "no inside of the server: {error}");
        let ended = c.expect("audio_ended").await;
        assert_eq!((&ended["stream_id"], &ended["reason"]), (&json!("doomed"), &json!("error")));
        let (spec, kept) = server.recording(&ended);
        assert_eq!((spec.sample_rate, kept), (16_000, vec![0; 1_600]));
    }
    for client in [&mut c, &mut other] {
        client.send_binary(&pcm).await;
        let ended = client.end().await;
        assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(16_000)));
        assert!(server.recording(&ended).1 == samples(&[&pcm[..], &pcm].concat()), "not a sample is missing");
    }
    assert_eq!(server.connect().await.stream(pcm16k(), &pcm, 999).await["output_samples"], 8_000);
    assert_eq!(http_json(server.addr, "GET", "/health").await.1["status"], "healthy");
}

/// Row 27: the disk takes no more (here: a limit on the size of files). The recording ends, the audio goes on.
#[tokio::test]
async fn a_disk_that_takes_no_more_ends_the_recording_alone() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start_after("trap '' XFSZ; ulimit -f 1024", data.path(), &[]);
    let (mut c, mut ear) = (server.connect().await, server.connect().await);
    let started = c.start(pcm16k()).await;
    ear.send(json!({"type": "listen_start", "stream_id": started["stream_uid"]})).await;
    ear.expect("listening").await;
    let pcm = sine16k(16_000);
    let mut sent = 0u64;
    let failed = loop {
        c.send_binary(&pcm).await;
        sent += 1;
        c.send(json!({"type": "audio_flush"})).await;
        let m = c.next().await;
        if m["type"] == "error" {
            break m;
        }
        assert_eq!(m["type"], "audio_received");
    };
    assert_eq!((failed["code"].as_str(), failed["details"]["sink"].as_str()), (Some("INTERNAL"), Some("recorder")));
    assert!(!failed["message"].as_str().unwrap().contains('/'), "no path: {failed}");
    c.send(json!({"type": "status_request"})).await;
    assert_eq!(c.expect("status_update").await["state"], "degraded");
    let ended = c.end().await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(sent * 16_000)));
    let mut heard = 0;
    while heard < sent * 32_000 {
        heard += ear.binaries(1).await[0].len() as u64 - 16;
    }
    let id = started["recording_id"].as_str().unwrap();
    let (status, _, wav) = http(server.addr, "GET", &format!("/api/recordings/{id}.wav"), "", b"").await;
    assert_eq!(status, 200);
    let kept: Vec<i16> = hound::WavReader::new(wav.as_slice()).unwrap().samples().map(Result::unwrap).collect();
    let wanted = samples(&pcm).into_iter().cycle();
    assert!(kept.len() > 500_000 && kept.len() < 524_288, "{} samples", kept.len());
    assert!(kept.iter().copied().eq(wanted.take(kept.len())), "what was written is right");
}

/// Row 27: the folder is gone. Streams are not recorded any more, but heard.
#[tokio::test]
async fn without_its_folder_the_recorder_fails_and_streams_run() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let folder = server.data.path().join("recordings");
    std::fs::rename(&folder, server.data.path().join("away")).unwrap();
    std::fs::write(&folder, b"in the way").unwrap();
    c.start(pcm16k()).await;
    c.send_binary(&sine16k(1_600)).await;
    c.send(json!({"type": "audio_end"})).await;
    let ended = loop {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "audio_ended" => break m,
            "error" => assert_eq!(m["details"]["sink"], "recorder"),
            other => assert_eq!(other, "audio_received"),
        }
    };
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(1_600)));
    assert!(ended["recording"].is_null());
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(server.data.path().join("away"), &folder).unwrap();
    let pcm = sine16k(1_600);
    let ended = c.stream(pcm16k(), &pcm, 640).await;
    assert!(server.recording(&ended).1 == samples(&pcm), "and is there again by itself");
}

/// Rows 2 and 18 as far as they go without resume: a socket that is gone, or closed, ends its streams; what came is kept.
#[tokio::test]
async fn a_lost_socket_ends_its_recordings_readably() {
    let server = TestServer::with(|c| {
        c.session.resume_window_ms = 50;
        c.limits.messages_per_s = 100_000;
    });
    let mut witness = server.connect().await;
    let pcm = sine16k(8_000);
    let mut ids = Vec::new();
    for closes in [false, true] {
        let mut c = server.connect().await;
        let started = c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
        ids.push(started["recording_id"].as_str().unwrap().to_owned());
        c.send_binary(&pcm).await;
        c.send(json!({"type": "audio_flush"})).await;
        c.expect("audio_received").await;
        match closes {
            true => c.close().await,
            false => drop(c),
        }
    }
    loop {
        witness.send(json!({"type": "status_request"})).await;
        let status = witness.expect("status_update").await;
        if (status["streams"].as_u64(), status["connections"].as_u64()) == (Some(0), Some(1)) {
            break;
        }
    }
    for id in ids {
        let (_, item) = http_json(server.addr, "GET", &format!("/api/recordings/{id}")).await;
        assert_eq!((item["state"].as_str(), item["end_reason"].as_str()), (Some("complete"), Some("disconnected")));
        let kept: Vec<i16> =
            hound::WavReader::open(server.recording_path(&id)).unwrap().samples().map(Result::unwrap).collect();
        assert!(kept == samples(&pcm));
    }
}

/// Row 28: SIGKILL while a hundred streams are recorded in real time.
#[tokio::test]
async fn after_a_kill_every_recording_is_there_up_to_a_second_before() {
    const FRAME_BYTES: usize = 1_600;
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let pcm = sine16k(16_000 * 10);
    let mut clients = Vec::new();
    for streams in [8; 12].into_iter().chain([4]) {
        let mut c = server.connect().await;
        for n in 0..streams {
            let name = format!("s{n}");
            c.start_with(json!({"stream_id": name, "framing": "tagged", "format": pcm16k(), "ack_ms": 0})).await;
        }
        clients.push((c, streams));
    }
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    let mut frames = pcm.chunks(FRAME_BYTES);
    let speak = async |clients: &mut Vec<(Client, u32)>, frame: &[u8]| {
        for (c, streams) in clients {
            for n in 0..*streams {
                c.send_binary(&[&n.to_le_bytes(), frame].concat()).await;
            }
        }
    };
    for _ in 0..10 {
        clock.tick().await;
        speak(&mut clients, frames.next().unwrap()).await;
    }
    for (c, streams) in &mut clients {
        for n in 0..*streams {
            c.send(json!({"type": "audio_flush", "id": "f", "stream_id": format!("s{n}")})).await;
            assert_eq!(c.expect("audio_received").await["output_samples"], 8_000);
        }
    }
    let promised = Instant::now();
    while promised.elapsed() < Duration::from_secs(1) {
        clock.tick().await;
        speak(&mut clients, frames.next().unwrap()).await;
    }
    server.kill();

    let server = ServerProcess::start(data.path(), &[]);
    let (status, list) = http_json(server.addr, "GET", "/api/recordings?limit=200").await;
    assert_eq!(status, 200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 100);
    let sent = samples(&pcm);
    for item in items {
        let id = item["id"].as_str().unwrap();
        assert_ne!(item["state"], "recording");
        let (status, _, wav) = http(server.addr, "GET", &format!("/api/recordings/{id}.wav"), "", b"").await;
        assert_eq!((status, item["bytes"].as_u64()), (200, Some(wav.len() as u64)));
        let kept: Vec<i16> = hound::WavReader::new(wav.as_slice()).unwrap().samples().map(Result::unwrap).collect();
        assert_eq!(item["samples"], kept.len());
        assert!(kept.len() >= 8_000, "{} samples, 8000 of them a second old", kept.len());
        assert!(kept == sent[..kept.len()]);
    }
}

/// Row 31.
#[tokio::test]
async fn when_descriptors_run_out_accepting_pauses_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start_after("ulimit -n 64", data.path(), &[]);
    let mut c = server.connect().await;
    c.start_with(json!({"format": pcm16k(), "record": false, "ack_ms": 0})).await;
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(tokio::net::TcpStream::connect(server.addr).await.unwrap());
    }
    let mut sent = 0u64;
    let mut round_trip = async |c: &mut Client| {
        c.send_binary(&sine16k(320)).await;
        c.send(json!({"type": "audio_flush"})).await;
        sent += 320;
        assert_eq!(c.expect("audio_received").await["output_samples"], sent);
    };
    while server.descriptors() < 64 {
        round_trip(&mut c).await;
    }
    for _ in 0..20 {
        round_trip(&mut c).await;
    }
    drop(crowd);
    let mut late = server.connect().await;
    late.send(json!({"type": "ping"})).await;
    late.expect("pong").await;
    round_trip(&mut c).await;
    assert_eq!(c.end().await["reason"], "end");
}
