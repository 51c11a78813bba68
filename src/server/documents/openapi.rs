//! The HTTP interface as OpenAPI 3.1, put together from the table of routes and the types handlers read and write.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::fields;
use super::routes::{Content, ROUTES, Route, Shape, TAGS, Who};
use crate::server::problem::{MEDIA_TYPE, ProblemDetails};

const ABOUT: &str = "What is beside the socket: health, connections, conversations, recordings, decoding in one request. The socket itself is \
described at `/ws/protocol`.\n\n\
Errors are problem details (RFC 9457) with the `code`s of the socket's errors. Lists answer `{items, next}`; `next` is the `after` of \
the next page, null on the last.\n\n\
With authentication off, callers on the server's own machine are administrators.";

/// The whole document.
pub(super) fn document() -> Value {
    let place = |s: &mut SchemaSettings| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    };
    let mut reads = SchemaSettings::draft2020_12().for_deserialize().with(place).into_generator();
    let mut writes = SchemaSettings::draft2020_12().for_serialize().with(place).into_generator();
    let problem = writes.subschema_for::<ProblemDetails>();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut reads, &mut writes);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let mut schemas = reads.take_definitions(true);
    schemas.extend(writes.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "voxgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": TAGS.map(|(name, about)| json!({"name": name, "description": about})),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {"description": "What was wrong.", "content": {MEDIA_TYPE: {"schema": problem}}},
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "apiKey", "in": "query", "name": "token",
                    "description": "A JWT, for what cannot set a header, such as an `<audio>` element; never logged."},
            },
        },
    })
}

fn operation(route: &Route, reads: &mut SchemaGenerator, writes: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(route.path);
    parameters.extend(route.query.map(query_parameters).unwrap_or_default());
    let mut responses = Map::new();
    for (status, about, content) in route.answers {
        let mut response = json!({"description": about});
        let content = match content {
            Content::Nothing => None,
            Content::Json(shape) => Some(json!({"application/json": {"schema": shape(writes)}})),
            Content::Bytes(media) => Some(json!({*media: {"schema": {"type": "string", "format": "binary"}}})),
            Content::Either(shape, media) => Some(json!({
                "application/json": {"schema": shape(writes)},
                *media: {"schema": {"type": "string"}},
            })),
        };
        if let Some(content) = content {
            response["content"] = content;
        }
        responses.insert(status.to_string(), response);
    }
    let of_who: &[u16] = match route.who {
        Who::Anyone => &[],
        Who::Caller | Who::Administrator => &[401],
    };
    // 403 is everybody's: pages of other origins are refused.
    for status in of_who.iter().chain(&[403]).chain(route.problems) {
        responses.entry(status.to_string()).or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
    }
    let mut operation = json!({
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some((media, required, shape)) = route.body {
        operation["requestBody"] = json!({"required": required, "content": {media: {"schema": shape(reads)}}});
    }
    operation["security"] = match route.who {
        Who::Anyone => json!([]),
        Who::Caller | Who::Administrator => json!([{"bearer": []}, {"query": []}]),
    };
    if route.who == Who::Administrator {
        operation["description"] = "For administrators.".into();
    }
    operation
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name);
    names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}

/// A query's fields as parameters.
fn query_parameters(shape: Shape) -> Vec<Value> {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|s| s.inline_subschemas = true);
    let mut schema = shape(&mut settings.into_generator()).to_value();
    let required = schema["required"].take();
    let Value::Object(fields) = schema["properties"].take() else { return Vec::new() };
    let parameter = |(name, mut schema): (String, Value)| {
        fields::without_null(&mut schema);
        let description = schema.as_object_mut().and_then(|s| s.remove("description"));
        let is_required = required.as_array().is_some_and(|names| names.iter().any(|n| *n == name));
        json!({"name": name, "in": "query", "required": is_required, "description": description, "schema": schema})
    };
    fields.into_iter().map(parameter).collect()
}
