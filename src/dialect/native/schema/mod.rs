//! The protocol as a document: AsyncAPI 3 made from the types that `decode` and `encode` work with. Knows no HTTP; where the server is, it is
//! told. The tests hold the tables against `decode` and `Event`.

mod client;
mod parts;
mod server;

use serde_json::{Map, Value, json};

use super::encode::{Envelope, encode};
use crate::protocol::{CloseCode, Event};
use client::ClientMessage;

/// When the examples happen: 2026-01-02T03:04:05.678Z.
const EXAMPLE_UNIX_MS: u64 = 1_767_323_045_678;

/// The part of the protocol a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Connection,
    Session,
    Text,
    Audio,
    Listening,
    Conversations,
    Admin,
}

impl Group {
    /// Every group, in the order they are told in.
    const ALL: [Self; 7] =
        [Self::Connection, Self::Session, Self::Text, Self::Audio, Self::Listening, Self::Conversations, Self::Admin];

    fn tag(self) -> (&'static str, &'static str) {
        match self {
            Self::Connection => {
                ("connection", "The connection itself: who one is, how things are, what one wants to hear of.")
            }
            Self::Session => ("session", "Going on after a lost socket, sample for sample."),
            Self::Text => ("text", "Questions, and answers as they are made."),
            Self::Audio => ("audio", "Audio up: streams of bytes in any encoding."),
            Self::Listening => ("listening", "Audio down: other people's streams, live."),
            Self::Conversations => ("conversations", "People: messages, presence, broadcasts."),
            Self::Admin => ("admin", "For administrators only; others are refused with `FORBIDDEN`."),
        }
    }
}

/// What the document must be told.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Host and port, as clients reach them.
    pub host: &'a str,
    /// The JSON Schema of the query of `/ws`.
    pub query: Value,
}

/// The protocol as an AsyncAPI 3.0 document.
pub fn asyncapi(place: &Place<'_>) -> Value {
    let (messages, schemas) = messages();
    let keys = || messages.keys().map(String::as_str);
    let references: Map<String, Value> =
        keys().map(|key| (key.to_owned(), reference("/components/messages", key))).collect();
    let tags: Vec<Value> =
        Group::ALL.map(Group::tag).map(|(name, about)| json!({"name": name, "description": about})).into();
    let parameter =
        json!({"description": "What the client calls itself: `[A-Za-z0-9_-]{1,64}`. It wins over the query."});
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "voxgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": parts::ABOUT,
            "license": {"name": "MIT OR Apache-2.0"},
            "tags": tags,
        },
        "defaultContentType": "application/json",
        "servers": {
            "here": {
                "host": place.host,
                "protocol": "ws",
                "description": "This server; `wss` where something before it speaks TLS.",
                "security": parts::SECURITY.map(|(name, _)| reference("/components/securitySchemes", name)),
            },
        },
        "channels": {
            "socket": {
                "address": "/ws",
                "title": "The socket",
                "description": "One WebSocket carries everything. Subprotocol: `voxgate.v1`.",
                "messages": references,
                "bindings": {"ws": {"method": "GET", "query": place.query, "bindingVersion": "0.1.0"}},
                "x-close-codes": CloseCode::ALL.map(|c| json!({"code": c.code(), "meaning": c.meaning()})),
            },
            "named": {
                "address": "/ws/{client_id}",
                "title": "The same socket, with the client's name in its address",
                "parameters": {"client_id": parameter},
                "messages": references,
            },
        },
        "operations": operations(keys().filter(|key| key.starts_with("server."))),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": parts::SECURITY.map(|(name, scheme)| (name.to_owned(), scheme())).into_iter().collect::<Map<_, _>>(),
            "correlationIds": {
                "request": {"location": "$message.payload#/id", "description": "What answers carry as `reply_to`."},
                "answer": {"location": "$message.payload#/reply_to", "description": "The `id` of the message it answers."},
            },
        },
    })
}

fn reference(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#{place}/{name}")})
}

