//! What a JSON parser found wrong, in words for whoever wrote the JSON: the field, what is expected there, what was found.

use std::borrow::Cow;

use serde::Deserialize;

use crate::protocol::{ErrorCode, ProtocolError};

/// Characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 64;

/// Reads JSON.
///
/// # Errors
/// `INVALID_JSON` where it is none, `INVALID_MESSAGE` where it is something else than asked for.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProtocolError> {
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => ProtocolError::new(ErrorCode::InvalidMessage, told::<T>(text, &e)),
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            ProtocolError::new(ErrorCode::InvalidJson, e.to_string())
        }
    })
}

/// Reads it again, for the parser alone does not tell where it was.
fn told<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> String {
    let mut again = serde_json::Deserializer::from_str(text);
    let place = serde_path_to_error::deserialize::<_, T>(&mut again).err().map(|e| e.path().to_string());
    let why = error.to_string();
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    in_plain_words(place.as_deref().filter(|&place| place != "."), why)
}

/// A complaint of serde's, about the field at `place`, in plain words.
pub fn in_plain_words(place: Option<&str>, complaint: &str) -> String {
    let whole = place.unwrap_or("the message");
    let wrong = complaint.strip_prefix("invalid type: ").or_else(|| complaint.strip_prefix("invalid value: "));
    if let Some((found, expected)) = wrong.and_then(|w| w.rsplit_once(", expected ")) {
        return format!("{whole} must be {}, not {}", expectation(expected), finding(found));
    }
    match (complaint.strip_prefix("missing field `").and_then(|f| f.strip_suffix('`')), place) {
        (Some(field), Some(place)) if place != field => format!("{place}.{field} is missing"),
        (Some(field), _) => format!("{field} is missing"),
        (None, Some(place)) => format!("{place}: {complaint}"),
        (None, None) => complaint.to_owned(),
    }
}

fn expectation(expected: &str) -> Cow<'_, str> {
    Cow::Borrowed(match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u32" | "a nonzero usize" => "a whole number, 1 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a borrowed string" | "str" => "a string",
        "a sequence" => "an array",
        "a map" => "an object",
        other if other.starts_with("struct ") || other.starts_with("internally tagged") => "an object",
        other => return Cow::Borrowed(other),
    })
}

/// `integer `5``: 5; `string "five"`: "five".
fn finding(found: &str) -> Cow<'_, str> {
    let value = match found {
        "map" => "an object",
        "sequence" => "an array",
        "unit value" => "null",
        other => ["integer `", "floating point `", "boolean `"]
            .iter()
            .find_map(|kind| other.strip_prefix(kind)?.strip_suffix('`'))
            .or_else(|| other.strip_prefix("string ").filter(|s| s.starts_with('"')))
            .unwrap_or(other),
    };
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        None => Cow::Borrowed(value),
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Outer<'a> {
        limit: Option<u32>,
        name: &'a str,
        inner: Option<Inner>,
        list: Option<Vec<bool>>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        rate: f64,
    }

    #[test]
    fn errors_name_the_field_what_is_right_and_what_was_found() {
        for (json, told) in [
            (r#"{"name":"n","limit":"abc"}"#, "limit must be a whole number, 0 or more, not \"abc\""),
            (r#"{"name":"n","limit":-1}"#, "limit must be a whole number, 0 or more, not -1"),
            (r#"{"name":"n","limit":1.5}"#, "limit must be a whole number, 0 or more, not 1.5"),
            (r#"{"name":5}"#, "name must be a string, not 5"),
            (r#"{"name":null}"#, "name must be a string, not null"),
            ("{}", "name is missing"),
            (r#"{"name":"n","inner":"x"}"#, "inner must be an object, not \"x\""),
            (r#"{"name":"n","inner":{}}"#, "inner.rate is missing"),
            (r#"{"name":"n","inner":{"rate":true}}"#, "inner.rate must be a number, not true"),
            (r#"{"name":"n","list":{}}"#, "list must be an array, not an object"),
            (r#"{"name":"n","list":[true,0]}"#, "list[1] must be true or false, not 0"),
            ("7", "the message must be an object, not 7"),
        ] {
            let e = parse::<Outer<'_>>(json).expect_err(json);
            assert_eq!((e.code, e.message.as_str()), (ErrorCode::InvalidMessage, told), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place_and_long_values_are_cut() {
        let e = parse::<Value>("{\"a\":").expect_err("half of an object");
        assert_eq!(e.code, ErrorCode::InvalidJson);
        assert!(e.message.contains("column"), "{}", e.message);
        let long = format!("{{\"name\":\"n\",\"limit\":\"{}\"}}", "ä".repeat(500));
        assert!(parse::<Outer<'_>>(&long).expect_err("no number").message.len() < 200);
    }
}
