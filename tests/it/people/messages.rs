//! What is said in a conversation: numbers, receivers, repetitions, pages of history, a restart, and who is not let in.

use serde_json::{Value, json};

use super::{join, member, of_type, say};
use crate::support::jwt::{admin_token, token_with};
use crate::support::{TestServer, http, http_json, sine16k};

#[tokio::test]
async fn a_message_reaches_all_but_the_connection_it_came_from() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann", "hall").await;
    let mut anns_phone = member(&server, "ann", "hall").await;
    let mut bob = member(&server, "bob", "hall").await;
    let mut outside = member(&server, "eve", "other").await;
    let joined = join(&mut bob, "hall").await;
    assert_eq!(joined["last_message_seq"], 0);
    assert_eq!(joined["members"].as_array().unwrap().len(), 2, "{joined}");
    for (n, content) in [json!("hello"), json!({"any": ["json", 1.5, null]})].into_iter().enumerate() {
        let accepted = say(&mut ann, "hall", content.clone()).await;
        assert_eq!(
            (&accepted["type"], accepted["message_seq"].as_u64()),
            (&json!("message_accepted"), Some(n as u64 + 1))
        );
        assert!(accepted["seq"].is_u64());
        for other in [&mut anns_phone, &mut bob] {
            let m = other.expect("message").await;
            assert_eq!(m["conversation_id"], "hall");
            assert_eq!((&m["content"], &m["message_seq"]), (&content, &accepted["message_seq"]));
            assert_eq!(
                m["from"],
                json!({"connection_id": ann.hello["connection_id"], "client_id": "ann", "user_id": null})
            );
        }
    }
    assert!(of_type(&ann.told().await, "message").is_empty(), "the sender knows");
    assert!(of_type(&outside.told().await, "message").is_empty());
    assert_eq!(join(&mut bob, "hall").await["last_message_seq"], 2);

    let left = ann.ask(json!({"type": "leave_conversation", "conversation_id": "hall"})).await;
    assert_eq!((&left["type"], &left["conversation_id"]), (&json!("conversation_left"), &json!("hall")));
    say(&mut bob, "hall", json!("gone?")).await;
    assert!(of_type(&ann.told().await, "message").is_empty(), "who left hears no more");
    assert_eq!(say(&mut ann, "hall", json!("x")).await["code"], "FORBIDDEN");
    assert_eq!(anns_phone.expect("message").await["content"], "gone?");
}

#[tokio::test]
async fn a_repeated_id_is_the_same_message_and_not_delivered_again() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (member(&server, "ann", "hall").await, member(&server, "bob", "hall").await);
    let request = json!({"type": "message", "id": "m1", "conversation_id": "hall", "content": "once"});
    let first = ann.ask(request.clone()).await;
    let again = ann.ask(request.clone()).await;
    assert_eq!((&first["message_seq"], &again["message_seq"]), (&json!(1), &json!(1)));
    assert_eq!(bob.ask(request).await["message_seq"], 2, "another session's id is another's");
    let heard = bob.told().await;
    assert_eq!(of_type(&heard, "message").len(), 1, "{heard:?}");
    for c in [&mut ann, &mut bob] {
        let without_id = json!({"type": "message", "conversation_id": "hall", "content": "no id"});
        c.send(without_id.clone()).await;
        c.send(without_id).await;
        assert_ne!(
            c.expect("message_accepted").await["message_seq"],
            c.expect("message_accepted").await["message_seq"]
        );
    }
}

