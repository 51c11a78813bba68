//! A point of the history: what happened between two readings.

use super::reading::Reading;
use crate::protocol::MetricsPoint;
use crate::telemetry::Durations;

/// The while between two readings as a point, and its acknowledgement latencies. `at`: the end, RFC 3339.
pub(super) fn between(before: &Reading, now: &Reading, at: String) -> (MetricsPoint, Durations) {
    let seconds = now.at_ms.saturating_sub(before.at_ms).max(1) as f64 / 1_000.0;
    let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
    let latency = now.ack_latency.since(&before.ack_latency);
    let processing = now.processing.since(&before.processing);
    let (t, u) = (&now.traffic, &before.traffic);
    let point = MetricsPoint {
        at,
        seconds,
        connections: now.connections,
        recovering: now.recovering,
        streams: now.streams.open,
        audio_s_per_s: rate(now.streams.audio_ms, before.streams.audio_ms) / 1_000.0,
        bytes_in_per_s: rate(t.bytes_in, u.bytes_in),
        bytes_out_per_s: rate(t.bytes_out, u.bytes_out),
        messages_in_per_s: rate(t.messages_in, u.messages_in),
        messages_out_per_s: rate(t.messages_out, u.messages_out),
        errors_per_s: rate(t.errors, u.errors),
        dropped_ms_per_s: rate(now.totals.dropped_ms, before.totals.dropped_ms),
        acks_per_s: latency.count() as f64 / seconds,
        ack_p50_us: latency.quantile_us(0.5),
        ack_p95_us: latency.quantile_us(0.95),
        ack_p99_us: latency.quantile_us(0.99),
        processing_p95_us: processing.quantile_us(0.95),
        lag_max_ms: now.lag.since(&before.lag).max_us().unwrap_or(0) as f64 / 1_000.0,
        queue_messages: now.queue_messages,
        queue_bytes: now.queue_bytes,
        buffered_ms: now.streams.buffered_ms,
        store_queued: now.store.queued,
        recordings_open: now.recorder.map_or(0, |r| r.open),
        stream_memory_bytes: now.stream_memory_bytes,
        process_cpu_percent: rate(now.system.process_cpu_ms, before.system.process_cpu_ms) / 10.0,
        process_memory_bytes: now.system.process_memory_bytes,
        system_cpu_percent: f64::from(now.system.system_cpu_percent),
    };
    (point, latency)
}
