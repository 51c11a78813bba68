//! Streams on a socket: several, tagged, opened by themselves, in base64, acknowledged, flushed, cancelled.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use crate::support::sound::random_cuts;
use crate::support::{Client, TestServer, fixture, samples, sine16k};

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

/// Every encoding, cut at random by three seeds: the recordings are the same to the byte.
#[tokio::test]
async fn cuts_change_nothing() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let raw = |encoding: &str, rate: u32| json!({"encoding": encoding, "sample_rate": rate, "channels": 1});
    for (path, format) in [
        ("mono16.s16be", raw("pcm_s16be", 16_000)),
        ("mono16.s24le", raw("pcm_s24le", 16_000)),
        ("mono16.s32le", raw("pcm_s32le", 16_000)),
        ("mono16.f32le", raw("pcm_f32le", 16_000)),
        ("phone8.mulaw", raw("mulaw", 8_000)),
        ("phone8.alaw", raw("alaw", 8_000)),
        ("studio48.wav", json!({"encoding": "wav"})),
        ("studio48.aiff", json!({"encoding": "aiff"})),
        ("studio48-alac.caf", json!({"encoding": "caf"})),
        ("studio48.flac", json!({"encoding": "flac"})),
        ("vbr44.mp3", json!({"encoding": "mp3"})),
        ("mono16.aac", json!({"encoding": "aac"})),
        ("voip-opus.ogg", json!({"encoding": "ogg"})),
        ("studio48-vorbis.webm", json!({"encoding": "webm"})),
        ("frag-aac44.mp4", json!({"encoding": "mp4"})),
        ("restarted-opus.webm", json!({"encoding": "auto"})),
    ] {
        let bytes = fixture(&format!("audio/{path}"));
        let whole = c.stream_pieces(json!({"format": format}), &[&bytes]).await;
        assert_eq!(whole["warnings"], 0, "{path}: {whole}");
        for seed in 0..3 {
            let cut = c.stream_pieces(json!({"format": format}), &random_cuts(&bytes, seed)).await;
            for field in ["received_bytes", "output_samples", "peak_dbfs"] {
                assert_eq!(cut[field], whole[field], "{path}, seed {seed}: {field}");
            }
            assert_eq!(cut["recording"]["sha256"], whole["recording"]["sha256"], "{path}, seed {seed}");
        }
    }
}

#[tokio::test]
async fn two_tagged_streams_share_a_socket_in_any_order() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let (a, b) = (sine16k(8_000), fixture("recorders/chromium-opus.webm"));
    let alone = c.stream(json!({"encoding": "webm"}), &b, b.len()).await;
    let first = c.start_with(json!({"stream_id": "mic", "framing": "tagged", "format": pcm16k()})).await;
    let second = c.start_with(json!({"stream_id": "tab", "framing": "tagged", "format": {"encoding": "webm"}})).await;
    let tagged = |started: &Value, bytes: &[u8]| {
        let tag = started["stream_index"].as_u64().unwrap() as u32;
        [&tag.to_le_bytes(), bytes].concat()
    };
    let (mut x, mut y) = (random_cuts(&a, 5).into_iter(), random_cuts(&b, 6).into_iter());
    loop {
        let (p, q) = (x.next(), y.next());
        if p.is_none() && q.is_none() {
            break;
        }
        c.send_binary(&tagged(&second, q.unwrap_or_default())).await;
        c.send_binary(&tagged(&first, p.unwrap_or_default())).await;
    }
    for (name, bytes) in [("mic", a.len()), ("tab", b.len())] {
        c.send(json!({"type": "audio_end", "id": name, "stream_id": name})).await;
        let ended = c.expect("audio_ended").await;
        assert_eq!((ended["stream_id"].as_str(), ended["reply_to"].as_str()), (Some(name), Some(name)));
        assert_eq!(ended["received_bytes"], bytes);
        match name {
            "mic" => assert!(server.recording(&ended).1 == samples(&a)),
            _ => assert_eq!(ended["recording"]["sha256"], alone["recording"]["sha256"]),
        }
    }
    // A tag nobody has is one error, however often it comes.
    c.start_with(json!({"stream_id": "on", "framing": "tagged", "format": pcm16k()})).await;
    for _ in 0..3 {
        c.send_binary(&[99, 0, 0, 0, 1, 2]).await;
    }
    c.expect_error("STREAM_NOT_FOUND").await;
    let ended = c.end().await;
    assert_eq!(ended["received_bytes"], 0);
}

