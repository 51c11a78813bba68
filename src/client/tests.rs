//! The client against a peer that speaks the protocol over a real socket: its own framing in the server's role, scripted answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::bench::Workload;
use super::listen::{Heard, Target, listen};
use super::pace::{Pace, Speed};
use super::replay::{Carriage, Plan, replay};
use super::*;
use crate::audio::{Encoding, StreamFormat};
use crate::websocket::{Incoming, Limits, OpCode, Reader, Role, accept_key, close_payload, encode};

/// What the peer does beyond taking audio.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    RefusesStart,
    ForgetsTheLastByte,
    ClosesAfterStart,
    AnswersHttp403,
    GivesAudio,
}

/// What a connection brought.
#[derive(Default)]
struct Got {
    head: String,
    audio: Vec<u8>,
    start: Value,
    pongs: usize,
}

/// Serves `connections` connections, one thread each.
fn peer(manner: Manner, connections: usize) -> (WsUrl, Vec<JoinHandle<Got>>) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = WsUrl::of(listener.local_addr().unwrap());
    let listener = Arc::new(listener);
    let threads = (0..connections).map(|_| {
        let listener = listener.clone();
        std::thread::spawn(move || Peer::serve(&listener.accept().unwrap().0, manner))
    });
    (url, threads.collect())
}

struct Peer {
    got: Got,
    out: Vec<u8>,
    manner: Manner,
}

impl Peer {
    fn serve(mut socket: &TcpStream, manner: Manner) -> Got {
        let mut peer = Self { got: Got::default(), out: Vec::new(), manner };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(socket.read(&mut byte).unwrap(), 1, "the client left in the handshake");
            head.push(byte[0]);
        }
        peer.got.head = String::from_utf8(head).unwrap();
        if manner == Manner::AnswersHttp403 {
            let body = r#"{"title":"Forbidden","detail":"this page's origin is not allowed"}"#;
            write!(socket, "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            return peer.got;
        }
        let key = peer.got.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = accept_key(key);
        // In one write with the first messages, as a server may.
        peer.out = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n".to_vec();
        peer.out.extend_from_slice(format!("sec-websocket-accept: {accept}\r\n\r\n").as_bytes());
        peer.say(&json!({"type": "connection_established", "limits": {"max_message_bytes": 4_096, "max_streams": 8},
            "session": {"id": "s", "resume_token": "t", "resume_window_ms": 0}}));
        let mut reader = Reader::new(Role::Server, Limits { message_bytes: 8_192, fragments: 1, assembly_ms: 1_000 });
        let mut buffer = [0; 4_096];
        loop {
            let out = std::mem::take(&mut peer.out);
            // A client that is done may be gone.
            if socket.write_all(&out).is_err() {
                return peer.got;
            }
            let n = match socket.read(&mut buffer) {
                Ok(0) | Err(_) => return peer.got,
                Ok(n) => n,
            };
            reader.feed(&mut buffer[..n], 0, &mut |incoming| peer.take(&incoming)).expect("the client's framing");
        }
    }

    fn say(&mut self, message: &Value) {
        encode(&mut self.out, OpCode::Text, message.to_string().as_bytes());
    }

    fn take(&mut self, incoming: &Incoming<'_>) {
        match incoming {
            Incoming::Text(text) => self.message(&serde_json::from_str(text).unwrap()),
            Incoming::Binary(bytes) => self.got.audio.extend_from_slice(bytes),
            Incoming::Pong(payload) => self.got.pongs += usize::from(*payload == b"are you there"),
            Incoming::Close(code, _) => encode(&mut self.out, OpCode::Close, &close_payload(*code, "")),
            Incoming::Ping(_) => {}
        }
    }

