//! Pages for people.

use axum::response::Html;

/// `GET /`: where things are.
pub(super) async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}