#[tokio::test]
async fn binary_opens_a_stream_by_itself_in_the_querys_format_or_the_one_it_shows() {
    let server = TestServer::start();
    let pcm = sine16k(16_000);
    let mut c = server.connect_to("/ws?encoding=pcm_s16le&sample_rate=16000&channels=1").await;
    c.send_binary(&[]).await;
    for piece in random_cuts(&pcm, 7) {
        c.send_binary(piece).await;
    }
    let started = c.expect("audio_started").await;
    assert_eq!(started["format"], pcm16k());
    assert_eq!(started["stream_id"], started["stream_uid"]);
    let ended = c.end().await;
    assert!(server.recording(&ended).1 == samples(&pcm));

    let mut c = server.connect().await;
    let flac = fixture("audio/live16.flac");
    for piece in random_cuts(&flac, 8) {
        c.send_binary(piece).await;
    }
    c.expect("audio_started").await;
    let ended = c.end().await;
    assert!(server.recording(&ended).1 == samples(&fixture("audio/mono16.s16le")));
    // Only before the first stream: afterwards bytes without a stream are refused, once.
    for _ in 0..3 {
        c.send_binary(&flac).await;
    }
    c.expect_error("STREAM_NOT_FOUND").await;
    c.send(json!({"type": "ping"})).await;
    c.expect("pong").await;
}

#[tokio::test]
async fn noise_without_a_format_is_one_error_and_then_silence() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let noise: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
    for piece in noise.chunks(700) {
        c.send_binary(piece).await;
    }
    c.expect_error("FORMAT_REQUIRED").await;
    assert_eq!(c.expect("audio_ended").await["reason"], "error");
    for piece in noise.chunks(700) {
        c.send_binary(piece).await;
    }
    c.send(json!({"type": "ping"})).await;
    assert_eq!(c.next().await["type"], "pong", "nothing between");
    // The client may still declare what it sends.
    let pcm = sine16k(1_600);
    let ended = c.stream(pcm16k(), &pcm, 1_001).await;
    assert!(server.recording(&ended).1 == samples(&pcm));
    let files = std::fs::read_dir(server.data.path().join("recordings")).unwrap();
    let wavs = files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "wav")).count();
    assert_eq!(wavs, 1, "no recording of what was refused");
}

#[tokio::test]
async fn an_odd_tail_is_counted_not_an_error() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(3_200);
    c.start(pcm16k()).await;
    for piece in pcm.chunks(333) {
        c.send_binary(piece).await;
    }
    c.send_binary(&[7]).await;
    c.send(json!({"type": "audio_end"})).await;
    let warning = c.expect_error("DECODE_FAILED").await;
    assert_eq!(warning["details"]["stream_continues"], true);
    let ended = c.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["warnings"].as_u64()), (Some("end"), Some(1)));
    assert_eq!((ended["received_bytes"].as_u64(), ended["output_samples"].as_u64()), (Some(6_401), Some(3_200)));
    assert!(server.recording(&ended).1 == samples(&pcm));
}

/// A stream none of whose packets decodes ends; what was wrong with them is told before that.
#[tokio::test]
async fn damage_is_told_before_the_end_it_leads_to() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.start(json!({"encoding": "opus", "sample_rate": 48_000, "channels": 2})).await;
    for _ in 0..3 {
        c.send_binary(&[3]).await; // a packet of many frames that does not say how many (RFC 6716 section 3.2.5)
    }
    c.send(json!({"type": "audio_end"})).await;
    let mut errors = Vec::new();
    let ended = loop {
        let m = c.next().await;
        match m["type"].as_str() {
            Some("error") => errors.push(m),
            Some("audio_ended") => break m,
            _ => {}
        }
    };
    let last = errors.pop().expect("an error");
    assert_eq!((&last["code"], &ended["reason"]), (&json!("DECODE_FAILED"), &json!("error")), "{last}");
    assert!(last["details"]["stream_continues"].is_null(), "{last}");
    assert!(!errors.is_empty() && errors.iter().all(|e| e["details"]["stream_continues"] == true), "{errors:?}");
}

async fn data(c: &mut Client, fields: Value, bytes: &[u8]) {
    let mut m = fields;
    m["type"] = "audio_data".into();
    m["data"] = STANDARD.encode(bytes).into();
    c.send(m).await;
}

