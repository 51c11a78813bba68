//! More than the server will hold: queues, memory, time (failures.md rows 14, 16, 17, 32).

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::process::ServerProcess;
use crate::support::{TestServer, samples, sine16k};

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

/// `drop_oldest`: what the queue cannot hold is silence in its place, and told.
#[tokio::test]
async fn dropped_audio_is_silence_in_its_place_and_told() {
    let server = TestServer::with(|c| c.audio.queue_ms = 500);
    let mut c = server.connect().await;
    let sent: Vec<i16> = (0..500_000u32).map(|i| (i * 7_919 % 65_521) as i16 | 1).collect();
    let bytes: Vec<u8> = sent.iter().flat_map(|s| s.to_le_bytes()).collect();
    c.start_with(json!({"format": pcm16k(), "overflow": "drop_oldest", "ack_ms": 0})).await;
    c.send_binary(&bytes[..32_000]).await;
    c.send_binary(&bytes[32_000..]).await; // half a minute at once
    c.send(json!({"type": "audio_end"})).await;
    let mut wanted = sent.clone();
    let mut dropped_ms = 0;
    let ended = loop {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "audio_dropped" => {
                let (from, ms) = (m["from_ms"].as_u64().unwrap(), m["dropped_ms"].as_u64().unwrap());
                wanted[from as usize * 16..(from + ms) as usize * 16].fill(0);
                dropped_ms += ms;
            }
            "audio_ended" => break m,
            other => panic!("{other}"),
        }
    };
    assert!((20_000..31_250).contains(&dropped_ms), "{dropped_ms} ms dropped");
    assert_eq!(ended["dropped_ms"], dropped_ms);
    assert_eq!((ended["received_bytes"].as_u64(), ended["output_samples"].as_u64()), (Some(1_000_000), Some(500_000)));
    let (_, recorded) = server.recording(&ended);
    let off: Vec<usize> = (0..recorded.len()).filter(|&i| recorded[i] != wanted[i]).collect();
    // What is told in milliseconds was dropped by the sample: less than one at either end.
    assert!(off.iter().all(|&i| recorded[i] == 0 || recorded[i] == sent[i]) && off.len() < 32, "{} samples", off.len());
    assert!(recorded[492_000..] == sent[492_000..], "the newest half second is heard");
}

/// Row 16: a sender much faster than real time is slowed down by its socket; memory stays where it was and nothing is lost.
#[tokio::test]
async fn a_flood_is_held_back_by_the_socket_and_memory_stays_flat() {
    const SECONDS: usize = 600;
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[("VOXGATE__AUDIO__QUEUE_MS", "200")]);
    let second = sine16k(16_000);
    server.connect().await.stream(pcm16k(), &second.repeat(20), 32_000).await;
    let before_kib = server.peak_kib();
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (mut c, second) = (server.connect().await, second.clone());
        floods.spawn(async move {
            c.start_with(json!({"format": pcm16k(), "ack_ms": 0})).await;
            for _ in 0..SECONDS / 20 {
                c.send_binary(&second.repeat(20)).await;
            }
            c.end().await
        });
    }
    while let Some(ended) = floods.join_next().await {
        let ended = ended.unwrap();
        assert_eq!(
            (ended["reason"].as_str(), ended["output_samples"].as_u64()),
            (Some("end"), Some(SECONDS as u64 * 16_000))
        );
        let path = data.path().join("recordings").join(format!("{}.wav", ended["recording"]["id"].as_str().unwrap()));
        let wav = std::fs::read(path).unwrap();
        assert!(wav[wav.len() - SECONDS * 32_000..].chunks(32_000).all(|s| s == second), "every second of it");
    }
    let grown_kib = server.peak_kib() - before_kib;
    assert!(grown_kib < 12 * 1_024, "{grown_kib} KiB more, of {} KiB sent", 2 * SECONDS * 32);
}

/// Row 32.
#[tokio::test]
async fn past_the_memory_budget_new_streams_and_sockets_wait_and_running_ones_finish() {
    let server = TestServer::with(|c| c.audio.memory_budget_bytes = 1 << 20);
    let mut c = server.connect().await;
    let mut other = server.connect().await;
    for name in ["a", "b", "c", "d"] {
        c.start_with(json!({"stream_id": name, "framing": "tagged", "format": pcm16k()})).await;
    }
    other.send(json!({"type": "audio_start", "id": "5", "format": pcm16k()})).await;
    let e = other.expect_error("OVERLOADED").await;
    assert_eq!((e["reply_to"].as_str(), e["retry_suggested"].as_bool()), (Some("5"), Some(true)));
    assert!(e["retry_after_ms"].is_u64());
    let (mut late, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.addr)).await.unwrap();
    match late.next().await {
        Some(Ok(Message::Close(Some(f)))) => assert_eq!(u16::from(f.code), 1013),
        other => panic!("{other:?}"),
    }
    other.send(json!({"type": "status_request"})).await;
    assert_eq!(other.expect("status_update").await["state"], "degraded");
    let pcm = sine16k(1_600);
    for index in 0..4u32 {
        c.send_binary(&[&index.to_le_bytes(), &pcm[..]].concat()).await;
    }
    for name in ["a", "b", "c", "d"] {
        c.send(json!({"type": "audio_end", "stream_id": name})).await;
        let ended = c.expect("audio_ended").await;
        assert!(server.recording(&ended).1 == samples(&pcm));
    }
    other.start(pcm16k()).await;
    server.connect().await;
}

