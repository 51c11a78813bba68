//! The protocol's document as a page for people: rendered from the AsyncAPI JSON alone, without script, with its style inside.

use std::fmt::Write as _;

use serde_json::Value;

use super::fields::{self, Field};

/// Shows a message's part of the document.
struct Message<'a> {
    key: &'a str,
    body: &'a Value,
}

impl Message<'_> {
    fn is_said_by_client(&self) -> bool {
        self.key.starts_with("client.")
    }

    fn name(&self) -> &str {
        self.body["name"].as_str().unwrap_or_default()
    }

    fn group(&self) -> &str {
        self.body["tags"][0]["name"].as_str().unwrap_or_default()
    }

    /// The class, the arrow and the words that say who sends it.
    fn side(&self) -> (&'static str, &'static str, &'static str) {
        if self.is_said_by_client() { ("up", "→", "to the server") } else { ("down", "←", "from the server") }
    }
}

/// The whole page.
pub(super) fn render(document: &Value) -> String {
    let messages: Vec<Message<'_>> =
        entries(&document["components"]["messages"]).map(|(key, body)| Message { key, body }).collect();
    let mut out = String::with_capacity(256 * 1024);
    let version = text(&document["info"]["version"]);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>voxgate protocol</title><style>{}</style></head><body>",
        include_str!("page.css")
    );
    contents(document, &messages, &mut out);
    let host = text(&document["servers"]["here"]["host"]);
    let _ = write!(
        out,
        "<main><h1>voxgate protocol</h1><p class=\"lead\">Version {version} · <code>ws://{host}/ws</code> · \
         <a href=\"?format=json\">the same as AsyncAPI 3</a> · <a href=\"../api/openapi.json\">HTTP as OpenAPI 3.1</a></p>"
    );
    for paragraph in document["info"]["description"].as_str().unwrap_or_default().split("\n\n") {
        let _ = write!(out, "<p>{}</p>", prose(paragraph));
    }
    opening(document, &mut out);
    for (name, about) in groups(document) {
        let _ = write!(out, "<h2 id=\"{name}\">{name}</h2><p class=\"lead\">{}</p>", prose(about));
        for message in messages.iter().filter(|m| m.group() == name) {
            article(document, message, &mut out);
        }
    }
    codes(document, &mut out);
    out.push_str("</main></body></html>\n");
    out
}

fn groups(document: &Value) -> impl Iterator<Item = (&str, &str)> {
    let tags = document["info"]["tags"].as_array().into_iter().flatten();
    tags.map(|tag| (tag["name"].as_str().unwrap_or_default(), tag["description"].as_str().unwrap_or_default()))
}

