//! How a speaker's frame comes to a listener's socket without the listener's task being called. Knows no runtime.

use std::io::Write;
use std::net::TcpStream;
use std::thread::ThreadId;

/// A socket that takes a listener's frame from whoever publishes it on the thread of its task: nobody else writes to it meanwhile.
///
/// Its descriptor is a second one and stands here: the runtime's own lies in memory that a frame would have to fetch for each listener.
#[derive(Debug)]
pub(super) struct Shortcut {
    pub(super) thread: ThreadId,
    pub(super) socket: TcpStream,
}

impl Shortcut {
    /// Writes what the socket takes at once, and tells how many bytes that was. Where it is broken nothing is taken: its task, called
    /// for what is left, finds out.
    pub(super) fn try_write(&self, frame: &[u8]) -> usize {
        (&self.socket).write(frame).unwrap_or(0)
    }
}