#[tokio::test]
async fn base64_is_the_same_audio_and_opens_streams_too() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(16_000);
    for (n, piece) in pcm.chunks(999).enumerate() {
        match n % 3 {
            0 => data(&mut c, json!({"format": pcm16k(), "stream_id": "mic"}), piece).await,
            1 => c.send(json!({"type": "audio_data", "data": STANDARD_NO_PAD.encode(piece)})).await,
            // Escaped slashes, as some encoders write them, and another order of fields.
            _ => {
                let text = STANDARD.encode(piece).replace('/', "\\/");
                c.send_text(&format!(r#"{{"data":"{text}","type":"audio_data"}}"#)).await;
            }
        }
    }
    c.expect("audio_started").await;
    let ended = c.end().await;
    assert_eq!((ended["stream_id"].as_str(), ended["received_bytes"].as_u64()), (Some("mic"), Some(32_000)));
    assert!(server.recording(&ended).1 == samples(&pcm));
}

#[tokio::test]
async fn offsets_make_base64_idempotent_and_a_hole_is_an_error_until_it_is_filled() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(16_000);
    c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
    data(&mut c, json!({"offset": 0}), &pcm[..1_000]).await;
    data(&mut c, json!({"offset": 0, "id": "again"}), &pcm[..1_000]).await;
    let ack = c.expect("audio_received").await;
    assert_eq!((ack["reply_to"].as_str(), ack["received_bytes"].as_u64()), (Some("again"), Some(1_000)));
    data(&mut c, json!({"offset": 501}), &pcm[501..2_001]).await;
    data(&mut c, json!({"offset": 3_000}), &pcm[3_000..4_000]).await;
    let gap = c.expect_error("AUDIO_GAP").await;
    assert_eq!(gap["details"]["expected_offset"], 2_001);
    // Nothing is taken until the hole is filled: neither without an offset nor beyond it.
    data(&mut c, json!({}), &pcm[4_000..5_000]).await;
    c.expect_error("AUDIO_GAP").await;
    data(&mut c, json!({"offset": 2_001}), &pcm[2_001..4_000]).await;
    data(&mut c, json!({}), &pcm[4_000..]).await;
    let ended = c.end().await;
    assert_eq!(ended["received_bytes"], 32_000);
    assert!(server.recording(&ended).1 == samples(&pcm));
}

#[tokio::test]
async fn a_format_that_contradicts_the_open_stream_is_refused() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.start(pcm16k()).await;
    data(&mut c, json!({"format": {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1}}), &[0; 64]).await;
    c.expect_error("INVALID_MESSAGE").await;
    c.send(json!({"type": "audio_data", "data": "AA-_"})).await;
    let e = c.expect_error("INVALID_BASE64").await;
    assert!(e["message"].as_str().unwrap().contains("at 2"), "{e}");
    data(&mut c, json!({"format": pcm16k()}), &[0; 64]).await;
    assert_eq!(c.end().await["received_bytes"], 64);
}

/// `ack_ms`: at most one per so much audio; 0: only when asked; a flush and an `id` come at once.
#[tokio::test]
async fn acknowledgements_come_as_often_as_was_asked() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(16_000);
    for (ack_ms, acks) in [(20, 50), (200, 5), (0, 0)] {
        c.start_with(json!({"format": pcm16k(), "ack_ms": ack_ms})).await;
        for (n, frame) in pcm.chunks(640).enumerate() {
            c.send_binary(frame).await;
            // Each frame by itself, so that each is one the server may acknowledge.
            if ack_ms == 20 {
                let ack = c.expect("audio_received").await;
                assert_eq!(ack["received_bytes"], (n + 1) * 640);
                assert_eq!(
                    (ack["received_frames"].as_u64(), ack["decoded_ms"].as_u64()),
                    (Some(n as u64 + 1), Some((n as u64 + 1) * 20))
                );
                assert_eq!(
                    (ack["output_samples"].as_u64(), ack["dropped_ms"].as_u64()),
                    (Some((n as u64 + 1) * 320), Some(0))
                );
                assert!(ack["seq"].is_null() && ack["processing_us"].is_u64());
            }
        }
        c.send(json!({"type": "audio_flush", "id": "f"})).await;
        let mut unasked = if ack_ms == 20 { 50 } else { 0 };
        let mut last_ms = 0;
        let flushed = loop {
            let m = c.expect("audio_received").await;
            if m["reply_to"] == "f" {
                break m;
            }
            let ms = m["decoded_ms"].as_u64().unwrap();
            assert!(ms >= last_ms + ack_ms, "{ms} after {last_ms}");
            (last_ms, unasked) = (ms, unasked + 1);
        };
        assert!(unasked <= acks && (acks == 0 || unasked > 0), "{unasked} of {acks}");
        assert_eq!(
            (flushed["received_bytes"].as_u64(), flushed["output_samples"].as_u64()),
            (Some(32_000), Some(16_000))
        );
        assert_eq!(c.end().await["reason"], "end");
    }
}

