use std::collections::BTreeSet;

use super::*;
use crate::dialect::native::decode::TYPES;
use crate::dialect::native::{DecodeLimits, decode};

fn document() -> Value {
    asyncapi(&Place { host: "localhost:8080", query: json!({"type": "object"}) })
}

fn names(document: &Value, side: &str) -> BTreeSet<String> {
    let messages = document["components"]["messages"].as_object().unwrap();
    messages
        .keys()
        .filter_map(|key| key.strip_prefix(side))
        .filter(|name| *name != "audio")
        .map(str::to_owned)
        .collect()
}

/// A message's payload as a schema of its own, with what it refers to.
fn validator(document: &Value, key: &str) -> jsonschema::Validator {
    let message = &document["components"]["messages"][key];
    assert!(message.is_object(), "{key}");
    let mut schema = message["payload"].clone();
    schema["components"] = json!({"schemas": document["components"]["schemas"]});
    jsonschema::draft7::new(&schema).unwrap_or_else(|e| panic!("{key}: {e}"))
}

#[test]
fn every_client_message_is_in_it_and_its_example_is_read() {
    let document = document();
    let read: BTreeSet<String> = TYPES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&document, "client."), read);
    for m in client::MESSAGES {
        let said: Value = serde_json::from_str(m.example).unwrap();
        assert_eq!(said["type"], m.name);
        if let Err(e) = decode(m.example, DecodeLimits { json_depth: 8 }) {
            panic!("{}: {}", m.name, e.1.message);
        }
    }
}

#[test]
fn every_event_is_in_it_with_an_example() {
    let variants: BTreeSet<String> =
        parts::event_variants(&mut parts::generator(false)).into_iter().map(|(name, _)| name).collect();
    let examples: BTreeSet<String> = server::examples().iter().map(parts::event_name).collect();
    assert_eq!(variants.len(), 39, "a new event needs an example");
    assert_eq!(examples, variants);
    assert_eq!(names(&document(), "server."), variants);
}

#[test]
fn every_example_is_what_its_schema_says() {
    let document = document();
    for (key, message) in document["components"]["messages"].as_object().unwrap() {
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{key}");
        assert!(!message["summary"].as_str().unwrap().is_empty(), "{key} says nothing of itself");
        let validator = validator(&document, key);
        for example in examples {
            if let Err(e) = validator.validate(&example["payload"]) {
                panic!("{key}: {} at {}: {e}", example["payload"], e.instance_path());
            }
        }
    }
}

/// What `decode` refuses, the schemas refuse too, so that a client made from them sends nothing wrong.
#[test]
fn schemas_are_as_strict_as_the_reader() {
    let document = document();
    let long = "x".repeat(126);
    for wrong in [
        json!({"type": "ping", "payload": long}),
        json!({"type": "ping", "id": long}),
        json!({"type": "audio_start", "stream_id": "../x"}),
        json!({"type": "audio_start", "ack_ms": 7}),
        json!({"type": "audio_start", "ack_ms": 5_001}),
        json!({"type": "audio_start", "format": {"encoding": "wma"}}),
        json!({"type": "audio_start", "format": {"sample_rate": 7_999}}),
        json!({"type": "audio_start", "format": {"channels": 9}}),
        json!({"type": "audio_start", "output": {"channels": 2}}),
        json!({"type": "audio_start", "output": {"sample_rate": 44_100}}),
        json!({"type": "audio_start", "framing": "both"}),
        json!({"type": "audio_start", "overflow": "drop"}),
        json!({"type": "audio_data"}),
        json!({"type": "listen_start"}),
        json!({"type": "listen_start", "stream_id": "a", "conversation_id": "b"}),
        json!({"type": "message", "conversation_id": "team"}),
        json!({"type": "history_request", "conversation_id": "team", "limit": 501}),
        json!({"type": "history_request", "conversation_id": "team", "limit": 0}),
        json!({"type": "set_preferences", "preferences": []}),
        json!({"type": "disconnect_user"}),
        json!({"type": "disconnect_user", "user_id": "a", "client_id": "b"}),
        json!({"type": "broadcast_admin_message", "content": 1, "severity": "loud"}),
    ] {
        let key = format!("client.{}", wrong["type"].as_str().unwrap());
        assert!(decode(&wrong.to_string(), DecodeLimits { json_depth: 8 }).is_err(), "read: {wrong}");
        assert!(!validator(&document, &key).is_valid(&wrong), "valid: {wrong}");
    }
    for right in [
        json!({"type": "audio_start", "ack_ms": 0, "output": {"channels": "source"}, "unknown": [1]}),
        json!({"type": "audio_start", "id": null, "stream_id": null, "format": {"encoding": null}}),
        json!({"type": "message", "conversation_id": "team", "content": null}),
    ] {
        let key = format!("client.{}", right["type"].as_str().unwrap());
        assert!(decode(&right.to_string(), DecodeLimits { json_depth: 8 }).is_ok(), "refused: {right}");
        assert!(validator(&document, &key).is_valid(&right), "invalid: {right}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(o) => {
                found.extend(o.get("$ref").and_then(Value::as_str));
                o.values().for_each(|v| references(v, found));
            }
            Value::Array(a) => a.iter().for_each(|v| references(v, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in &found {
        let place = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(place).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.iter().any(|r| *r == format!("#/components/schemas/{name}")), "nothing refers to {name}");
    }
}
