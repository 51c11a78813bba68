//! The error journal: the newest errors, and how many of which kind came in which minute of the last day. What clients said is not in it,
//! only what was wrong with it. Knows no connection; ids come with each entry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use uuid::Uuid;

use crate::clock::{Clock, rfc3339, unix_ms};
use crate::protocol::{ErrorEntry, ProtocolError, Severity};

/// Entries kept: enough to see how a failure began, half a megabyte at the most.
pub const ENTRIES_MAX: usize = 1_000;
/// Minutes of which the counts are kept: a day.
pub const MINUTES_MAX: u64 = 1_440;
/// Characters of a message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// Every severity, as it is counted.
const SEVERITIES: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// The part of the server an error belongs to: a closed set, for it becomes a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Part {
    Connection,
    Recorder,
    Store,
    Responder,
    CircuitBreaker,
    Worker,
    Http,
}

impl Part {
    /// As a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Recorder => "recorder",
            Self::Store => "store",
            Self::Responder => "responder",
            Self::CircuitBreaker => "circuit_breaker",
            Self::Worker => "worker",
            Self::Http => "http",
        }
    }
}

/// An error as it is kept, and when it came on the server's monotonic clock.
type Entry = (u64, ErrorEntry);

/// An error that happened now.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of ErrorEntry")]
pub struct Fault {
    pub kind: &'static str,
    pub severity: Severity,
    pub part: Part,
    pub connection_id: Option<Uuid>,
    pub stream_id: Option<String>,
    pub message: String,
}

impl Fault {
    /// Something of the server itself failed.
    pub fn of_server(kind: &'static str, severity: Severity, part: Part, message: impl Into<String>) -> Self {
        Self { kind, severity, part, connection_id: None, stream_id: None, message: message.into() }
    }

    /// A client was told of an error.
    pub fn told(error: &ProtocolError, connection_id: Uuid) -> Self {
        let part = match error.details.get("sink").and_then(|s| s.as_str()) {
            Some("recorder") => Part::Recorder,
            _ => Part::Connection,
        };
        Self {
            kind: error.code.name(),
            severity: error.severity,
            part,
            connection_id: Some(connection_id),
            stream_id: error.stream_id.clone(),
            message: error.message.clone(),
        }
    }
}