/// What the server does: with each message it gets, and with those it sends.
fn operations<'a>(said: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let channel = reference("/channels", "socket");
    let of_channel = |key: &str| reference("/channels/socket/messages", key);
    let mut all = Map::new();
    let takes = |m: &ClientMessage| {
        let mut operation = json!({
            "action": "receive",
            "channel": channel,
            "summary": m.summary,
            "messages": [of_channel(&format!("client.{}", m.name))],
        });
        if !m.answers.is_empty() {
            let answers = m.answers.iter().chain(&["error"]).map(|a| of_channel(&format!("server.{a}")));
            operation["reply"] = json!({"channel": channel, "messages": answers.collect::<Vec<_>>()});
        }
        operation
    };
    all.extend(client::MESSAGES.iter().map(|m| (format!("on_{}", m.name), takes(m))));
    let binary = json!({"action": "receive", "channel": channel, "summary": parts::AUDIO_UP, "messages": [of_channel("client.audio")],
        "reply": {"channel": channel, "messages": [of_channel("server.audio_received"), of_channel("server.error")]}});
    all.insert("on_audio".to_owned(), binary);
    all.extend(said.map(|key| {
        let operation = json!({"action": "send", "channel": channel, "messages": [of_channel(key)]});
        (key.replace("server.", "send_"), operation)
    }));
    all
}

/// Every message by its key (`client.NAME`, `server.NAME`), and the schemas they refer to.
fn messages() -> (Map<String, Value>, Map<String, Value>) {
    let mut all = Map::new();
    let mut hears = parts::generator(true);
    for m in client::MESSAGES {
        let payload = parts::client_payload(m.name, (m.shape)(&mut hears));
        let example = serde_json::from_str(m.example).expect("the examples are JSON");
        let about = About { name: m.name, group: m.group, summary: m.summary, correlation: "request" };
        all.insert(format!("client.{}", m.name), about.message(&parts::finish(payload, &mut hears), vec![example]));
    }
    all.insert("client.audio".to_owned(), parts::audio_up());
    let mut schemas = hears.take_definitions(true);

    let mut says = parts::generator(false);
    let variants = parts::event_variants(&mut says);
    let examples = server::examples();
    for (name, mut payload) in variants {
        let of_name: Vec<_> = examples.iter().filter(|e| parts::event_name(e) == name).collect();
        let Some(first) = of_name.first() else { continue };
        let summary = parts::take_description(&mut payload);
        let about = About { name: &name, group: server::group(first), summary: &summary, correlation: "answer" };
        let numbered = of_name.iter().filter(|e| e.is_session_event()).count();
        parts::add_server_envelope(&mut payload, numbered > 0, numbered == of_name.len());
        let examples = of_name.into_iter().map(example).collect();
        all.insert(format!("server.{name}"), about.message(&parts::finish(payload, &mut says), examples));
    }
    all.insert("server.audio".to_owned(), parts::audio_down());
    schemas.extend(says.take_definitions(true));
    (all, schemas)
}

fn example(event: &Event) -> Value {
    let mut text = Vec::new();
    let envelope = Envelope { unix_ms: EXAMPLE_UNIX_MS, reply_to: None, seq: event.is_session_event().then_some(18) };
    encode(event, envelope, &mut text);
    serde_json::from_slice(&text).expect("events are JSON")
}

/// What is said of a message beside its payload.
struct About<'a> {
    name: &'a str,
    group: Group,
    summary: &'a str,
    correlation: &'static str,
}

impl About<'_> {
    fn message(&self, payload: &Value, examples: Vec<Value>) -> Value {
        let examples: Vec<Value> = examples.into_iter().map(|payload| json!({"payload": payload})).collect();
        json!({
            "name": self.name,
            "title": self.name,
            "summary": self.summary,
            "tags": [{"name": self.group.tag().0}],
            "contentType": "application/json",
            "correlationId": reference("/components/correlationIds", self.correlation),
            "payload": payload,
            "examples": examples,
        })
    }
}

#[cfg(test)]
mod tests;
