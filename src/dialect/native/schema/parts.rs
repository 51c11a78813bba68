//! The parts the document is put together from: payload schemas with their envelope, the binary messages, the credentials.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::dialect::native::types;
use crate::protocol::Event;

/// Where the document keeps schemas that several messages share.
const SHARED: &str = "/components/schemas";

/// What the page and the document open with.
pub(super) const ABOUT: &str = "\
One WebSocket carries everything: audio up, audio down, text, events, administration. Text frames hold one JSON object each, binary \
frames hold audio.\n\n\
A client's message has a `type` and may have an `id`; what answers it carries that as `reply_to`. Fields the server does not know are \
ignored. The server's messages have a `timestamp`; those a client would miss also carry `seq`, counting from 1 in each session, which is \
what `resume` goes on from.\n\n\
An error in one message or one stream leaves the socket and the other streams as they are.\n\n\
This document is made from the types the server itself reads and writes with.";

pub(super) const AUDIO_UP: &str = "The next bytes of a stream, wherever they were cut.";

type Scheme = fn() -> Value;

/// Where a credential may be, the first found wins.
pub(super) const SECURITY: [(&str, Scheme); 3] = [
    ("header", || json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})),
    ("subprotocol", || {
        json!({"type": "httpApiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": "For browsers: the item `bearer.JWT` beside `voxgate.v1`; only the latter is echoed."})
    }),
    ("query", || json!({"type": "httpApiKey", "in": "query", "name": "token", "description": "A JWT; never logged."})),
];

/// Makes schemas as AsyncAPI has them: JSON Schema draft 7, shared ones in one place. `hears`: of what is read, not written.
pub(super) fn generator(hears: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft07().with(|s| s.definitions_path = SHARED.into());
    if hears { settings.for_deserialize() } else { settings.for_serialize() }.into_generator()
}

/// Brings a finished payload to draft 7.
pub(super) fn finish(payload: Map<String, Value>, generator: &mut SchemaGenerator) -> Value {
    let mut schema = Schema::from(payload);
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    schema.to_value()
}

/// The properties of an object schema, empty where it has none.
fn properties(schema: &mut Map<String, Value>) -> Map<String, Value> {
    match schema.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    }
}

fn required(schema: &mut Map<String, Value>) -> Vec<Value> {
    match schema.remove("required") {
        Some(Value::Array(names)) => names,
        _ => Vec::new(),
    }
}

fn object(schema: Schema) -> Map<String, Value> {
    match schema.to_value() {
        Value::Object(object) => object,
        _ => Map::new(), // `true`: anything
    }
}

/// Puts an object schema together, in the order people read it.
fn assemble(mut rest: Map<String, Value>, fields: Map<String, Value>, required: Vec<Value>) -> Map<String, Value> {
    for known in ["type", "title", "description"] {
        rest.remove(known);
    }
    let mut all = Map::new();
    all.insert("type".to_owned(), "object".into());
    all.insert("properties".to_owned(), Value::Object(fields));
    all.insert("required".to_owned(), Value::Array(required));
    all.extend(rest);
    all
}

/// A client message: `type`, `id` and its own fields.
pub(super) fn client_payload(name: &str, shape: Schema) -> Map<String, Value> {
    let mut head = object(types::Head::json_schema(&mut generator(true)));
    let mut fields = properties(&mut head);
    fields.insert("type".to_owned(), json!({"type": "string", "const": name}));
    let mut shape = object(shape);
    fields.extend(properties(&mut shape));
    for (_, field) in &mut fields {
        // serde's defaults are its own: an absent field is documented by its description.
        if let Some(Value::Null) = field.get("default") {
            field.as_object_mut().map(|f| f.remove("default"));
        }
    }
    let mut names = vec!["type".into()];
    names.extend(required(&mut shape));
    assemble(shape, fields, names)
}

