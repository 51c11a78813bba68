//! Conversations, presence, broadcasts, preferences and subscriptions, among several clients over real sockets.

mod broadcast;
mod messages;
mod preferences;
mod presence;

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

/// A client that has joined a conversation; what `conversation_joined` said is first among its texts no more.
async fn member(server: &TestServer, client_id: &str, conversation: &str) -> Client {
    let mut c = server.connect_to(&format!("/ws/{client_id}")).await;
    join(&mut c, conversation).await;
    c
}

async fn join(c: &mut Client, conversation: &str) -> Value {
    let joined = c.ask(json!({"type": "join_conversation", "conversation_id": conversation})).await;
    assert_eq!((&joined["type"], &joined["conversation_id"]), (&json!("conversation_joined"), &json!(conversation)));
    joined
}

async fn say(c: &mut Client, conversation: &str, content: Value) -> Value {
    c.ask(json!({"type": "message", "conversation_id": conversation, "content": content})).await
}

fn of_type<'a>(told: &'a [Value], kind: &str) -> Vec<&'a Value> {
    told.iter().filter(|m| m["type"] == kind).collect()
}