    fn message(&mut self, message: &Value) {
        let forgotten = usize::from(self.manner == Manner::ForgetsTheLastByte);
        let received = self.got.audio.len().saturating_sub(forgotten);
        match (message["type"].as_str().unwrap(), self.manner) {
            ("audio_start", Manner::RefusesStart) => self.say(&json!({
                "type": "error", "code": "STREAM_LIMIT", "message": "no more streams", "reply_to": message["id"]})),
            ("audio_start", Manner::ClosesAfterStart) => {
                encode(&mut self.out, OpCode::Close, &close_payload(4010, "by an administrator"));
            }
            ("audio_start", _) => {
                self.got.start = message.clone();
                encode(&mut self.out, OpCode::Ping, b"are you there");
                self.say(&json!({"type": "audio_started", "stream_id": "s", "stream_index": 0}));
            }
            ("audio_data", _) => {
                if let Some(offset) = message["offset"].as_u64() {
                    assert_eq!(offset, self.got.audio.len() as u64, "offsets join");
                }
                self.got.audio.extend(STANDARD.decode(message["data"].as_str().unwrap()).unwrap());
            }
            ("audio_flush", _) => self
                .say(&json!({"type": "audio_received", "stream_id": "s", "received_bytes": received,
                "received_frames": 1, "decoded_ms": 7, "output_samples": 1})),
            ("audio_end", _) => self.say(&json!({"type": "audio_ended", "stream_id": "s", "reason": "end",
                "received_bytes": received, "duration_ms": 7, "output_samples": 112, "dropped_ms": 0, "peak_dbfs": null,
                "rms_dbfs": -20.5, "speech_ms": null, "recording": null})),
            ("listen_start", Manner::GivesAudio) => {
                self.say(
                    &json!({"type": "listening", "listener_id": "l", "streams": [{"stream_uid": "u", "stream_id": "s",
                    "stream_index": 3, "sample_rate": 16_000, "channels": 1, "from": {}}]}),
                );
                for (flags, position, sample) in [(0u32, 100u64, 1i16), (1, 103, 2), (2, 104, 3)] {
                    if flags == 2 {
                        // News overtake audio.
                        self.say(
                            &json!({"type": "listening_changed", "listener_id": "l", "added": [], "removed": [3]}),
                        );
                    }
                    let mut frame = vec![1, 1, 3, 0];
                    frame.extend(flags.to_le_bytes());
                    frame.extend(position.to_le_bytes());
                    frame.extend(sample.to_le_bytes());
                    encode(&mut self.out, OpCode::Binary, &frame);
                }
            }
            ("join_conversation", _) => {}
            (other, _) => assert_eq!(other, "listen_start"),
        }
    }
}

fn plan(carriage: Carriage) -> Plan {
    let bytes: Vec<u8> = (0..50_001u32).map(|n| (n * 7) as u8).collect();
    Plan {
        pace: Pace::timed(bytes.len() as u64, 100, 20, 1, Speed::Times(10.0)),
        bytes: bytes.into(),
        format: StreamFormat::AUTO,
        carriage,
        record: false,
        conversation_id: Some("c".to_owned()),
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn send(manner: Manner, carriage: Carriage) -> (Result<replay::Outcome, ClientError>, Got) {
    let (url, mut threads) = peer(manner, 1);
    let outcome = run(replay(&url, Some("jwt"), &plan(carriage), &mut |_| {}));
    (outcome, threads.remove(0).join().unwrap())
}

#[test]
fn every_byte_arrives_in_order_by_either_carriage() {
    for carriage in [Carriage::Binary, Carriage::Base64] {
        let (outcome, got) = send(Manner::Good, carriage);
        let outcome = outcome.unwrap();
        assert!(outcome.is_complete(), "{outcome:?}");
        assert_eq!((outcome.ended.peak_dbfs, outcome.ended.rms_dbfs), (None, Some(-20.5)));
        assert!(got.audio[..] == plan(carriage).bytes[..], "the bytes are the file's");
        assert_eq!(got.pongs, 1);
        let start = &got.start;
        assert_eq!(
            (&start["record"], &start["conversation_id"], &start["overflow"]),
            (&json!(false), &json!("c"), &json!("block"))
        );
        assert!(got.head.starts_with("GET /ws HTTP/1.1\r\n") && got.head.contains("Authorization: Bearer jwt\r\n"));
    }
}

#[test]
fn progress_grows_to_the_end() {
    let (url, threads) = peer(Manner::Good, 1);
    let mut seen = Vec::new();
    let outcome = run(replay(&url, None, &plan(Carriage::Binary), &mut |progress| seen.push(progress))).unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].sent_bytes <= pair[1].sent_bytes));
    let last = seen.last().unwrap();
    assert_eq!((last.sent_bytes, last.acked_bytes, last.decoded_ms), (outcome.sent_bytes, outcome.sent_bytes, 7));
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

