//! What can go wrong with recordings: for those who ask for one, and for the thread that writes. Knows no file and no thread.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::queue::{FailedBy, Failure};

/// What can go wrong with recordings.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder cannot be made or read at the start. The operator's fault.
    #[error("recording folder {}: {source}", dir.display())]
    Folder {
        /// The configured folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The recording reached a limit that was set; what was written stays.
    #[error("{message}")]
    Limit {
        /// For people.
        message: String,
    },
    /// The recording could not be written to its end; what was written stays.
    #[error("{message}")]
    Failed {
        /// For people; no path, no internals.
        message: String,
    },
    /// The disk failed too often: nothing new is recorded for a while. Worth a retry then.
    #[error("the disk failed too often: nothing new is recorded for now")]
    LeftAlone {
        /// When a recording may be begun again.
        retry_after: Duration,
    },
    /// There is no such recording.
    #[error("no recording {id}")]
    NotFound {
        /// The id asked for.
        id: Uuid,
    },
    /// A recording that still runs cannot be deleted, and an id cannot be used twice.
    #[error("recording {id} is in use")]
    InUse {
        /// The id asked for.
        id: Uuid,
    },
}

/// Why a recording ends early.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    FileLimit,
    Quota,
    /// It was given up on from elsewhere.
    GivenUp(Failure),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl Fault {
    /// Whose doing it is.
    pub(super) fn by(&self) -> FailedBy {
        match self {
            Self::Io(_) => FailedBy::Disk,
            Self::FileLimit | Self::Quota => FailedBy::Limit,
            Self::GivenUp(failure) => failure.by,
        }
    }

    /// For people.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Io(e) => io_message(e).to_owned(),
            Self::FileLimit => "the recording reached its size limit and ends here".to_owned(),
            Self::Quota => "the space for recordings is used up".to_owned(),
            Self::GivenUp(failure) => failure.message.clone(),
        }
    }
}

/// An I/O error for people: no path, no internals.
pub(super) fn io_message(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full",
        io::ErrorKind::FileTooLarge => "the file would become larger than the system allows",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "the recording folder or file is gone",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "the recording folder cannot be written to"
        }
        _ => "the recording could not be written",
    }
}
