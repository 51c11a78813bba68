//! The HTTP interface (protocol section 8), a file a resource.

pub(super) mod breakers;
pub(super) mod broadcast;
pub(super) mod connections;
pub(super) mod conversations;
pub(super) mod decode;
pub(super) mod health;
pub(super) mod monitoring;
pub(super) mod recordings;
pub(super) mod revocations;
pub(super) mod sessions;

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::unread;
use super::problem::Problem;
use super::state::App;
use crate::hub::Connection;

/// Rows of a page where none is asked for.
const PAGE_DEFAULT: usize = 100;
/// Rows of a page at the most.
const PAGE_MAX: usize = 1_000;

/// `after` and `limit` of every list.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    /// The `next` of the page before.
    after: Option<uuid::Uuid>,
    /// Rows at the most; more than 1000 is 1000.
    #[schemars(extend("default" = PAGE_DEFAULT))]
    limit: Option<NonZeroUsize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.map_or(PAGE_DEFAULT, |limit| limit.get().min(PAGE_MAX))
    }

    /// The page of all connections, oldest first, and one more for [`List::page`].
    fn of_connections(&self, app: &App) -> impl Iterator<Item = Arc<Connection>> {
        let after = self.after;
        app.connections.all().into_iter().filter(move |c| after.is_none_or(|a| c.id() > a)).take(self.limit() + 1)
    }
}

/// A body as JSON, whatever its media type says.
pub(super) struct Body<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let TextBody(body) = TextBody::from_request(request, state).await?;
        crate::dialect::native::read_body(&body).map(Self).map_err(Problem)
    }
}

/// A body whose JSON the dialect reads.
pub(super) struct TextBody(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for TextBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = String::from_request(request, state).await;
        body.map(Self).map_err(|e| unread(&e, e.status(), e.body_text()))
    }
}

/// What every list answers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(super) struct List<T> {
    items: Vec<T>,
    /// `after` of the next page; none on the last.
    next: Option<String>,
}

/// How many connections an administrator, or a user of himself, has closed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Disconnected {
    disconnected: usize,
}

impl<T> List<T> {
    /// A page of rows of which one more than `limit` was asked for, so that its presence tells of a next page.
    fn page(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map(id)
        });
        Self { items, next: next.flatten() }
    }
}
