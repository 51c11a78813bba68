//! Listening while somebody speaks (protocol section 5), and what is told of the sound on the way.

use serde_json::{Value, json};
use tokio_tungstenite::MaybeTlsStream;

use crate::support::{Client, TestServer, samples, sine16k};

/// A frame of section 5.
#[derive(Debug)]
struct Frame {
    index: u16,
    gap: bool,
    last: bool,
    position: u64,
    samples: Vec<i16>,
}

fn frame(bytes: &[u8]) -> Frame {
    assert_eq!(bytes[..2], [1, 1], "version and kind");
    let flags = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    assert_eq!(flags & !3, 0, "only known flags");
    Frame {
        index: u16::from_le_bytes(bytes[2..4].try_into().unwrap()),
        gap: flags & 1 != 0,
        last: flags & 2 != 0,
        position: u64::from_le_bytes(bytes[8..16].try_into().unwrap()),
        samples: samples(&bytes[16..]),
    }
}

/// Frames until the stream's last.
async fn heard(c: &mut Client) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        frames.push(frame(&c.binaries(1).await[0]));
        if frames.last().unwrap().last {
            return frames;
        }
    }
}

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

#[tokio::test]
async fn who_joins_late_hears_the_recording_from_there_to_its_end() {
    let server = TestServer::start();
    let (mut speaker, mut other) = (server.connect_to("/ws/speaker").await, server.connect().await);
    let started = speaker.start_with(json!({"stream_id": "mic", "format": pcm16k()})).await;
    let pcm = sine16k(16_000);
    speaker.send_binary(&pcm[..10_001]).await;
    speaker.send(json!({"type": "audio_flush"})).await;
    while speaker.expect("audio_received").await["output_samples"] != 5_000 {}

    // The speaker by its own name for it, the other by the unique one.
    speaker.send(json!({"type": "listen_start", "id": "l", "stream_id": "mic"})).await;
    other.send(json!({"type": "listen_start", "stream_id": started["stream_uid"]})).await;
    let own = speaker.expect("listening").await;
    let listening = other.expect("listening").await;
    assert_eq!((own["reply_to"].as_str(), own["seq"].is_u64()), (Some("l"), true));
    let s = &listening["streams"][0];
    assert_eq!(s["stream_uid"], started["stream_uid"]);
    assert_eq!(
        (s["stream_id"].as_str(), s["sample_rate"].as_u64(), s["channels"].as_u64()),
        (Some("mic"), Some(16_000), Some(1))
    );
    assert_eq!(s["from"]["client_id"], "speaker");
    assert_eq!(s["from"]["connection_id"], speaker.hello["connection_id"]);

    for piece in pcm[10_001..].chunks(777) {
        speaker.send_binary(piece).await;
    }
    let ended = speaker.end().await;
    let (_, recorded) = server.recording(&ended);
    for c in [&mut speaker, &mut other] {
        let frames = heard(c).await;
        let mut position = 5_000;
        for f in &frames {
            assert_eq!((f.index, f.position, f.gap), (s["stream_index"].as_u64().unwrap() as u16, position, false));
            let at = position as usize;
            assert_eq!(f.samples, recorded[at..at + f.samples.len()]);
            position += f.samples.len() as u64;
        }
        assert_eq!(position, 16_000);
    }
}