/// Every event with its fields, by its name; what a variant refers to as a whole stands in it.
pub(super) fn event_variants(generator: &mut SchemaGenerator) -> Vec<(String, Map<String, Value>)> {
    let mut schema = object(Event::json_schema(generator));
    let Some(Value::Array(variants)) = schema.remove("oneOf") else { return Vec::new() };
    let whole = |variant: Value| {
        let Value::Object(mut variant) = variant else { return None };
        let mut fields = properties(&mut variant);
        let mut names = required(&mut variant);
        if let Some(shared) = variant.remove("$ref") {
            let name = shared.as_str()?.rsplit('/').next()?.to_owned();
            let Some(Value::Object(mut shared)) = generator.definitions_mut().remove(&name) else { return None };
            fields.extend(properties(&mut shared));
            names.extend(required(&mut shared));
            for (key, value) in shared {
                variant.entry(key).or_insert(value);
            }
        }
        let name = fields.get("type")?.get("const")?.as_str()?.to_owned();
        let about = variant.get("description").cloned();
        let mut all = assemble(variant, fields, names);
        all.extend(about.map(|about| ("description".to_owned(), about)));
        Some((name, all))
    };
    variants.into_iter().filter_map(whole).collect()
}

/// An event's `type`.
pub(super) fn event_name(event: &Event) -> String {
    let value = serde_json::to_value(event).expect("events serialise");
    value["type"].as_str().unwrap_or_default().to_owned()
}

/// Takes what is said of a payload, to say it of its message.
pub(super) fn take_description(payload: &mut Map<String, Value>) -> String {
    match payload.remove("description") {
        Some(Value::String(about)) => about,
        _ => String::new(),
    }
}

/// Adds what `encode` puts around every event. `numbered`: it may be a session event; `always`: it is one whatever it answers.
pub(super) fn add_server_envelope(payload: &mut Map<String, Value>, numbered: bool, always: bool) {
    let mut fields = properties(payload);
    let mut names = required(payload);
    fields.insert(
        "timestamp".to_owned(),
        json!({"type": "string", "format": "date-time", "description": "When it was said."}),
    );
    fields
        .insert("reply_to".to_owned(), json!({"type": "string", "description": "The `id` of the message it answers."}));
    names.push("timestamp".into());
    if numbered {
        let about = "Its number in the session: what `resume` continues from.";
        fields.insert("seq".to_owned(), json!({"type": "integer", "minimum": 1, "description": about}));
    }
    if always {
        names.push("seq".into());
    }
    payload.insert("properties".to_owned(), Value::Object(fields));
    payload.insert("required".to_owned(), Value::Array(names));
}

/// Binary frames from the client.
pub(super) fn audio_up() -> Value {
    json!({
        "name": "audio",
        "title": "audio (binary)",
        "summary": AUDIO_UP,
        "description": "Frame edges carry no meaning, but for `opus`, where a frame is a packet. With `\"framing\":\"tagged\"` each frame begins \
            with the stream's index, 4 bytes little-endian. Binary before any `audio_start` opens a default stream by itself.",
        "tags": [{"name": "audio"}],
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "examples": [{"name": "two samples of pcm_s16le, in hexadecimal", "payload": "0000ff7f"}],
    })
}

/// Binary frames from the server.
pub(super) fn audio_down() -> Value {
    json!({
        "name": "audio",
        "title": "audio (binary)",
        "summary": "Samples of a stream one listens to.",
        "description": "16 bytes of header, little-endian, then `pcm_s16le`. Byte 0: version, 1. Byte 1: kind, 1 is `pcm_s16le`. Bytes 2 and 3: \
            `stream_index` of the `listening` answer. Bytes 4 to 7: flags; bit 0: audio was dropped just before this frame, bit 1: the last \
            frame of the stream. Bytes 8 to 15: position of the first sample, per channel, on the stream's timeline. A listener that cannot \
            keep up loses its oldest audio, never its messages.",
        "tags": [{"name": "listening"}],
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "examples": [{"name": "two samples at position 16000 of stream 5, in hexadecimal",
            "payload": "0101050000000000803e0000000000000000ff7f"}],
    })
}
