//! All counters and states at a moment, read where they are kept. Takes each registry's lock once, for as long as a walk takes.

use std::sync::atomic::Ordering::Relaxed;

use super::lock;
use crate::hub::{StreamTotals, Traffic};
use crate::journal::{Journal, JournalStatus};
use crate::protocol::EventSet;
use crate::resilience::BreakerStatus;
use crate::server::state::App;
use crate::sink::recorder::RecorderStatus;
use crate::store::StoreStatus;
use crate::telemetry::{Durations, LaneTotals, SystemReading};
use crate::upstream::ResponderStatus;

/// A worker at a moment.
#[derive(Clone, Debug)]
pub(super) struct LaneReading {
    pub(super) connections: usize,
    pub(super) lag: Durations,
}

/// The server at a moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// On the server's monotonic clock.
    pub(super) at_ms: u64,
    pub(super) traffic: Traffic,
    pub(super) connections: usize,
    pub(super) recovering: usize,
    pub(super) conversations: usize,
    pub(super) streams: StreamTotals,
    pub(super) totals: LaneTotals,
    pub(super) ack_latency: Durations,
    pub(super) processing: Durations,
    pub(super) lag: Durations,
    pub(super) lanes: Vec<LaneReading>,
    pub(super) queue_messages: usize,
    pub(super) queue_bytes: usize,
    /// The fullest outbound queue's messages, as a share of what it may hold.
    pub(super) queue_fullest: f64,
    pub(super) stream_memory_bytes: u64,
    pub(super) system: SystemReading,
    pub(super) recorder: Option<RecorderStatus>,
    pub(super) journal: Option<JournalStatus>,
    pub(super) store: StoreStatus,
    pub(super) breakers: Vec<BreakerStatus>,
    pub(super) responder: Option<ResponderStatus>,
    /// What at least one connection wants to be told.
    pub(super) wanted: EventSet,
}

impl Reading {
    /// Reads everything. About 100 ns a connection.
    pub(super) fn take(app: &App) -> Self {
        let (mut queue_messages, mut queue_bytes, mut queue_fullest) = (0, 0, 0.0_f64);
        let (mut all, mut recovering, mut wanted) = (0, 0, 0);
        let traffic = app.connections.survey(|c| {
            all += 1;
            recovering += usize::from(c.is_detached());
            wanted |= c.subscriptions().bits();
            let q = c.outbox.info();
            queue_messages += q.messages;
            queue_bytes += q.bytes;
            queue_fullest = queue_fullest.max(q.messages as f64 / q.limit.max(1) as f64);
        });
        let mut totals = LaneTotals::default();
        let (mut ack_latency, mut processing, mut lag) = <(Durations, Durations, Durations)>::default();
        let mut lanes = Vec::new();
        for lane in lock(&app.monitor.lanes).iter() {
            let f = &lane.figures;
            totals.take_in(f);
            ack_latency.take_in(&f.ack_latency);
            processing.take_in(&f.processing);
            lag.take_in(&f.lag);
            let mut own_lag = Durations::default();
            own_lag.take_in(&f.lag);
            lanes.push(LaneReading { connections: lane.load.load(Relaxed), lag: own_lag });
        }
        Self {
            at_ms: app.clock.now_ms(),
            traffic,
            connections: all - recovering,
            recovering,
            conversations: app.conversations.len(),
            streams: app.streams.survey(),
            totals,
            ack_latency,
            processing,
            lag,
            lanes,
            queue_messages,
            queue_bytes,
            queue_fullest,
            stream_memory_bytes: app.memory.used_bytes(),
            system: app.system.read(),
            recorder: app.recorder.as_ref().map(|r| r.status()),
            journal: app.journal.as_ref().map(Journal::status),
            store: app.store.status(),
            breakers: app.breakers.list(),
            responder: app.responder.as_ref().map(|r| r.status()),
            wanted: EventSet::from_bits(wanted),
        }
    }
}