#[test]
fn a_stream_that_is_not_whole_is_not_complete() {
    let outcome = send(Manner::ForgetsTheLastByte, Carriage::Binary).0.unwrap();
    assert_eq!((outcome.is_complete(), outcome.sent_bytes - outcome.acked_bytes), (false, 1));
}

#[test]
fn refusals_are_told_in_the_servers_words() {
    let message = |manner| send(manner, Carriage::Binary).0.unwrap_err().to_string();
    assert_eq!(message(Manner::RefusesStart), "STREAM_LIMIT: no more streams");
    assert_eq!(message(Manner::ClosesAfterStart), "the server closed the connection: 4010 by an administrator");
    assert_eq!(
        message(Manner::AnswersHttp403),
        "the server refused the connection: HTTP 403: this page's origin is not allowed"
    );
}

#[test]
fn nobody_there_is_told_with_what_to_do() {
    let free = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap();
    let error = run(Connection::open(&WsUrl::of(free), None)).unwrap_err().to_string();
    assert!(error.contains(&free.to_string()) && error.ends_with("start a server with: voxgate serve"), "{error}");
}

#[test]
fn a_listener_hears_live_audio_with_its_gaps_to_its_last_frame() {
    let (url, threads) = peer(Manner::GivesAudio, 1);
    let mut heard = Vec::new();
    let target = Target::Stream("u".to_owned());
    run(listen(&url, None, &target, std::future::pending(), &mut |event| {
        if let Heard::Audio { silence, samples, .. } = event {
            heard.extend(std::iter::repeat_n(0, silence as usize));
            heard.extend_from_slice(samples);
        }
        Ok(())
    }))
    .unwrap();
    assert_eq!(heard, [1, 0, 0, 2, 3]);
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

fn workload(streams: usize, flood: bool) -> Workload {
    Workload {
        streams,
        seconds: 1,
        format: StreamFormat::new(Encoding::PcmS16le, Some(16_000), Some(1)).unwrap(),
        file: Some((vec![1; 6_400], 200)),
        carriage: Carriage::Binary,
        frame_ms: 20,
        ack_ms: 200,
        flood,
    }
}

#[test]
fn a_load_is_sent_whole_and_counted() {
    for (streams, flood) in [(5, false), (2, true)] {
        let (url, threads) = peer(Manner::Good, streams);
        let report = run(bench::run(&url, None, &workload(streams, flood), None)).unwrap();
        let frames = 10 * streams as u64;
        assert_eq!((report.frames_sent, report.frames_acked, report.lost), (frames, frames, 0));
        assert!((report.audio_s - 0.2 * streams as f64).abs() < 1e-9, "{report:?}");
        assert!(report.latency_us.p50 <= report.latency_us.p99 && report.latency_us.max.is_some());
        assert_eq!((report.server_cpu_ms_per_stream_s, report.rss_bytes), (None, None), "no process was named");
        for thread in threads {
            assert!(thread.join().unwrap().audio == vec![1; 6_400]);
        }
    }
}

#[test]
fn a_load_that_is_refused_says_why() {
    let (url, threads) = peer(Manner::RefusesStart, 1);
    let error = run(bench::run(&url, None, &workload(1, false), None)).unwrap_err();
    assert_eq!(error.to_string(), "stream 0: STREAM_LIMIT: no more streams");
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

#[test]
fn the_report_has_the_names_of_the_contract() {
    let report = bench::Report {
        streams: 1,
        audio_s: 1.0,
        frames_sent: 50,
        frames_acked: 50,
        lost: 0,
        server_cpu_ms_per_stream_s: Some(0.2),
        streams_per_core: Some(5_000.0),
        rss_bytes: Some(1),
        rss_bytes_per_stream: Some(1),
        latency_us: bench::Latency::default(),
        x_realtime: 1.0,
    };
    let json = serde_json::to_value(report).unwrap();
    let mut names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut want =
        "streams audio_s frames_sent frames_acked lost server_cpu_ms_per_stream_s streams_per_core rss_bytes \
                    rss_bytes_per_stream latency_us x_realtime"
            .split_whitespace()
            .collect::<Vec<_>>();
    want.sort_unstable();
    assert_eq!(names, want);
    let mut latency: Vec<&str> = json["latency_us"].as_object().unwrap().keys().map(String::as_str).collect();
    latency.sort_unstable();
    assert_eq!(latency, ["max", "p50", "p99", "p999"]);
}
