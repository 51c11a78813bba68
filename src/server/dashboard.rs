//! `/monitoring/dashboard`: the files of `web/dashboard`, embedded as they are. They hold nothing secret: what they show, they ask for
//! with an administrator's token.

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Name, type and text of every file.
const FILES: [(&str, &str, &str); 10] = [
    ("index.html", "text/html; charset=utf-8", include_str!("../../web/dashboard/index.html")),
    ("dashboard.css", "text/css; charset=utf-8", include_str!("../../web/dashboard/dashboard.css")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/dashboard.js")),
    ("api.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/api.js")),
    ("charts.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/charts.js")),
    ("tables.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/tables.js")),
    ("words.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/words.js")),
    ("language.js", "text/javascript; charset=utf-8", include_str!("../../web/dashboard/language.js")),
    ("uPlot.min.css", "text/css; charset=utf-8", include_str!("../../web/dashboard/vendor/uPlot.min.css")),
    (
        "uPlot.iife.min.js",
        "text/javascript; charset=utf-8",
        include_str!("../../web/dashboard/vendor/uPlot.iife.min.js"),
    ),
];

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /monitoring/dashboard`.
pub(super) async fn index() -> Response {
    serve("index.html")
}

/// `GET /monitoring/dashboard/{file}`.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    serve(&name)
}

fn serve(name: &str) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return Problem::not_found("there is nothing at this address").into_response();
    };
    let mut response = ([(header::CONTENT_TYPE, *kind)], *text).into_response();
    let headers = response.headers_mut();
    // Asked for again each time, so that page and server never differ.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_files_that_are_there_and_for_nothing_inline() {
        let page = FILES[0].2;
        for part in page.split("\"dashboard/").skip(1).filter_map(|s| s.split('"').next()) {
            assert!(FILES.iter().any(|f| f.0 == part), "{part} is not embedded");
        }
        for (name, kind, text) in FILES.iter().filter(|f| f.1.contains("javascript") && !f.0.contains("uPlot")) {
            for part in text.split("from \"./").skip(1).filter_map(|s| s.split('"').next()) {
                assert!(FILES.iter().any(|f| f.0 == part), "{name} ({kind}) imports {part}, which is not embedded");
            }
        }
        for forbidden in ["<script>", "<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden} is what the policy forbids");
        }
    }
}
