//! How a speaker's frame comes to a listener's socket without the listener's task being called. Knows no runtime: the server lends its
//! sockets as [`Shortcut`]s.

use std::fmt::Debug;
use std::sync::Arc;
use std::thread::ThreadId;

/// A socket that takes a listener's frame from whoever publishes it, without its task being called.
pub trait Shortcut: Debug + Send + Sync {
    /// Writes what the socket takes at once, and tells how many bytes that was.
    fn try_write(&self, frame: &[u8]) -> usize;
}

/// A listener's socket and the thread of its task: on that thread nobody else writes to it meanwhile.
#[derive(Debug)]
pub(super) struct Direct {
    pub(super) thread: ThreadId,
    pub(super) socket: Arc<dyn Shortcut>,
}
