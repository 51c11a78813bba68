//! What goes wrong with what lasts. A reason is the backend's own text; nothing here holds content, a token or a password.

use std::path::PathBuf;

/// Why the store did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much waits already; the write was not queued, or the read not begun.
    #[error("the store is busy: {waiting} operations wait")]
    Busy {
        /// Operations that wait.
        waiting: usize,
    },
    /// The disk's: it failed too often and is left alone for a while. Nothing was tried.
    #[error("the store failed too often and is left alone for another {retry_after_ms} ms")]
    LeftAlone {
        /// When it will be tried again.
        retry_after_ms: u64,
    },
    /// The store is closed, or closes.
    #[error("the store is closed")]
    Closed,
    /// Another process holds the database.
    #[error("the database is locked by another process (waited {waited_ms} ms)")]
    Locked {
        /// How long was waited for it, in milliseconds.
        waited_ms: u64,
    },
    /// There is no room left on the disk, or the database reached its bound.
    #[error("no room left: {reason}")]
    Full {
        /// What the database says.
        reason: String,
    },
    /// Reading or writing the medium failed.
    #[error("the database's medium failed: {reason}")]
    Io {
        /// What the database says.
        reason: String,
    },
    /// The file is no database, or a damaged one.
    #[error("the database is damaged or is none: {reason}")]
    Corrupt {
        /// What the database says.
        reason: String,
    },
    /// The database refused this one operation; others are not concerned.
    #[error("the database refused it: {reason}")]
    Refused {
        /// What the database says.
        reason: String,
    },
    /// The database failed in a way that is none of the above: out of memory, a table missing.
    #[error("the database failed: {reason}")]
    Failed {
        /// What the database says.
        reason: String,
    },
    /// What was asked makes no sense.
    #[error("{what}")]
    Invalid {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// The address names a kind of store this build does not have.
    #[error(
        "no store of the kind {scheme:?} in this build; use \"sqlite:PATH\", such as \"sqlite:/var/lib/voxgate/voxgate.db\""
    )]
    Scheme {
        /// What stands before the colon. Never the rest, which may hold a password.
        scheme: String,
    },
    /// The address is of the right kind and wrong nonetheless.
    #[error("the store's address is wrong: {what}")]
    Address {
        /// What would be right.
        what: &'static str,
    },
    /// The database could not be opened.
    #[error("cannot open the database {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<StoreError>,
    },
    /// The tables are not those this version knows.
    #[error("the database's tables are not this version's: {reason}")]
    Schema {
        /// What differs.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same operation may succeed later without anybody changing anything about it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::LeftAlone { .. } | Self::Locked { .. } | Self::Full { .. } | Self::Io { .. } => {
                true
            }
            Self::Open { source, .. } => source.is_retryable(),
            Self::Closed
            | Self::Corrupt { .. }
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::Invalid { .. }
            | Self::Scheme { .. }
            | Self::Address { .. }
            | Self::Schema { .. } => false,
        }
    }

    /// Whether it is this operation's own fault, so that the store is as well as before.
    pub(super) fn is_of_the_operation(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Invalid { .. })
    }
}