#[tokio::test]
async fn a_conversation_is_heard_as_streams_come_and_go() {
    let server = TestServer::start();
    let mut ear = server.connect_to("/ws?conversation_id=house").await;
    let mut speaker = server.connect_to("/ws?conversation_id=house").await;
    let mut stranger = server.connect().await;
    ear.send(json!({"type": "listen_start", "conversation_id": "house"})).await;
    let listening = ear.expect("listening").await;
    assert_eq!(listening["streams"], json!([]));
    stranger.start(pcm16k()).await;
    for round in 0..2 {
        let started = speaker.start_with(json!({"format": pcm16k(), "conversation_id": "house"})).await;
        let changed = ear.expect("listening_changed").await;
        assert_eq!(changed["listener_id"], listening["listener_id"]);
        assert_eq!(changed["added"][0]["stream_uid"], started["stream_uid"]);
        let index = changed["added"][0]["stream_index"].as_u64().unwrap();
        let pcm = sine16k(1_600);
        stranger.send_binary(&pcm).await;
        speaker.send_binary(&pcm).await;
        speaker.end().await;
        let frames = heard(&mut ear).await;
        assert!(frames.iter().all(|f| u64::from(f.index) == index));
        let all: Vec<i16> = frames.into_iter().flat_map(|f| f.samples).collect();
        assert!(all == samples(&pcm), "round {round}");
        let changed = ear.expect("listening_changed").await;
        assert_eq!((&changed["removed"], &changed["added"]), (&json!([index]), &json!([])));
    }
    ear.send(json!({"type": "listen_stop", "listener_id": listening["listener_id"]})).await;
    ear.expect("listening_stopped").await;
    let running = speaker.start_with(json!({"format": pcm16k(), "conversation_id": "house"})).await;
    ear.send(json!({"type": "listen_start", "conversation_id": "house"})).await;
    let again = ear.expect("listening").await;
    assert_eq!(again["streams"].as_array().map(Vec::len), Some(1), "what runs already");
    assert_eq!(again["streams"][0]["stream_uid"], running["stream_uid"]);
    ear.send(json!({"type": "listen_stop", "listener_id": again["listener_id"]})).await;
    ear.expect("listening_stopped").await;
    speaker.start_with(json!({"format": pcm16k(), "conversation_id": "house"})).await;
    speaker.send_binary(&sine16k(1_600)).await;
    speaker.end().await;
    ear.send(json!({"type": "ping"})).await;
    ear.expect("pong").await;
    assert!(ear.binary.is_empty(), "nothing is heard any more");
    ear.send(json!({"type": "listen_stop", "listener_id": listening["listener_id"]})).await;
    ear.expect_error("NOT_FOUND").await;
    ear.send(json!({"type": "listen_start", "stream_id": "nothing"})).await;
    ear.expect_error("STREAM_NOT_FOUND").await;
}

/// A client whose socket holds little, so that what it does not read waits at the server.
async fn narrow(server: &TestServer) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let stream = MaybeTlsStream::Plain(socket.connect(server.addr).await.unwrap());
    let (ws, _) = tokio_tungstenite::client_async(format!("ws://{}/ws", server.addr), stream).await.unwrap();
    let mut c = Client::over(ws, json!(null));
    c.hello = c.expect("connection_established").await;
    c
}

/// Failures.md row 1: the one who does not read loses the oldest audio, nobody else anything.
#[tokio::test]
async fn a_listener_that_does_not_read_loses_its_oldest_audio_alone() {
    const PART: usize = 64 * 1024;
    let server = TestServer::start();
    let (mut speaker, mut quick, mut slow) = (server.connect().await, server.connect().await, narrow(&server).await);
    let started = speaker.start_with(json!({"format": pcm16k(), "record": false, "ack_ms": 0})).await;
    for c in [&mut quick, &mut slow] {
        c.send(json!({"type": "listen_start", "stream_id": started["stream_uid"]})).await;
        c.expect("listening").await;
    }
    let value = |i: u64| (i * 7_919 % 65_521) as i16;
    let right = |f: &Frame| f.samples.iter().zip(f.position..).all(|(&s, i)| s == value(i));
    let mut sent = 0u64;
    // Past what both kernels buffer of a connection (6 MB at the most here) and the server's own bound of 128 KB.
    while sent < 10 << 20 {
        let part: Vec<u8> = (sent / 2..(sent + PART as u64) / 2).flat_map(|i| value(i).to_le_bytes()).collect();
        speaker.send_binary(&part).await;
        let mut position = sent / 2;
        sent += PART as u64;
        while position < sent / 2 {
            let f = frame(&quick.binaries(1).await[0]);
            assert_eq!((f.position, f.gap), (position, false), "another listener misses nothing");
            assert!(right(&f));
            position += f.samples.len() as u64;
        }
    }
    let ended = speaker.end().await;
    assert_eq!(ended["output_samples"], sent / 2, "nor does the speaker");
    slow.send(json!({"type": "ping", "payload": "still there"})).await;
    slow.expect("pong").await;
    let mut position = 0;
    let mut gaps = 0;
    for f in heard(&mut slow).await {
        assert_eq!(f.gap, f.position != position, "a gap is told where it is");
        gaps += usize::from(f.gap);
        assert!(right(&f));
        position = f.position + f.samples.len() as u64;
    }
    assert_eq!(position, sent / 2, "the newest is heard to the end");
    assert!(gaps > 0, "the oldest was lost");
}