fn contents(document: &Value, messages: &[Message<'_>], out: &mut String) {
    out.push_str("<nav><details><summary>Contents</summary><h2>Before</h2><ul><li><a href=\"#opening\">Opening the socket</a></li></ul>");
    for (name, _) in groups(document) {
        let _ = write!(out, "<h2><a href=\"#{name}\">{name}</a></h2><ul>");
        for m in messages.iter().filter(|m| m.group() == name) {
            let (class, arrow, _) = m.side();
            let _ = write!(
                out,
                "<li class=\"{class}\"><a href=\"#{}\"><span class=\"side\">{arrow}</span>{}</a></li>",
                m.key,
                escape(m.body["title"].as_str().unwrap_or_default())
            );
        }
        out.push_str("</ul>");
    }
    out.push_str(
        "<h2>Codes</h2><ul><li><a href=\"#errors\">Errors</a></li><li><a href=\"#close-codes\">Close codes</a></li></ul></details></nav>",
    );
}

/// The address, its query, the credentials.
fn opening(document: &Value, out: &mut String) {
    let channel = &document["channels"]["socket"];
    let _ = write!(
        out,
        "<h2 id=\"opening\">Opening the socket</h2><p>{} It is at <code>/ws</code>, and at <code>/ws/{{client_id}}</code>.</p>\
         <article class=\"plain\"><h4>Query</h4>",
        prose(channel["description"].as_str().unwrap_or_default())
    );
    table(&fields::of(document, &channel["bindings"]["ws"]["query"]), false, out);
    out.push_str("<h4>Credentials, first found wins</h4><div class=\"wide\"><table><tbody>");
    for (name, scheme) in entries(&document["components"]["securitySchemes"]) {
        let place = match scheme["type"].as_str() {
            Some("http") => "Authorization: Bearer JWT".to_owned(),
            _ => format!("{} ({})", text(&scheme["name"]), text(&scheme["in"])),
        };
        let about = prose(scheme["description"].as_str().unwrap_or_default());
        let _ = write!(out, "<tr><td>{name}</td><td><code>{place}</code></td><td>{about}</td></tr>");
    }
    out.push_str(
        "<tr><td>message</td><td><a href=\"#client.authenticate\"><code>authenticate</code></a></td><td>Within 5 s, where authentication \
         is required and none of these came.</td></tr></tbody></table></div></article>",
    );
}

fn article(document: &Value, message: &Message<'_>, out: &mut String) {
    let (class, _, words) = message.side();
    let _ = write!(
        out,
        "<article class=\"{class}\" id=\"{key}\"><h3><a href=\"#{key}\"><code>{title}</code></a><span class=\"side\">{words}</span></h3>\
         <p>{summary}</p>",
        key = message.key,
        title = escape(message.body["title"].as_str().unwrap_or_default()),
        summary = prose(message.body["summary"].as_str().unwrap_or_default()),
    );
    if let Some(about) = message.body["description"].as_str() {
        let _ = write!(out, "<p>{}</p>", prose(about));
    }
    if message.is_said_by_client() {
        answers(document, message, out);
    }
    let fields = fields::of(document, &message.body["payload"]);
    if !fields.is_empty() {
        out.push_str("<h4>Fields</h4>");
        table(&fields, !message.is_said_by_client(), out);
    }
    out.push_str("<h4>Example</h4>");
    for example in message.body["examples"].as_array().into_iter().flatten() {
        let shown = match (&example["payload"], example["name"].as_str()) {
            (Value::String(hex), Some(name)) => format!("{hex}   {name}"),
            (payload, _) => serde_json::to_string_pretty(payload).unwrap_or_default(),
        };
        let _ = write!(out, "<pre><code>{}</code></pre>", escape(&shown));
    }
    out.push_str("</article>");
}

/// What answers a client's message, read from its operation.
fn answers(document: &Value, message: &Message<'_>, out: &mut String) {
    let reply = &document["operations"][format!("on_{}", message.name())]["reply"]["messages"];
    let names: Vec<&str> =
        reply.as_array().into_iter().flatten().filter_map(|m| m["$ref"].as_str()?.rsplit('/').next()).collect();
    if names.is_empty() {
        out.push_str("<p class=\"soft\">Nothing answers it.</p>");
        return;
    }
    let links =
        names.iter().map(|key| format!("<a href=\"#{key}\"><code>{}</code></a>", key.trim_start_matches("server.")));
    let _ = write!(out, "<p class=\"soft\">Answered by {}</p>", links.collect::<Vec<_>>().join(", "));
}

/// `heard`: of the server's own messages, which always have what they must, the optional fields are the exception.
fn table(fields: &[Field], heard: bool, out: &mut String) {
    out.push_str(
        "<div class=\"wide\"><table><thead><tr><th>Field</th><th>Type</th><th>Meaning</th></tr></thead><tbody>",
    );
    for f in fields {
        let must = match (f.required, heard) {
            (true, false) => "<span class=\"must\">required</span>",
            (false, true) => "<span class=\"may\">optional</span>",
            (true, true) | (false, false) => "",
        };
        let kind = prose(&f.kind);
        let _ = write!(
            out,
            "<tr><td><code>{}</code>{must}</td><td>{kind}</td><td>{}</td></tr>",
            escape(&f.name),
            prose(&f.about)
        );
    }
    out.push_str("</tbody></table></div>");
}

/// Error codes and close codes.
fn codes(document: &Value, out: &mut String) {
    out.push_str("<h2 id=\"errors\">Errors</h2><p class=\"lead\">The <code>code</code> of <a href=\"#server.error\"><code>error</code></a>.</p><article class=\"plain\"><div class=\"wide\"><table><tbody>");
    for code in document["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().into_iter().flatten() {
        let about = prose(code["description"].as_str().unwrap_or_default());
        let _ = write!(out, "<tr><td><code>{}</code></td><td>{about}</td></tr>", text(&code["const"]));
    }
    out.push_str("</tbody></table></div></article><h2 id=\"close-codes\">Close codes</h2><p class=\"lead\">They say what to do next.</p><article class=\"plain\"><div class=\"wide\"><table><tbody>");
    for code in document["channels"]["socket"]["x-close-codes"].as_array().into_iter().flatten() {
        let _ = write!(out, "<tr><td><code>{}</code></td><td>{}</td></tr>", code["code"], text(&code["meaning"]));
    }
    out.push_str("</tbody></table></div></article>");
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text whose `code` is marked so.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ = if n % 2 == 1 { write!(out, "<code>{part}</code>") } else { write!(out, "{part}") };
    }
    out
}