/// How many errors of which kind and severity.
type Counts = BTreeMap<(&'static str, u8), u64>;

#[derive(Debug)]
struct Minute {
    /// Since the server's start.
    number: u64,
    counts: Counts,
    /// Critical ones that are the server's own: no recording, whose failures say nothing of the rest.
    own: u64,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    minutes: VecDeque<Minute>,
    /// Since the start; no reset makes them less.
    totals: BTreeMap<(&'static str, u8, Part), u64>,
    number: u64,
}

/// A minute's errors, for a chart.
#[derive(Clone, Debug, Serialize)]
pub struct MinuteOfErrors {
    /// When it began, RFC 3339.
    pub at: String,
    /// In all.
    pub total: u64,
    /// By kind.
    pub by_kind: BTreeMap<&'static str, u64>,
}

/// Errors of a while.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// In all.
    pub total: u64,
    /// In all, a minute.
    pub per_minute: f64,
    /// By kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// By severity.
    pub by_severity: BTreeMap<&'static str, u64>,
    /// Minute by minute, oldest first; those without errors are left out.
    pub timeline: Vec<MinuteOfErrors>,
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    clock: Clock,
    inner: Mutex<Inner>,
}

impl Journal {
    /// An empty journal; windows go by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    /// Notes an error.
    pub fn note(&self, fault: Fault) {
        let at_ms = self.clock.now_ms();
        let (kind, severity, part) = (fault.kind, fault.severity, fault.part);
        let message = fault.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let mut inner = self.lock();
        inner.number += 1;
        if inner.entries.len() == ENTRIES_MAX {
            inner.entries.pop_front();
        }
        let entry = ErrorEntry {
            number: inner.number,
            at: rfc3339(unix_ms()),
            kind,
            severity,
            part: part.name(),
            connection_id: fault.connection_id,
            stream_id: fault.stream_id,
            message,
        };
        inner.entries.push_back((at_ms, entry));
        *inner.totals.entry((kind, severity as u8, part)).or_default() += 1;
        let own = severity == Severity::Critical && part != Part::Recorder;
        let minute = inner.minute(at_ms / 60_000);
        *minute.counts.entry((kind, severity as u8)).or_default() += 1;
        minute.own += u64::from(own);
    }

    /// Up to `max` of the errors after a number, oldest first, and how many more there were.
    pub fn after(&self, number: u64, max: usize) -> (Vec<ErrorEntry>, u64) {
        let inner = self.lock();
        let new = inner.number.saturating_sub(number);
        let entries: Vec<_> =
            inner.entries.iter().map(|(_, e)| e).filter(|e| e.number > number).take(max).cloned().collect();
        let left = new - entries.len() as u64;
        (entries, left)
    }

    /// The number of the newest error.
    pub fn newest(&self) -> u64 {
        self.lock().number
    }

    /// Up to `max` errors of the last minutes, newest first.
    pub fn recent(&self, minutes: u64, max: usize) -> Vec<ErrorEntry> {
        let from_ms = self.clock.now_ms().saturating_sub(minutes.saturating_mul(60_000));
        let inner = self.lock();
        let recent = inner.entries.iter().rev().take_while(|(at_ms, _)| *at_ms >= from_ms);
        recent.take(max).map(|(_, e)| e.clone()).collect()
    }

    /// What the last minutes brought, the one that runs included.
    pub fn summary(&self, minutes: u64) -> Summary {
        let now_ms = self.clock.now_ms();
        let first = (now_ms / 60_000 + 1).saturating_sub(minutes);
        let inner = self.lock();
        let mut s = Summary {
            total: 0,
            per_minute: 0.0,
            by_kind: BTreeMap::new(),
            by_severity: SEVERITIES.map(|s| (s.name(), 0)).into(),
            timeline: Vec::new(),
        };
        for minute in inner.minutes.iter().filter(|m| m.number >= first) {
            let mut row = MinuteOfErrors {
                at: rfc3339(self.clock.unix_ms_of(minute.number * 60_000)),
                total: 0,
                by_kind: BTreeMap::new(),
            };
            for (&(kind, severity), &n) in &minute.counts {
                row.total += n;
                *row.by_kind.entry(kind).or_default() += n;
                *s.by_kind.entry(kind).or_default() += n;
                *s.by_severity.entry(SEVERITIES[usize::from(severity)].name()).or_default() += n;
            }
            s.total += row.total;
            s.timeline.push(row);
        }
        s.per_minute = s.total as f64 / minutes.clamp(1, now_ms / 60_000 + 1) as f64;
        s
    }

    /// The server's own critical errors of this minute and the one before.
    pub fn own_critical(&self) -> u64 {
        let first = (self.clock.now_ms() / 60_000).saturating_sub(1);
        self.lock().minutes.iter().rev().take_while(|m| m.number >= first).map(|m| m.own).sum()
    }

    /// Errors since the start: kind, severity, part and how many. A reset does not lessen them.
    pub fn totals(&self) -> Vec<(&'static str, Severity, Part, u64)> {
        let row = |(&(kind, severity, part), &n): (&(&'static str, u8, Part), &u64)| {
            (kind, SEVERITIES[usize::from(severity)], part, n)
        };
        self.lock().totals.iter().map(row).collect()
    }

    /// Forgets the entries and the counts of the day. Returns how many entries went.
    pub fn reset(&self) -> usize {
        let mut inner = self.lock();
        inner.minutes = VecDeque::new();
        std::mem::take(&mut inner.entries).len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn minute(&mut self, number: u64) -> &mut Minute {
        if self.minutes.back().is_none_or(|m| m.number != number) {
            while self.minutes.front().is_some_and(|m| m.number + MINUTES_MAX <= number) {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute { number, counts: Counts::new(), own: 0 });
        }
        self.minutes.back_mut().expect("one was just pushed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    fn journal() -> Journal {
        Journal::new(Clock::start())
    }

    fn told(code: ErrorCode) -> Fault {
        Fault::told(&ProtocolError::new(code, "x".repeat(1_000)), Uuid::nil())
    }

    #[test]
    fn the_newest_thousand_are_kept_and_all_are_counted() {
        let j = journal();
        (0..ENTRIES_MAX + 50).for_each(|_| j.note(told(ErrorCode::InvalidJson)));
        j.note(told(ErrorCode::Internal));
        let all = j.recent(5, usize::MAX);
        assert_eq!((all.len(), all[0].kind, all[0].message.len()), (ENTRIES_MAX, "INTERNAL", MESSAGE_CHARS_MAX));
        let s = j.summary(5);
        assert_eq!((s.total, s.by_kind["INVALID_JSON"], s.by_severity["critical"]), (1_051, 1_050, 1));
        assert_eq!((s.timeline.len(), s.by_severity["high"]), (1, 0));
        assert_eq!(j.own_critical(), 1);
        assert_eq!(j.totals().len(), 2);
    }

    #[test]
    fn what_is_new_is_told_with_how_much_was_left_out() {
        let j = journal();
        j.note(told(ErrorCode::AudioGap));
        let seen = j.newest();
        (0..10).for_each(|_| j.note(told(ErrorCode::Internal)));
        let (new, left) = j.after(seen, 4);
        assert_eq!((new.len(), new[0].number, left), (4, 2, 6));
        assert_eq!(j.after(j.newest(), 4).0.len(), 0);
    }

    #[test]
    fn a_reset_forgets_entries_and_rates_but_no_totals() {
        let j = journal();
        j.note(told(ErrorCode::Internal));
        assert_eq!(j.reset(), 1);
        assert_eq!((j.summary(60).total, j.recent(60, 10).len(), j.own_critical()), (0, 0, 0));
        assert_eq!(j.totals()[0].3, 1);
    }

    #[test]
    fn a_recording_that_fails_is_not_the_servers_own_failure() {
        let j = journal();
        let e = ProtocolError::new(ErrorCode::Internal, "recorder: disk full").detail("sink", "recorder");
        j.note(Fault::told(&e, Uuid::nil()));
        assert_eq!((j.own_critical(), j.recent(1, 1)[0].part), (0, "recorder"));
    }
}
