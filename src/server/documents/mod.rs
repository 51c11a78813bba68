//! What the server says of its own interfaces: `/ws/protocol` and `/api/openapi.json`, made once from the types and kept.

mod fields;
mod openapi;
mod page;
mod routes;

use std::sync::OnceLock;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::ws;
use crate::dialect::native::{Place, asyncapi};

/// Stands in the kept document for the host; no host is called so (RFC 2606).
const HOST_MARK: &str = "this-server.invalid";
/// Where the request does not say a host that can be one.
const HOST_DEFAULT: &str = "localhost:8080";
/// Bytes of a host and its port (RFC 1035 section 2.3.4, and six for the port).
const HOST_BYTES_MAX: usize = 261;

/// Nothing from elsewhere: the page has no script, and its style is its own.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let inline = SchemaSettings::draft07().for_deserialize().with(|s| {
            s.inline_subschemas = true;
            s.meta_schema = None;
        });
        let mut query = inline.into_generator().into_root_schema_for::<ws::Params>().to_value();
        for (_, field) in query["properties"].as_object_mut().into_iter().flatten() {
            fields::without_null(field);
        }
        asyncapi(&Place { host: HOST_MARK, query })
    })
}

/// `GET /ws/protocol`: AsyncAPI, or for who prefers it (`Accept`, or `?format=html`) a page.
pub(super) async fn protocol(request: Request) -> Response {
    static JSON: OnceLock<String> = OnceLock::new();
    static PAGE: OnceLock<String> = OnceLock::new();
    let query = request.uri().query().unwrap_or_default();
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("format="));
    let html = asked.map_or_else(|| prefers_html(request.headers()), |format| format == "html");
    let mut response = if html {
        let page = PAGE.get_or_init(|| page::render(document()));
        let mut response = with_host(page, request.headers()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        response
    } else {
        let json = JSON.get_or_init(|| document().to_string());
        json_response(with_host(json, request.headers()))
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, host"));
    response
}

/// `GET /api/openapi.json`.
pub(super) async fn openapi() -> Response {
    static JSON: OnceLock<String> = OnceLock::new();
    json_response(JSON.get_or_init(|| openapi::document().to_string()).as_str())
}

fn json_response(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The kept text with the host the client asked, which must be one: it ends up in JSON and HTML as it is.
fn with_host(text: &str, headers: &HeaderMap) -> String {
    let good = |h: &&str| {
        (1..=HOST_BYTES_MAX).contains(&h.len())
            && h.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).filter(good);
    text.replace(HOST_MARK, host.unwrap_or(HOST_DEFAULT))
}

/// Whether `text/html` is named and no less wanted than JSON. `*/*` alone, as programs send it, is JSON.
fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0.0, 0.0);
    for item in headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let q = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok()).unwrap_or(0.0);
        if media.eq_ignore_ascii_case("text/html") {
            html = q;
        } else if media.eq_ignore_ascii_case("application/json") {
            json = q;
        }
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_those_who_ask_for_one() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json", false),
            ("*/*", false),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(prefers_html(&headers), html, "{accept}");
        }
    }

    #[test]
    fn only_a_host_is_taken_as_one() {
        for (host, shown) in [
            ("voice.example.com:8443", "voice.example.com:8443"),
            ("[::1]:80", "[::1]:80"),
            ("\"><script>", HOST_DEFAULT),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            assert_eq!(with_host("ws://this-server.invalid/ws", &headers), format!("ws://{shown}/ws"));
        }
    }
}
