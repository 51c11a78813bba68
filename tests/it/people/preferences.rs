//! Preferences: a user's where there is one, else a client's; bounded; kept.

use serde_json::json;

use crate::support::jwt::{jwt, token};
use crate::support::{Client, TestServer};

async fn set(c: &mut Client, preferences: serde_json::Value) -> serde_json::Value {
    c.ask(json!({"type": "set_preferences", "preferences": preferences})).await
}

async fn get(c: &mut Client) -> serde_json::Value {
    let answer = c.ask(json!({"type": "get_preferences"})).await;
    assert_eq!(
        (&answer["type"], &answer["seq"]),
        (&json!("preferences"), &json!(null)),
        "what only reads is not replayed"
    );
    answer["preferences"].clone()
}

#[tokio::test]
async fn preferences_are_the_users_on_whatever_client_and_outlive_a_restart() {
    let server = TestServer::with_tokens();
    let mut phone = server.connect_as("/ws/phone", &token("ann")).await;
    let mut laptop = server.connect_as("/ws/laptop", &token("ann")).await;
    let mut bob = server.connect_as("/ws/phone", &token("bob")).await;
    assert_eq!(get(&mut phone).await, json!({}));
    let mine = json!({"theme": "dark", "volume": 0.5});
    let answer = set(&mut phone, mine.clone()).await;
    assert_eq!((&answer["type"], &answer["preferences"]), (&json!("preferences"), &mine));
    assert!(answer["seq"].is_u64(), "an answer to a change reaches who was away: {answer}");
    assert_eq!(get(&mut laptop).await, mine);
    assert_eq!(get(&mut bob).await, json!({}), "the same client, another user");
    let server = TestServer::in_dir(server.stop(), jwt);
    let mut laptop = server.connect_as("/ws/laptop", &token("ann")).await;
    assert_eq!(get(&mut laptop).await, mine);
    set(&mut laptop, json!({})).await;
    assert_eq!(get(&mut laptop).await, json!({}));
}

#[tokio::test]
async fn without_users_they_are_the_clients_and_they_are_small_objects() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.connect_to("/ws/a").await, server.connect_to("/ws/b").await);
    let fits = json!({"x": "y".repeat(4 * 1024 - 8)});
    assert_eq!(fits.to_string().len(), 4 * 1024);
    set(&mut a, fits.clone()).await;
    for (bad, code) in [
        (json!({"x": "y".repeat(4 * 1024 - 7)}), "MESSAGE_TOO_LARGE"),
        (json!([1]), "INVALID_MESSAGE"),
        (json!("x"), "INVALID_MESSAGE"),
        (json!(null), "INVALID_MESSAGE"),
    ] {
        assert_eq!(set(&mut a, bad).await["code"], code);
    }
    assert_eq!(get(&mut a).await, fits, "what was refused changed nothing");
    assert_eq!(get(&mut b).await, json!({}));
}