#[tokio::test]
async fn history_comes_in_pages_and_outlives_a_restart() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann", "hall").await;
    for n in 1..=7 {
        say(&mut ann, "hall", json!(n)).await;
    }
    let page = |after: u64, limit: u64| json!({"type": "history_request", "conversation_id": "hall", "after_seq": after, "limit": limit});
    let numbers = |m: &Value| {
        m["messages"].as_array().unwrap().iter().map(|m| m["message_seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (after, limit, expected, more) in [
        (0, 3, vec![1, 2, 3], true),
        (3, 3, vec![4, 5, 6], true),
        (6, 3, vec![7], false),
        (7, 3, vec![], false),
        (4, 3, vec![5, 6, 7], false),
    ] {
        let h = ann.ask(page(after, limit)).await;
        assert_eq!((&h["type"], numbers(&h), &h["more"]), (&json!("history"), expected, &json!(more)), "{h}");
        assert!(h["seq"].is_null(), "what only reads has no seq");
    }
    let first = &ann.ask(page(0, 1)).await["messages"][0];
    assert_eq!((&first["content"], &first["from"]["client_id"]), (&json!(1), &json!("ann")));
    assert!(first["sent_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(ann.ask(page(0, 501)).await["code"], "INVALID_MESSAGE");

    let server = TestServer::in_dir(server.stop(), |_| ());
    let mut bob = server.connect_to("/ws/bob").await;
    assert_eq!(join(&mut bob, "hall").await["last_message_seq"], 7);
    assert_eq!(numbers(&bob.ask(page(0, 500)).await), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(say(&mut bob, "hall", json!("on")).await["message_seq"], 8);
}

#[tokio::test]
async fn one_answer_of_history_is_bounded_in_bytes_and_says_that_there_is_more() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann", "hall").await;
    let large = "x".repeat(16_000);
    for _ in 0..20 {
        say(&mut ann, "hall", json!(large)).await;
    }
    let mut after = 0;
    let mut seen = 0;
    loop {
        let h = ann.ask(json!({"type": "history_request", "conversation_id": "hall", "after_seq": after})).await;
        let messages = h["messages"].as_array().unwrap();
        assert!(messages.len() * large.len() <= 256 * 1024);
        seen += messages.len();
        after = messages.last().unwrap()["message_seq"].as_u64().unwrap();
        if h["more"] == false {
            break;
        }
    }
    assert_eq!((seen, after), (20, 20));
}

#[tokio::test]
async fn who_is_not_in_a_conversation_does_nothing_there() {
    let server = TestServer::with_tokens();
    let mut inside = server.connect_as("/ws?conversation_id=hall", &token_with("ann", |_| ())).await;
    let mut eve = server.connect_as("/ws", &token_with("eve", |_| ())).await;
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    for request in [
        json!({"type": "message", "content": "x"}),
        json!({"type": "typing", "active": true}),
        json!({"type": "text", "text": "x"}),
        json!({"type": "audio_start", "format": pcm}),
        json!({"type": "presence_request"}),
        json!({"type": "history_request"}),
        json!({"type": "leave_conversation"}),
        json!({"type": "broadcast_request", "content": "x", "target": {"conversation_id": "hall"}}),
    ] {
        let mut request = request;
        if request["target"].is_null() {
            request.as_object_mut().unwrap().remove("target");
            request["conversation_id"] = "hall".into();
        }
        let answer = eve.ask(request.clone()).await;
        assert_eq!(answer["code"], "FORBIDDEN", "{request}: {answer}");
    }
    let listen = eve.ask(json!({"type": "listen_start", "conversation_id": "hall"})).await;
    assert_eq!(listen["code"], "STREAM_NOT_FOUND");
    let told = inside.told().await;
    assert!(told.iter().all(|m| m["type"] == "conversation_joined"), "{told:?}");
    // An administrator looks without joining, but says nothing without it.
    let mut admin = server.connect_as("/ws", &admin_token("root")).await;
    assert_eq!(admin.ask(json!({"type": "presence_request", "conversation_id": "hall"})).await["type"], "presence");
    assert_eq!(say(&mut admin, "hall", json!("x")).await["code"], "FORBIDDEN");
}

#[tokio::test]
async fn as_many_conversations_as_are_configured_and_not_one_more() {
    let server = TestServer::with(|c| c.limits.conversations = 9);
    let mut c = server.connect().await;
    assert_eq!(c.hello["limits"]["max_conversations"], 9);
    for n in 0..9 {
        join(&mut c, &format!("room-{n}")).await;
    }
    let one_more = c.ask(json!({"type": "join_conversation", "conversation_id": "room-9"})).await;
    assert_eq!(one_more["code"], "CONVERSATION_LIMIT");
    join(&mut c, "room-0").await;
    c.ask(json!({"type": "leave_conversation", "conversation_id": "room-7"})).await;
    join(&mut c, "room-9").await;
}

#[tokio::test]
async fn what_is_heard_of_a_conversation_ends_with_leaving_it() {
    let server = TestServer::with_tokens();
    let mut ear = server.connect_as("/ws?conversation_id=hall", &token_with("ann", |_| ())).await;
    let mut mouth = server.connect_as("/ws?conversation_id=hall", &token_with("bob", |_| ())).await;
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let started = mouth.start_with(json!({"format": pcm, "conversation_id": "hall"})).await;
    ear.send(json!({"type": "listen_start", "id": "l", "conversation_id": "hall"})).await;
    let listening = ear.expect("listening").await;
    assert_eq!(listening["streams"][0]["stream_uid"], started["stream_uid"]);
    mouth.send_binary(&sine16k(1_600)).await;
    ear.binaries(1).await;
    ear.send(json!({"type": "leave_conversation", "conversation_id": "hall"})).await;
    assert_eq!(ear.expect("listening_stopped").await["listener_id"], listening["listener_id"]);
    ear.expect("conversation_left").await;
    mouth.send_binary(&sine16k(1_600)).await;
    mouth.ask(json!({"type": "audio_flush"})).await;
    ear.told().await;
    assert!(ear.binary.is_empty(), "nothing more is heard");
    // Who speaks and leaves is not heard on.
    join(&mut ear, "hall").await;
    ear.send(json!({"type": "listen_start", "conversation_id": "hall"})).await;
    ear.expect("listening").await;
    mouth.send(json!({"type": "leave_conversation", "conversation_id": "hall"})).await;
    let ended = mouth.expect("audio_ended").await;
    assert_eq!((ended["reason"].as_str(), ended["output_samples"].as_u64()), (Some("end"), Some(3_200)));
    let changed = ear.expect("listening_changed").await;
    assert_eq!(changed["removed"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn conversations_over_http() {
    let server = TestServer::start();
    assert_eq!(http_json(server.addr, "GET", "/api/conversations/hall").await.0, 404);
    let mut ann = member(&server, "ann", "hall").await;
    for n in 1..=3 {
        say(&mut ann, "hall", json!(n)).await;
    }
    let (status, _, body) =
        http(server.addr, "POST", "/api/conversations/hall/messages", "", br#"{"content": {"from": "outside"}}"#).await;
    let posted: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, posted["message_seq"].as_u64()), (201, Some(4)), "{posted}");
    let m = ann.expect("message").await;
    assert_eq!((&m["content"]["from"], &m["from"]["client_id"]), (&json!("outside"), &json!("http")));
    let (_, about) = http_json(server.addr, "GET", "/api/conversations/hall").await;
    assert_eq!((&about["last_message_seq"], &about["messages"]), (&json!(4), &json!(4)), "{about}");
    assert_eq!(about["members"][0]["client_id"], "ann");
    let (_, page) = http_json(server.addr, "GET", "/api/conversations/hall/messages?limit=2").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &json!("2")));
    let (_, page) = http_json(server.addr, "GET", "/api/conversations/hall/messages?limit=2&after=2").await;
    assert_eq!((&page["items"][1]["message_seq"], &page["next"]), (&json!(4), &json!(null)));
    let (_, presence) = http_json(server.addr, "GET", "/api/conversations/hall/presence").await;
    assert_eq!(presence["members"].as_array().unwrap().len(), 1);
    for (body, expected) in [(&b"{"[..], 400), (b"{}", 400), (b"[1]", 400), (&[b'x'; 40_000][..], 400)] {
        let (status, head, _) = http(server.addr, "POST", "/api/conversations/hall/messages", "", body).await;
        assert_eq!(status, expected);
        assert!(head.contains("application/problem+json"), "{head}");
    }
    let large = json!({"content": "x".repeat(17_000)}).to_string();
    assert_eq!(http(server.addr, "POST", "/api/conversations/hall/messages", "", large.as_bytes()).await.0, 413);
}
