//! Pages for people: the built files of web/, embedded. Knows neither what is on them nor who looks: they hold nothing secret.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// A file as it is served.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";

/// Every embedded file. `web/scripts/build.mjs` makes them; one more is one more line.
static ASSETS: [Asset; 5] = [
    Asset { name: "index.html", content_type: HTML, bytes: include_bytes!("../../../web/dist/index.html") },
    Asset {
        name: "app.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/app.js"),
    },
    Asset {
        name: "worklet.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/worklet.js"),
    },
    Asset {
        name: "app.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../../web/dist/app.css"),
    },
    Asset { name: "icon.svg", content_type: "image/svg+xml", bytes: include_bytes!("../../../web/dist/icon.svg") },
];

/// Nothing from elsewhere, nothing inline, in nobody's frame. `'self'` covers the WebSocket of the same host (CSP level 3).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The hash of each file, in the table's order: a browser that has it is told so and gets nothing.
static ETAGS: LazyLock<[String; ASSETS.len()]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let digest = Sha256::digest(ASSETS[i].bytes);
        let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("\"{hex}\"")
    })
});

/// `GET /`: the microphone page.
pub(super) async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// `GET /page/{file}`: what it is made of.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

fn serve(name: &str, asked: &HeaderMap) -> Response {
    let Some(at) = ASSETS.iter().position(|a| a.name == name) else {
        return Problem::not_found("there is nothing at this address").into_response();
    };
    let (asset, etag) = (&ASSETS[at], &ETAGS[at]);
    let known = asked.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known.is_some_and(|list| list.split(',').any(|t| t.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    // Asked for again each time, so that page and server never differ; unchanged it costs a line.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert("permissions-policy", HeaderValue::from_static("microphone=(self), camera=(), geolocation=()"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_files_that_are_there_and_for_nothing_inline() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for asset in &ASSETS[1..] {
            let used = page.contains(&format!("\"page/{}\"", asset.name)) || asset.name == "worklet.js";
            assert!(used, "{} is embedded for nothing", asset.name);
        }
        let referred: Vec<_> = page.split("\"page/").skip(1).filter_map(|s| s.split('"').next()).collect();
        for name in referred {
            assert!(ASSETS.iter().any(|a| a.name == name), "{name} is not embedded");
        }
        for forbidden in ["<script>", "<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden} is what the policy forbids");
        }
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let first = serve("app.css", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = serve("app.css", &asked);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[header::ETAG], first.headers()[header::ETAG]);
        asked.insert(header::IF_NONE_MATCH, "\"another\"".parse().unwrap());
        assert_eq!(serve("app.css", &asked).status(), StatusCode::OK);
        assert_eq!(serve("../Cargo.toml", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }
}
