//! A JSON Schema as rows for a table: each field with its path, its type in words, whether it must be there. Knows no HTML.

use serde_json::Value;

/// How deep objects in objects are told; what is deeper is `object`.
const DEPTH_MAX: usize = 3;

/// A row.
pub(super) struct Field {
    /// `format.encoding`, `streams[].stream_id`.
    pub(super) name: String,
    /// In words, with code in backticks.
    pub(super) kind: String,
    /// Whether it must be there.
    pub(super) required: bool,
    /// What it means.
    pub(super) about: String,
}

/// The fields of an object schema; where it has alternatives, those of each, once.
pub(super) fn of(document: &Value, schema: &Value) -> Vec<Field> {
    let mut rows = Vec::new();
    collect(document, schema, "", DEPTH_MAX, &mut rows);
    rows
}

fn collect(document: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Field>) {
    let schema = resolved(document, schema);
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        if let Some(known) = rows.iter_mut().find(|row| row.name == path) {
            // The same field of another alternative: `state` of `status_update`.
            let kind = kind(document, field);
            if !known.kind.contains(&kind) {
                known.kind = format!("{} or {kind}", known.kind);
            }
            continue;
        }
        rows.push(Field {
            name: path.clone(),
            kind: kind(document, field),
            required: required(name),
            about: about(document, field),
        });
        if depth > 0 {
            let (inner, mark) = match member(document, field) {
                Some(item) => (item, "[]"),
                None => (field, ""),
            };
            collect(document, not_null(document, inner), &format!("{path}{mark}."), depth - 1, rows);
        }
    }
    let alternatives = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let before = rows.len();
    for alternative in alternatives {
        collect(document, alternative, prefix, depth, rows);
    }
    // What only some of the alternatives must have need not be there.
    for row in &mut rows[before..] {
        let name = &row.name[prefix.len()..];
        row.required &=
            alternatives.iter().all(|a| a["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name)));
    }
}

/// Takes null out of what a field may be: a query has no null.
pub(super) fn without_null(field: &mut Value) {
    if let Some(kinds) = field.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            field["type"] = only.clone();
        }
    }
    for key in ["enum", "anyOf"] {
        if let Some(all) = field.get_mut(key).and_then(Value::as_array_mut) {
            all.retain(|one| !one.is_null() && one["type"] != "null");
        }
    }
}

/// Follows references and wrappers of one.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let target = schema["$ref"].as_str().and_then(|r| document.pointer(r.trim_start_matches('#')));
        match (target, schema["allOf"].as_array().map(Vec::as_slice)) {
            (Some(target), _) => schema = target,
            (None, Some([only])) => schema = only,
            (None, _) => break,
        }
    }
    schema
}

/// Of `anyOf` something or null, the something.
fn not_null<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let some = schema["anyOf"].as_array().and_then(|all| all.iter().find(|s| s["type"] != "null"));
    match some {
        Some(some) if is_nullable(schema) => resolved(document, some),
        _ => resolved(document, schema),
    }
}

fn is_nullable(schema: &Value) -> bool {
    let of = |key: &str| schema[key].as_array().is_some_and(|all| all.iter().any(|s| s["type"] == "null"));
    schema["type"].as_array().is_some_and(|all| all.iter().any(|t| t == "null")) || of("anyOf")
}

/// The schema of an array's members.
fn member<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    Some(&not_null(document, schema)["items"]).filter(|items| items.is_object())
}

fn about(document: &Value, schema: &Value) -> String {
    let own = schema["description"].as_str();
    own.or_else(|| resolved(document, schema)["description"].as_str()).unwrap_or_default().to_owned()
}

/// The type in words.
fn kind(document: &Value, schema: &Value) -> String {
    let some = not_null(document, schema);
    let words = match some["type"].as_str().or_else(|| some["type"][0].as_str()) {
        _ if some["const"].is_string() => format!("`{}`", some["const"].as_str().unwrap_or_default()),
        _ if !values(some).is_empty() => one_of(&values(some)),
        Some("array") => match member(document, schema) {
            Some(item) => format!("array of {}", kind(document, item)),
            None => "array".to_owned(),
        },
        Some(name @ ("integer" | "number")) => format!("{name}{}", range(some)),
        Some("string") => string(some),
        Some(name) => name.to_owned(),
        None => match some["anyOf"].as_array() {
            Some(all) => all.iter().map(|s| kind(document, s)).collect::<Vec<_>>().join(" or "),
            None => "any JSON".to_owned(),
        },
    };
    if is_nullable(schema) { format!("{words}, or null") } else { words }
}

/// The values of an enumeration, however it is written.
fn values(schema: &Value) -> Vec<&Value> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    let described = schema["oneOf"].as_array().into_iter().flatten();
    let described = described.flat_map(|s| s["enum"].as_array().into_iter().flatten().chain(s.get("const")));
    listed.chain(described).filter(|v| !v.is_null()).collect()
}

fn one_of(values: &[&Value]) -> String {
    let shown = |v: &&Value| v.as_str().map_or_else(|| format!("`{v}`"), |s| format!("`{s}`"));
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn range(schema: &Value) -> String {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        // The width of the type is no rule of the protocol.
        (Some(min), Some(max)) if max < f64::from(u32::MAX) => format!(" {min} to {max}"),
        (Some(min), _) if min > 0.0 => format!(" from {min}"),
        _ => String::new(),
    }
}

fn string(schema: &Value) -> String {
    if let Some(format) = schema["format"].as_str() {
        return format!("string, {format}");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        return format!("string `{}`", pattern.trim_matches(['^', '$']));
    }
    if let Some(encoding) = schema["contentEncoding"].as_str() {
        return format!("string, {encoding}");
    }
    match schema["maxLength"].as_u64() {
        Some(max) => format!("string, up to {max}"),
        None => "string".to_owned(),
    }
}