/// Row 32: a file that can be decoded only once its end is there is held up to the budget, not beyond.
#[tokio::test]
async fn a_stream_that_outgrows_the_memory_budget_ends_and_gives_it_back() {
    let server = TestServer::with(|c| c.audio.memory_budget_bytes = 4 << 20);
    let mut c = server.connect().await;
    let mut mp4 = b"\0\0\0\x10ftypisom\0\0\0\0\x01\0\0\0mdat".to_vec(); // 16 MiB of samples, their index after them
    mp4.resize(6 << 20, 7);
    c.start_with(json!({"format": {"encoding": "mp4"}, "ack_ms": 0})).await;
    for piece in mp4.chunks(500_000) {
        c.send_binary(piece).await;
    }
    let e = c.expect_error("OVERLOADED").await;
    assert!(e["retry_after_ms"].is_u64() && e["stream_id"].is_string());
    c.send(json!({"type": "ping"})).await;
    let (mut ended, mut pong) = (0, false);
    while ended == 0 || !pong {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "audio_ended" => {
                assert_eq!(m["reason"], "error");
                ended += 1;
            }
            "error" => assert_eq!(m["code"], "STREAM_NOT_FOUND", "what was under way already: {m}"),
            other => {
                assert_eq!(other, "pong");
                pong = true;
            }
        }
    }
    assert_eq!(ended, 1);
    for n in 0..4 {
        c.start_with(json!({"stream_id": format!("s{n}"), "format": pcm16k()})).await;
    }
}

/// Row 17.
#[tokio::test]
async fn a_stream_whose_sender_fell_silent_ends_and_the_socket_stays() {
    let server = TestServer::with(|c| c.audio.stall_timeout_ms = 100);
    let mut c = server.connect().await;
    let started = c.start(pcm16k()).await;
    c.send_binary(&sine16k(1_600)).await;
    let e = c.expect_error("STREAM_STALLED").await;
    assert_eq!(e["stream_id"], started["stream_id"]);
    let ended = c.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("timeout"), Some(1_600)));
    assert_eq!(server.recording(&ended).1.len(), 1_600);
    c.send(json!({"type": "ping"})).await;
    c.expect("pong").await;
}

#[tokio::test]
async fn a_stream_ends_at_its_longest_however_much_comes() {
    let server = TestServer::with(|c| c.audio.max_stream_s = Some(1));
    let mut c = server.connect().await;
    c.start_with(json!({"format": pcm16k(), "ack_ms": 20})).await;
    let ended = loop {
        c.send_binary(&sine16k(320)).await;
        match c.next().await {
            m if m["type"] == "audio_ended" => break m,
            m => assert!(m["type"] == "audio_received" || m["code"] == "STREAM_NOT_FOUND", "{m}"),
        }
    };
    assert_eq!(ended["reason"], "timeout");
    assert_eq!(server.recording(&ended).1.len() as u64, ended["output_samples"].as_u64().unwrap());
}

/// One FLAC frame (RFC 9639 section 9) of 65,535 samples of silence in 8 channels: 36 bytes for a megabyte of 16-bit sound.
fn silent_flac_frame(number: u8, rate: u8) -> Vec<u8> {
    let crc = |bytes: &[u8], poly: u32, bits: u32| {
        bytes.iter().fold(0u32, |crc, &b| {
            (0..8).fold(crc ^ u32::from(b) << (bits - 8), |c, _| {
                if c >> (bits - 1) & 1 == 1 { (c << 1) ^ poly } else { c << 1 }
            }) & ((1 << bits) - 1)
        })
    };
    // Fixed block size, 16 bits of it follow; the rate's number; 8 channels; 16 bits.
    let mut f = vec![0xff, 0xf8, 0x70 | rate, 0x78, number, 0xff, 0xfe];
    f.push(crc(&f, 0x07, 8) as u8);
    f.extend([0, 0, 0].repeat(8)); // constant subframes
    let footer = crc(&f, 0x8005, 16) as u16;
    f.extend(footer.to_be_bytes());
    f
}

/// Row 14: seconds of silence in a few bytes, again and again.
#[tokio::test]
async fn a_decoder_bomb_ends_its_stream_and_nothing_else() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    for (rate_hz, rate) in [(16_000u64, 5), (192_000, 3)] {
        let mut bomb = b"fLaC\x80\0\0\x22\xff\xff\xff\xff\0\0\0\0\0\0".to_vec();
        let rate_channels_bits = rate_hz << 44 | 7 << 41 | 15 << 36;
        bomb.extend(rate_channels_bits.to_be_bytes());
        bomb.extend([0; 16]);
        bomb.extend((0..120u8).flat_map(|number| silent_flac_frame(number, rate)));
        c.start_with(json!({"format": {"encoding": "flac"}, "record": false, "ack_ms": 0})).await;
        c.send_binary(&bomb).await;
        let e = c.expect_error("DECODE_FAILED").await;
        assert!(e["message"].as_str().unwrap().contains("limit"), "{rate_hz} Hz: {e}");
        assert_eq!(c.expect("audio_ended").await["reason"], "error");
    }
    assert_eq!(c.stream(pcm16k(), &sine16k(160), 99).await["reason"], "end");
}
