//! The HTTP interface (protocol section 8), a file a resource.

pub(super) mod breakers;
pub(super) mod connections;
pub(super) mod decode;
pub(super) mod health;
pub(super) mod recordings;

use serde::{Deserialize, Serialize};

/// Rows of a page where none is asked for.
const PAGE_DEFAULT: usize = 100;
/// Rows of a page at the most.
const PAGE_MAX: usize = 1_000;

/// `after` and `limit` of every list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<uuid::Uuid>,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }
}

/// What every list answers.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    items: Vec<T>,
    next: Option<String>,
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
