//! The JSON of chat completions, as much of it as is used. Knows no HTTP.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::upstream::{RespondError, Turn};

/// Characters of a service's error code that are kept.
const CODE_CHARS_MAX: usize = 64;

#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) stream: bool,
    pub(super) messages: &'a [Turn],
}

#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Said>,
    message: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// What was said, often nothing.
    pub(super) text: String,
    /// Whether the model is done.
    pub(super) last: bool,
}

/// Reads one chunk, or a whole completion from a service that does not stream.
pub(super) fn part(json: &[u8]) -> Result<Part, RespondError> {
    let completion: Completion =
        serde_json::from_slice(json).map_err(|_| RespondError::Malformed { what: "JSON that is no completion" })?;
    if let Some(error) = completion.error.filter(|e| !e.is_null()) {
        return Err(RespondError::Reported { code: code(&error) });
    }
    let choices = completion.choices.ok_or(RespondError::Malformed { what: "no choices" })?;
    // Services send chunks without a choice for their accounts.
    let Some(choice) = choices.into_iter().find(|c| c.index == 0) else { return Ok(Part::default()) };
    let said = choice.delta.or(choice.message).unwrap_or_default();
    let text = said.content.or(said.refusal).unwrap_or_default();
    if choice.finish_reason.as_deref() == Some("content_filter") && text.is_empty() {
        return Err(RespondError::Filtered);
    }
    Ok(Part { text, last: choice.finish_reason.is_some_and(|r| !r.is_empty()) })
}

/// The machine-readable part of an error object. Its words may repeat the question or the key and are left where they are.
fn code(error: &Value) -> String {
    let text = ["code", "type", "status"].iter().find_map(|&key| match error.get(key) {
        Some(Value::String(s)) => Some(s.clone()),
        Some(Value::Number(n)) => Some(n.to_string()),
        _ => None,
    });
    let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.unwrap_or_else(|| "unnamed".to_owned()).chars().filter(kept).take(CODE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Part {
        Part { text: s.to_owned(), last: false }
    }

    #[test]
    fn chunks_of_every_kind_are_read() {
        for (json, expected) in [
            (r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#, text("")),
            (r#"{"choices":[{"delta":{"content":"Hé"}}]}"#, text("Hé")),
            (r#"{"choices":[{"index":1,"delta":{"content":"other"}}]}"#, text("")),
            (r#"{"choices":[],"usage":{"total_tokens":9},"error":null}"#, text("")),
            (r#"{"choices":[{"delta":{"refusal":"No."}}]}"#, text("No.")),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Part { last: true, ..text("") }),
            (
                r#"{"choices":[{"message":{"content":"All"},"finish_reason":"length"}]}"#,
                Part { last: true, ..text("All") },
            ),
        ] {
            assert_eq!(part(json.as_bytes()).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn errors_keep_their_code_and_none_of_their_words() {
        for (json, expected) in [
            (r#"{"error":{"message":"key sk-1234 is wrong","code":"invalid_api_key"}}"#, "invalid_api_key"),
            (r#"{"error":{"message":"m","code":null,"type":"server error\n"}}"#, "servererror"),
            (r#"{"error":{"code":503}}"#, "503"),
            (r#"{"error":"sk-1234"}"#, "unnamed"),
        ] {
            assert_eq!(part(json.as_bytes()), Err(RespondError::Reported { code: expected.to_owned() }), "{json}");
        }
        assert_eq!(
            part(br#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#),
            Err(RespondError::Filtered)
        );
        for garbage in ["", "{", "[]", "42", r#"{"hello":1}"#, r#"{"choices":[{"delta":{"content":7}}]}"#] {
            assert!(matches!(part(garbage.as_bytes()), Err(RespondError::Malformed { .. })), "{garbage}");
        }
    }
}