/// One frame larger than what the server decodes at a time: it is acknowledged to its end though nothing comes after it.
#[tokio::test]
async fn audio_that_waited_is_acknowledged_without_being_asked() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    c.start(json!({"encoding": "mulaw", "sample_rate": 8_000, "channels": 1})).await;
    c.send_binary(&vec![0x55; 400_000]).await;
    while c.expect("audio_received").await["received_bytes"] != 400_000 {}
    assert_eq!(c.end().await["output_samples"], 800_000);
}

#[tokio::test]
async fn a_cancelled_stream_leaves_nothing() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let started = c.start(pcm16k()).await;
    assert!(started["recording_id"].is_string());
    c.send_binary(&sine16k(16_000)).await;
    c.send(json!({"type": "audio_cancel", "id": "x"})).await;
    let ended = c.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["reply_to"].as_str()), (Some("cancelled"), Some("x")));
    assert!(ended["recording"].is_null());
    // A later recording's end means that the earlier one's was worked off.
    let kept = c.stream(pcm16k(), &sine16k(160), 320).await;
    let names: Vec<String> = std::fs::read_dir(server.data.path().join("recordings"))
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.contains(started["recording_id"].as_str().unwrap()))
        .collect();
    assert!(names.is_empty(), "{names:?}");
    assert!(kept["recording"]["id"].is_string());
}

#[tokio::test]
async fn names_are_unique_streams_are_limited_and_what_is_not_open_is_not_found() {
    let server = TestServer::with(|c| c.audio.max_streams_per_connection = 2);
    let mut c = server.connect().await;
    let first = c.start_with(json!({"id": "1", "stream_id": "a", "format": pcm16k()})).await;
    // The same request again, as after a lost answer: the same answer, no second stream.
    c.send(json!({"type": "audio_start", "id": "1", "stream_id": "a", "format": pcm16k()})).await;
    let again = c.expect("audio_started").await;
    for field in ["stream_uid", "stream_index", "recording_id", "reply_to"] {
        assert_eq!(again[field], first[field]);
    }
    c.send(json!({"type": "audio_start", "id": "2", "stream_id": "a", "format": pcm16k()})).await;
    assert_eq!(c.expect_error("STREAM_EXISTS").await["reply_to"], "2");
    c.start_with(json!({"stream_id": "b", "format": pcm16k()})).await;
    c.send(json!({"type": "audio_start", "stream_id": "c", "format": pcm16k()})).await;
    c.expect_error("STREAM_LIMIT").await;
    for kind in ["audio_end", "audio_flush", "audio_cancel"] {
        c.send(json!({"type": kind, "id": kind, "stream_id": "c"})).await;
        assert_eq!(c.expect_error("STREAM_NOT_FOUND").await["reply_to"], kind);
    }
    // The newest is meant where none is named; its name is free once it ended.
    assert_eq!(c.end().await["stream_id"], "b");
    c.start_with(json!({"stream_id": "b", "format": pcm16k()})).await;
    c.send(json!({"type": "connection_info_request"})).await;
    let info = c.expect("connection_info").await;
    assert_eq!(info["streams"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_may_go_unrecorded() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let ended = c.stream_pieces(json!({"format": pcm16k(), "record": false}), &[&sine16k(1_600)]).await;
    assert!(ended["recording"].is_null());
    assert_eq!(ended["output_samples"], 1_600);
    assert!((ended["peak_dbfs"].as_f64().unwrap() + 6.02).abs() < 0.1, "half scale");
    assert!((ended["rms_dbfs"].as_f64().unwrap() + 9.03).abs() < 0.1);
}