/// Levels ten times a second, speech where it is: for who asked, and computed for nobody else.
#[tokio::test]
async fn levels_and_speech_are_told_to_who_asked() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let wav = crate::support::fixture("recorders/speech48.wav");
    let ended = c.stream(json!({"encoding": "wav"}), &wav, 40_000).await;
    assert!(ended["speech_ms"].is_null(), "nobody asked");

    c.send(json!({"type": "subscribe_events", "events": ["speech", "levels", "nonsense"]})).await;
    let updated = c.expect("subscription_updated").await;
    assert_eq!(updated["denied"], json!(["nonsense"]));
    c.start(json!({"encoding": "wav"})).await;
    for piece in wav.chunks(9_600) {
        c.send_binary(piece).await;
    }
    c.send(json!({"type": "audio_end"})).await;
    let (mut levels, mut at_ms, mut begun, mut spoken_ms) = (0, 0, None, 0);
    let ended = loop {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "audio_level" => {
                levels += 1;
                at_ms = m["at_ms"].as_u64().unwrap();
                assert!(at_ms == levels * 100 || at_ms < levels * 100 && at_ms > levels * 100 - 100, "{at_ms}");
                assert!(m["rms_dbfs"].as_f64() <= m["peak_dbfs"].as_f64() && m["clipped"] == false);
                assert!(m["seq"].is_null());
            }
            "speech_started" => {
                assert!(begun.replace(m["at_ms"].as_u64().unwrap()).is_none(), "ended before it begins again");
            }
            "speech_ended" => {
                assert_eq!(m["start_ms"].as_u64(), begun.take());
                spoken_ms += m["end_ms"].as_u64().unwrap() - m["start_ms"].as_u64().unwrap();
            }
            "audio_ended" => break m,
            "audio_received" => {}
            other => panic!("{other}"),
        }
    };
    let duration_ms = ended["duration_ms"].as_u64().unwrap();
    assert_eq!((levels, at_ms), (duration_ms.div_ceil(100), duration_ms), "the last one is of what was left");
    assert!(begun.is_none());
    assert_eq!(ended["speech_ms"], spoken_ms);
    assert!((3_000..=duration_ms).contains(&spoken_ms), "{spoken_ms} of {duration_ms} ms");

    c.send(json!({"type": "unsubscribe_events", "events": ["speech", "levels"]})).await;
    c.expect("subscription_updated").await;
    c.start(json!({"encoding": "wav"})).await;
    for piece in wav.chunks(40_000) {
        c.send_binary(piece).await;
    }
    c.send(json!({"type": "audio_end"})).await;
    loop {
        let m = c.next().await;
        match m["type"].as_str().unwrap() {
            "audio_ended" => break assert!(m["speech_ms"].is_null()),
            kind => assert_eq!(kind, "audio_received"),
        }
    }
}

#[tokio::test]
async fn who_leaves_a_conversation_is_heard_there_no_more() {
    let server = TestServer::start();
    let mut ear = server.connect_to("/ws?conversation_id=house").await;
    let mut speaker = server.connect_to("/ws?conversation_id=house").await;
    ear.send(json!({"type": "listen_start", "conversation_id": "house"})).await;
    let listening = ear.expect("listening").await;
    speaker.start_with(json!({"format": pcm16k(), "conversation_id": "house"})).await;
    speaker.send_binary(&sine16k(1_600)).await;
    speaker.send(json!({"type": "leave_conversation", "conversation_id": "house"})).await;
    let ended = speaker.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(1_600)));
    assert_eq!(heard(&mut ear).await.iter().map(|f| f.samples.len()).sum::<usize>(), 1_600);
    ear.send(json!({"type": "leave_conversation", "conversation_id": "house"})).await;
    assert_eq!(ear.expect("listening_stopped").await["listener_id"], listening["listener_id"]);
    ear.expect("conversation_left").await;
}
