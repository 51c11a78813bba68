//! How a connection's streams come into the journal, and what waits for it: acknowledgements, and answers that promise something.

use std::sync::Arc;

use super::stream::Stream;
use super::task::Task;
use crate::journal::{JournalError, Log, OpenNote, SessionNote};
use crate::protocol::{ErrorCode, ProtocolError};

/// What a client is told of a stream that is not kept.
fn told(e: &JournalError) -> ProtocolError {
    match e {
        JournalError::StreamFull { limit_bytes } => {
            ProtocolError::new(ErrorCode::QuotaExceeded, e.to_string()).detail("limit_bytes", *limit_bytes)
        }
        JournalError::Full => ProtocolError::new(ErrorCode::QuotaExceeded, e.to_string()).retry_after_ms(60_000),
        JournalError::Disk { .. } => ProtocolError::new(ErrorCode::Internal, format!("{e}; the stream ends here")),
    }
}

/// Why a stream must end because nothing is kept of it any more.
pub(super) fn failure(log: Option<&Log>) -> Option<ProtocolError> {
    log.and_then(Log::failure).as_ref().map(told)
}

/// Keeps a frame, where the stream is kept.
pub(super) fn keep(log: Option<&Log>, frame: &[u8]) -> Result<(), ProtocolError> {
    log.map_or(Ok(()), |log| log.bytes(frame)).map_err(|e| told(&e))
}

impl Task {
    /// Begins to keep a stream that was just opened. Its answer waits until that is on the disk.
    pub(super) fn begin_log(&mut self, stream: &mut Stream, open: &OpenNote) -> Result<(), ProtocolError> {
        let Some(journal) = &self.app.journal else { return Ok(()) };
        let connection = Arc::clone(&self.connection);
        self.note_version += 1;
        let Some(note) = self.session_note() else { return Ok(()) };
        let log = journal.create(&note, open, Arc::new(move || connection.outbox.wake())).map_err(|e| told(&e))?;
        self.gate.push((log.clone(), log.position()));
        stream.log = Some(log);
        Ok(())
    }

    /// A stream is over: its file goes, and until it has gone nobody is told.
    pub(super) fn end_log(&mut self, stream: &Stream) {
        if let Some(log) = &stream.log {
            log.remove();
            self.gate.push((log.clone(), u64::MAX));
        }
    }

    /// Notes the session as it is now beside every stream of it. A log that takes it no more ends its stream by itself.
    pub(super) fn note_in_journal(&mut self) {
        if self.streams.iter().all(|s| s.log.is_none()) {
            return;
        }
        self.note_version += 1;
        let Some(note) = self.session_note() else { return };
        for log in self.streams.iter().filter_map(|s| s.log.as_ref()) {
            if let Err(error) = log.session(&note) {
                tracing::debug!(%error, "a session was not noted in the journal");
            }
        }
    }

    /// Keeps a session event beside every stream; one that is not kept counts as missed after a restart.
    pub(super) fn journal_event(&self, seq: u64, text: &[u8]) {
        for log in self.streams.iter().filter_map(|s| s.log.as_ref()) {
            let _ = log.event(seq, text);
        }
    }

    /// Nothing more is told before all that is in the journal now survives.
    pub(super) fn hold_output(&mut self) {
        self.gate.extend(self.streams.iter().filter_map(|s| s.log.as_ref()).map(|log| (log.clone(), log.position())));
    }

    /// Whether something is not on the disk yet that what is to be told depends on.
    pub(super) fn output_is_held(&mut self) -> bool {
        if !self.gate.is_empty() {
            self.gate.retain(|(log, position)| !log.reached(*position) && log.failure().is_none());
        }
        !self.gate.is_empty()
    }

    fn session_note(&self) -> Option<SessionNote> {
        let (token, used) = self.app.sessions.tokens(self.connection.session_id())?;
        let default = self.session.default_format();
        Some(SessionNote {
            version: self.note_version,
            session_id: self.connection.session_id(),
            client_id: self.connection.client_id().to_owned(),
            user_id: self.session.identity().user_id.clone(),
            created_unix_ms: self.connection.created_unix_ms(),
            token: token.text(),
            used_token: used.map(|t| t.text()),
            default_encoding: default.encoding,
            default_sample_rate: default.sample_rate,
            default_channels: default.channels,
            conversations: self.session.conversations().to_vec(),
            subscriptions: self.session.subscriptions().bits(),
            last_seq: self.session.last_seq(),
        })
    }
}
