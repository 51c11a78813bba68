//! Who is there, on how many devices, speaking and typing; and who does not want to know.

use serde_json::{Value, json};

use super::{join, member, of_type, say};
use crate::support::{Client, TestServer, sine16k};

fn change(m: &Value) -> (&str, u64, bool) {
    (m["change"].as_str().unwrap(), m["connections"].as_u64().unwrap(), m["streaming"].as_bool().unwrap())
}

#[tokio::test]
async fn two_devices_are_one_member_that_leaves_with_the_second() {
    let server = TestServer::start();
    let mut bob = member(&server, "bob", "hall").await;
    let mut phone = member(&server, "ann", "hall").await;
    let m = bob.expect("presence_changed").await;
    assert_eq!(m["conversation_id"], "hall");
    assert_eq!(m["member"], json!({"client_id": "ann", "user_id": null}));
    assert_eq!(change(&m), ("joined", 1, false));
    let laptop = member(&server, "ann", "hall").await;
    assert_eq!(change(&bob.expect("presence_changed").await), ("updated", 2, false));
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    phone.start_with(json!({"format": pcm, "conversation_id": "hall"})).await;
    assert_eq!(change(&bob.expect("presence_changed").await), ("updated", 2, true));
    let presence = bob.ask(json!({"type": "presence_request", "conversation_id": "hall"})).await;
    let members = presence["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{presence}");
    let ann = members.iter().find(|m| m["client_id"] == "ann").unwrap();
    assert_eq!((&ann["connections"], &ann["streaming"], &ann["typing"]), (&json!(2), &json!(true), &json!(false)));
    assert!(ann["since"].as_str().unwrap().ends_with('Z'));
    phone.send_binary(&sine16k(160)).await;
    phone.end().await;
    assert_eq!(change(&bob.expect("presence_changed").await), ("updated", 2, false));
    laptop.close().await;
    assert_eq!(change(&bob.expect("presence_changed").await), ("updated", 1, false));
    phone.ask(json!({"type": "leave_conversation", "conversation_id": "hall"})).await;
    assert_eq!(change(&bob.expect("presence_changed").await), ("left", 0, false));
    phone.close().await;
    let told = bob.told().await;
    assert!(told.is_empty(), "exactly once: {told:?}");
}

async fn types(c: &mut Client, active: bool) {
    c.send(json!({"type": "typing", "conversation_id": "hall", "active": active})).await;
}

#[tokio::test]
async fn typing_is_told_to_the_others_when_it_begins_and_ends() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (member(&server, "ann", "hall").await, member(&server, "bob", "hall").await);
    types(&mut ann, true).await;
    types(&mut ann, true).await;
    let m = bob.expect("typing").await;
    assert_eq!((&m["active"], &m["from"]["client_id"], &m["seq"]), (&json!(true), &json!("ann"), &json!(null)));
    let presence = bob.ask(json!({"type": "presence_request", "conversation_id": "hall"})).await;
    assert_eq!(presence["members"][0]["typing"], true, "{presence}");
    types(&mut ann, false).await;
    assert_eq!(bob.expect("typing").await["active"], false);
    // A message ends it too, and so does leaving.
    for end in ["message", "leave_conversation"] {
        types(&mut ann, true).await;
        assert_eq!(bob.expect("typing").await["active"], true);
        ann.ask(json!({"type": end, "conversation_id": "hall", "content": "said"})).await;
        assert_eq!(bob.expect("typing").await["active"], false, "{end}");
    }
    let told = bob.told().await;
    assert!(of_type(&told, "typing").is_empty(), "once each: {told:?}");
    assert!(of_type(&ann.told().await, "typing").is_empty());
}

/// The length of the wait is the session test's; that somebody wakes up for it is this one's.
#[tokio::test]
async fn typing_that_is_not_renewed_ends_by_itself() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (member(&server, "ann", "hall").await, member(&server, "bob", "hall").await);
    types(&mut ann, true).await;
    assert_eq!(bob.expect("typing").await["active"], true);
    let began = std::time::Instant::now();
    assert_eq!(bob.expect("typing").await["active"], false);
    let took = began.elapsed().as_millis();
    assert!((5_500..12_000).contains(&took), "{took} ms");
}

#[tokio::test]
async fn admin_topics_are_for_administrators() {
    let server = TestServer::with_tokens();
    let mut ann = server.connect_as("/ws", &crate::support::jwt::token("ann")).await;
    let mut root = server.connect_as("/ws", &crate::support::jwt::admin_token("root")).await;
    let subscribe = json!({"type": "subscribe_events", "events": ["alerts", "connections", "errors", "metrics"]});
    let updated = ann.ask(subscribe.clone()).await;
    assert_eq!(updated["denied"], json!(["connections", "errors", "metrics"]), "{updated}");
    assert_eq!(updated["active"], json!(["presence", "typing", "transcripts", "system", "alerts"]));
    let updated = root.ask(subscribe).await;
    assert_eq!((&updated["denied"], updated["active"].as_array().unwrap().len()), (&json!([]), 8), "{updated}");
}

#[tokio::test]
async fn what_nobody_subscribed_to_is_not_told() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (member(&server, "ann", "hall").await, member(&server, "bob", "hall").await);
    let updated = bob.ask(json!({"type": "unsubscribe_events", "events": ["presence", "typing"]})).await;
    let active = updated["active"].as_array().unwrap();
    assert!(!active.contains(&json!("presence")) && !active.contains(&json!("typing")), "{updated}");
    types(&mut ann, true).await;
    let third = member(&server, "eve", "hall").await;
    say(&mut ann, "hall", json!("hello")).await;
    assert_eq!(bob.next().await["type"], "message", "the one thing that is no event one can be without");
    bob.ask(json!({"type": "subscribe_events", "events": ["presence"]})).await;
    third.close().await;
    assert_eq!(bob.expect("presence_changed").await["change"], "left");
    join(&mut bob, "hall").await;
}
