//! A dropped socket loses nothing: sessions that go on with the next one (failures.md rows 18, 19, 26).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite;
use voxgate::websocket::{OpCode, encode_masked};

use crate::support::jwt::{admin_token, token};
use crate::support::{Client, TestServer, fixture, http_json, samples, sine16k};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// What a client must know to come back.
struct Ticket {
    session: Value,
    token: Value,
}

impl Ticket {
    fn of(hello: &Value) -> Self {
        Self { session: hello["session"]["id"].clone(), token: hello["session"]["resume_token"].clone() }
    }

    fn message(&self, last_seq: Value) -> Value {
        json!({"type": "resume", "id": "back", "session_id": self.session, "resume_token": self.token, "last_seq": last_seq})
    }

    /// Comes back on a new socket.
    async fn resume(&mut self, server: &TestServer, last_seq: Value) -> (Client, Value) {
        self.resume_on(server.connect().await, last_seq).await
    }

    async fn resume_on(&mut self, mut c: Client, last_seq: Value) -> (Client, Value) {
        c.send(self.message(last_seq)).await;
        let resumed = c.expect("resumed").await;
        assert_eq!((&resumed["reply_to"], &resumed["session"]["id"]), (&json!("back"), &self.session));
        self.token = resumed["session"]["resume_token"].clone();
        (c, resumed)
    }

    async fn fails(&self, server: &TestServer) {
        let mut c = server.connect().await;
        c.send(self.message(Value::Null)).await;
        c.expect_error("RESUME_FAILED").await;
        c.send(json!({"type": "ping"})).await;
        c.expect("pong").await; // the new session works all the same
    }
}

/// Row 19. Neither another user nor an administrator comes back as somebody else, and trying costs her nothing.
#[tokio::test]
async fn a_session_is_its_users_alone() {
    let server = TestServer::with_tokens();
    let ann = server.connect_as("/ws/ann", &token("ann")).await;
    let mut ticket = Ticket::of(&ann.hello);
    drop(ann);
    for stranger in [token("bob"), admin_token("root")] {
        let mut c = server.connect_as("/ws/ann", &stranger).await;
        c.send(ticket.message(Value::Null)).await;
        c.expect_error("RESUME_FAILED").await;
    }
    let c = server.connect_as("/ws/ann", &token("ann")).await;
    assert_eq!(ticket.resume_on(c, Value::Null).await.1["streams"], json!([]));
}

