//! A session made again as it was when the server died: what the runtime had noted goes in. Knows no file.

use super::{OpenStream, Session};
use crate::audio::StreamFormat;
use crate::protocol::EventSet;

/// Events a client may have seen of which the note was lost: more than are told between two rounds of a writer.
const UNNOTED_MAX: u64 = 4_096;

impl Session {
    /// What the client had subscribed to, and its events by number, oldest first; `last_seq` is the newest number given out.
    pub fn restore<'a>(
        &mut self,
        subscriptions: EventSet,
        events: impl IntoIterator<Item = (u64, &'a [u8])>,
        last_seq: u64,
    ) {
        self.subscriptions = subscriptions;
        for (seq, text) in events {
            self.ring.skip(seq.saturating_sub(self.ring.last_seq()));
            self.ring.push(text);
        }
        self.ring.skip(last_seq.saturating_sub(self.ring.last_seq()));
    }

    /// A stream that was open, with what arrived of it.
    pub fn restore_stream(&mut self, open: &OpenStream, received_bytes: u64) {
        self.streams.restore(open, received_bytes);
    }

    /// The client has seen events up to `seq`, the last of which may not have been noted: no number is given out twice.
    pub fn has_seen(&mut self, seq: u64) {
        let unnoted = seq.saturating_sub(self.ring.last_seq());
        if unnoted <= UNNOTED_MAX {
            self.ring.skip(unnoted);
        }
    }

    /// The number of the newest session event.
    pub fn last_seq(&self) -> u64 {
        self.ring.last_seq()
    }

    /// The format of a stream that declares none.
    pub fn default_format(&self) -> StreamFormat {
        self.defaults.format
    }
}