async fn until_ended(server: &TestServer, ticket: &Ticket) {
    let path = format!("/api/sessions/{}", ticket.session.as_str().unwrap());
    loop {
        let (status, session) = http_json(server.addr, "GET", &path).await;
        if status == 404 || session["state"] == "ended" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn until_detached(server: &TestServer, ticket: &Ticket) {
    let path = format!("/api/sessions/{}", ticket.session.as_str().unwrap());
    while http_json(server.addr, "GET", &path).await.1["state"] != "recovering" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Row 18: a hundred drops in a row, each at some byte of some frame.
#[tokio::test]
async fn a_hundred_drops_at_any_byte_cost_not_one_sample() {
    let server = TestServer::start();
    let pcm: Vec<u8> = sine16k(160_000).chunks(2).flat_map(|s| [s[0], s[1], s[1], s[0]]).collect();
    for (name, format, bytes) in [
        ("pcm", json!({"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 2}), pcm),
        ("webm", json!({"encoding": "webm"}), fixture("recorders/chromium-opus.webm")),
    ] {
        let mut dice = Dice(7);
        let undisturbed = server.connect().await.stream(format.clone(), &bytes, 4_000).await;
        let mut c = server.connect().await;
        let mut ticket = Ticket::of(&c.hello);
        c.start_with(json!({"format": format, "ack_ms": 0})).await;
        let mut at = 0;
        for _ in 0..100 {
            let piece = bytes.len() / 100;
            for _ in 0..dice.below(3) {
                let end = bytes.len().min(at + 1 + dice.below(piece));
                c.send_binary(&bytes[at..end]).await;
                at = end;
            }
            let mut frame = Vec::new();
            encode_masked(&mut frame, OpCode::Binary, &bytes[at..bytes.len().min(at + piece)], [1, 2, 3, 4]);
            let cut = dice.below(frame.len() + 1);
            c.ws.get_mut().write_all(&frame[..cut]).await.unwrap();
            drop(c);
            let resumed;
            (c, resumed) = ticket.resume(&server, Value::Null).await;
            assert_eq!((resumed["streams"][0]["stream_index"].as_u64(), &resumed["missed"]), (Some(0), &json!(0)));
            at = resumed["streams"][0]["received_bytes"].as_u64().unwrap() as usize;
        }
        assert!(at < bytes.len(), "{name}: the drops came while it ran");
        c.send_binary(&bytes[at..]).await;
        let ended = c.end().await;
        assert_eq!((&ended["reason"], &ended["received_bytes"]), (&json!("end"), &json!(bytes.len())), "{name}");
        assert!(server.recording(&ended) == server.recording(&undisturbed), "{name}: the recordings differ");
        assert_eq!(ended["recording"]["sha256"], undisturbed["recording"]["sha256"], "{name}");
    }
}

/// Sends some bytes of a frame, and no more.
async fn cut_in(mut c: Client, frame: &[u8], dice: &mut Dice) {
    let cut = dice.below(frame.len() + 1);
    c.ws.get_mut().write_all(&frame[..cut]).await.unwrap();
}

/// Row 18 for base64: the client goes on from the byte it knows to be there, not from the one that is, and `offset` sorts it out.
#[tokio::test]
async fn a_hundred_drops_of_base64_with_offsets_cost_not_one_sample() {
    const PART: usize = 900;
    let server = TestServer::with(|c| c.limits.messages_per_s = 100_000);
    let bytes = sine16k(160_000);
    let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let message = |at: usize| {
        let data = STANDARD.encode(&bytes[at..bytes.len().min(at + PART)]);
        json!({"type": "audio_data", "stream_id": "voice", "offset": at, "data": data})
    };
    let mut dice = Dice(11);
    let mut c = server.connect().await;
    let mut ticket = Ticket::of(&c.hello);
    c.start_with(json!({"stream_id": "voice", "format": format, "ack_ms": 0})).await;
    let (mut at, mut there, mut repeated) = (0, 0, 0);
    for _ in 0..100 {
        for _ in 0..dice.below(4) {
            c.send(message(at)).await;
            at += PART;
        }
        let mut frame = Vec::new();
        encode_masked(&mut frame, OpCode::Text, message(at).to_string().as_bytes(), [4, 3, 2, 1]);
        cut_in(c, &frame, &mut dice).await;
        let resumed;
        (c, resumed) = ticket.resume(&server, Value::Null).await;
        let received = resumed["streams"][0]["received_bytes"].as_u64().unwrap() as usize;
        assert!((there..=there.max(at + PART)).contains(&received), "{there}, {at}: {received}");
        there = received;
        // From before what is there: the server skips it. One beyond it first: a hole, and nothing is taken.
        if dice.below(3) == 0 {
            c.send(message(received + 1)).await;
            let gap = c.expect_error("AUDIO_GAP").await;
            assert_eq!(gap["details"]["expected_offset"], received);
        }
        at = received.saturating_sub(dice.below(2 * PART));
        repeated += received - at;
    }
    assert!(at < bytes.len() && repeated > 10_000);
    while at < bytes.len() {
        c.send(message(at)).await;
        at += PART;
    }
    let ended = c.end().await;
    assert_eq!((&ended["reason"], &ended["received_bytes"]), (&json!("end"), &json!(bytes.len())));
    assert!(server.recording(&ended).1 == samples(&bytes));
}

/// Row 18 for two streams that share a socket, a container and raw samples: each goes on at its own byte.
#[tokio::test]
async fn a_hundred_drops_of_two_tagged_streams_cost_neither_a_sample() {
    let server = TestServer::start();
    let formats = [json!({"encoding": "webm"}), json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})];
    let bytes = [fixture("recorders/chromium-opus.webm"), sine16k(80_000)];
    let whole = server.connect().await.stream(formats[0].clone(), &bytes[0], 4_000).await;
    let tagged = |stream: usize, from: usize, to: usize| {
        [&u32::try_from(stream).unwrap().to_le_bytes()[..], &bytes[stream][from..to.min(bytes[stream].len())]].concat()
    };
    let mut dice = Dice(13);
    let mut c = server.connect().await;
    let mut ticket = Ticket::of(&c.hello);
    for (name, format) in ["webm", "pcm"].iter().zip(&formats) {
        c.start_with(json!({"stream_id": name, "framing": "tagged", "format": format, "ack_ms": 0})).await;
    }
    let mut at = [0, 0];
    for _ in 0..100 {
        for _ in 0..dice.below(5) {
            let s = dice.below(2);
            let to = bytes[s].len().min(at[s] + 1 + dice.below(bytes[s].len() / 150));
            c.send_binary(&tagged(s, at[s], to)).await;
            at[s] = to;
        }
        let s = dice.below(2);
        let mut frame = Vec::new();
        encode_masked(&mut frame, OpCode::Binary, &tagged(s, at[s], at[s] + bytes[s].len() / 150), [7; 4]);
        cut_in(c, &frame, &mut dice).await;
        let resumed;
        (c, resumed) = ticket.resume(&server, Value::Null).await;
        for (s, name) in ["webm", "pcm"].iter().enumerate() {
            let stream = &resumed["streams"][s];
            assert_eq!((&stream["stream_id"], &stream["stream_index"]), (&json!(name), &json!(s)));
            at[s] = stream["received_bytes"].as_u64().unwrap() as usize;
        }
    }
    assert!(at[0] < bytes[0].len() && at[1] < bytes[1].len(), "the drops came while they ran");
    let mut ends = Vec::new();
    for (s, name) in ["webm", "pcm"].iter().enumerate() {
        c.send_binary(&tagged(s, at[s], bytes[s].len())).await;
        c.send(json!({"type": "audio_end", "stream_id": name})).await;
        let ended = c.expect("audio_ended").await;
        assert_eq!((&ended["stream_id"], &ended["received_bytes"]), (&json!(name), &json!(bytes[s].len())));
        ends.push(ended);
    }
    assert_eq!(ends[0]["recording"]["sha256"], whole["recording"]["sha256"]);
    assert!(server.recording(&ends[1]).1 == samples(&bytes[1]));
}

#[tokio::test]
async fn what_is_said_right_behind_the_resume_belongs_to_the_session() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let ticket = Ticket::of(&c.hello);
    let pcm = sine16k(16_000);
    c.start_with(json!({"format": {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}})).await;
    c.send_binary(&pcm[..8_000]).await;
    c.send(json!({"type": "audio_flush"})).await;
    c.expect("audio_received").await;
    drop(c);
    let mut c = server.connect().await;
    let mut all = Vec::new();
    encode_masked(&mut all, OpCode::Text, ticket.message(Value::Null).to_string().as_bytes(), [0; 4]);
    encode_masked(&mut all, OpCode::Binary, &pcm[8_000..], [9; 4]);
    encode_masked(&mut all, OpCode::Text, br#"{"type":"audio_end","id":"end"}"#, [5; 4]);
    c.ws.get_mut().write_all(&all).await.unwrap();
    assert_eq!(c.next().await["type"], "resumed", "before anything else");
    let ended = c.expect("audio_ended").await;
    assert_eq!((&ended["reply_to"], &ended["received_bytes"]), (&json!("end"), &json!(32_000)));
    let kept: Vec<u8> = server.recording(&ended).1.iter().flat_map(|s| s.to_le_bytes()).collect();
    assert!(kept == pcm);
}

/// Row 19.
#[tokio::test]
async fn a_token_resumes_once_and_only_within_the_window() {
    let server = TestServer::with(|c| c.session.resume_window_ms = 300);
    let c = server.connect().await;
    let mut ticket = Ticket::of(&c.hello);
    let first = Ticket::of(&c.hello);
    drop(c);
    // An answer that was lost locks nobody out: the same token again.
    let mut lost = server.connect().await;
    lost.send(ticket.message(Value::Null)).await;
    drop(lost);
    let (mut c, _) = ticket.resume(&server, Value::Null).await;
    // Nobody guesses: a wrong token, a wrong session, one's own.
    for (session, token) in [
        (ticket.session.clone(), json!("0".repeat(32))),
        (json!("00000000-0000-7000-8000-000000000000"), ticket.token.clone()),
    ] {
        Ticket { session, token }.fails(&server).await;
    }
    c.send(Ticket::of(&c.hello).message(Value::Null)).await;
    c.expect_error("RESUME_FAILED").await;
    first.fails(&server).await; // the client was heard on the new socket: its token is spent
    drop(c);
    until_ended(&server, &ticket).await;
    ticket.fails(&server).await;
}

/// Row 19: twice at once.
#[tokio::test]
async fn of_two_that_resume_at_once_one_wins_and_the_other_is_superseded() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let ticket = Ticket::of(&c.hello);
    c.start_with(json!({"format": {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}})).await;
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    tokio::join!(a.send(ticket.message(Value::Null)), b.send(ticket.message(Value::Null)));
    assert_eq!(c.closed().await, 4009, "the old socket, though it was alive");
    let mut winners = 0;
    for mut x in [a, b] {
        // The loser may be cut before it can say or read anything.
        let ping = tungstenite::Message::text(r#"{"type":"ping"}"#);
        if x.ws.send(ping).await.is_err() || !answers(&mut x).await {
            continue;
        }
        winners += 1;
        x.send_binary(&sine16k(1_600)).await;
        assert_eq!(x.end().await["received_bytes"], 3_200);
    }
    assert_eq!(winners, 1);
}

/// Whether a pong comes; else the connection must end as superseded, or be cut.
async fn answers(c: &mut Client) -> bool {
    loop {
        match c.ws.next().await {
            Some(Ok(tungstenite::Message::Text(t))) => {
                if serde_json::from_str::<Value>(&t).unwrap()["type"] == "pong" {
                    return true;
                }
            }
            Some(Ok(tungstenite::Message::Close(f))) => {
                assert_eq!(f.map(|f| u16::from(f.code)), Some(4009));
                return false;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
    }
}

#[tokio::test]
async fn what_was_missed_is_replayed_and_what_fell_off_is_counted() {
    let server = TestServer::with(|c| c.session.event_ring = 5);
    let (mut a, mut b) = (server.connect_to("/ws/ann").await, server.connect_to("/ws/bob").await);
    let mut ticket = Ticket::of(&a.hello);
    for c in [&mut a, &mut b] {
        c.send(json!({"type": "join_conversation", "conversation_id": "house"})).await;
        c.expect("conversation_joined").await;
    }
    let seen = a.expect("presence_changed").await["seq"].clone();
    drop(a);
    until_detached(&server, &ticket).await;
    for n in 1..=3 {
        b.send(json!({"type": "message", "conversation_id": "house", "content": n})).await;
        b.expect("message_accepted").await;
    }
    let (mut a, resumed) = ticket.resume(&server, seen.clone()).await;
    assert_eq!((&resumed["replayed"], &resumed["missed"]), (&json!(3), &json!(0)));
    for n in 1..=3 {
        let m = a.expect("message").await;
        assert_eq!((&m["content"], m["seq"].as_u64()), (&json!(n), Some(seen.as_u64().unwrap() + n)));
    }
    drop(a);
    until_detached(&server, &ticket).await;
    for n in 4..=10 {
        b.send(json!({"type": "message", "conversation_id": "house", "content": n})).await;
        b.expect("message_accepted").await;
    }
    let (mut a, resumed) = ticket.resume(&server, json!(seen.as_u64().unwrap() + 3)).await;
    assert_eq!((&resumed["replayed"], &resumed["missed"]), (&json!(5), &json!(2)), "the ring holds five");
    for n in 6..=10 {
        assert_eq!(a.expect("message").await["content"], n);
    }
}

/// Row 26.
#[tokio::test]
async fn a_lid_that_closes_is_told_once_and_after_the_window() {
    let server = TestServer::with(|c| c.session.resume_window_ms = 400);
    let mut witness = server.connect_to("/ws/witness?conversation_id=house").await;
    witness.expect("conversation_joined").await;
    let laptop = server.connect_to("/ws/ann?conversation_id=house").await;
    assert_eq!(witness.expect("presence_changed").await["change"], "joined");
    let phone = server.connect_to("/ws/ann?conversation_id=house").await;
    let change = witness.expect("presence_changed").await;
    assert_eq!((&change["change"], &change["connections"]), (&json!("updated"), &json!(2)));
    let mut ticket = Ticket::of(&laptop.hello);
    drop(laptop);
    until_detached(&server, &ticket).await;
    let (laptop, _) = ticket.resume(&server, Value::Null).await;
    witness.send(json!({"type": "presence_request", "id": "now", "conversation_id": "house"})).await;
    let m = witness.next().await;
    assert_eq!((&m["type"], &m["members"][1]["connections"]), (&json!("presence"), &json!(2)), "nobody noticed: {m}");
    drop(laptop);
    let change = witness.expect("presence_changed").await;
    assert_eq!((&change["change"], &change["connections"]), (&json!("updated"), &json!(1)));
    phone.close().await; // said goodbye: no window
    let change = witness.expect("presence_changed").await;
    assert_eq!((&change["change"], &change["connections"]), (&json!("left"), &json!(0)));
    witness.send(json!({"type": "ping"})).await;
    assert_eq!(witness.next().await["type"], "pong", "told exactly once");
}

#[tokio::test]
async fn a_goodbye_ends_the_session_at_once() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let ticket = Ticket::of(&c.hello);
    c.start_with(json!({"format": {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}})).await;
    c.close().await;
    until_ended(&server, &ticket).await;
    ticket.fails(&server).await;
}
