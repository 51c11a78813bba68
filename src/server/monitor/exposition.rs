//! `GET /metrics`: a reading in the words of Prometheus. Every name stands here, once; labels have few values, all known beforehand.

use std::fmt::Error;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::health::{HealthStatus, assess};
use super::reading::Reading;
use crate::protocol::{MESSAGE_TYPES, Severity};
use crate::resilience::BreakerState;
use crate::server::state::App;
use crate::telemetry::{CLOSE_CODES, Durations, END_REASONS, Part};

/// What a scrape shows.
#[derive(Debug)]
struct Scrape {
    reading: Reading,
    health: HealthStatus,
    errors: Vec<(&'static str, Severity, Part, u64)>,
    breakers_opened: u64,
    responses: [u64; 5],
    node: String,
    started_unix_s: f64,
    limits: [(&'static str, u64); 3],
    descriptors: Option<usize>,
    descriptors_max: Option<u64>,
}

/// The whole exposition in the OpenMetrics text format.
pub(in crate::server) fn exposition(app: &App) -> String {
    let scrape = Scrape {
        reading: Reading::take(app),
        health: assess(app).0,
        errors: app.monitor.journal.totals(),
        breakers_opened: app.monitor.breakers_opened.load(Relaxed),
        responses: std::array::from_fn(|n| app.monitor.responses[n].load(Relaxed)),
        node: app.node.clone(),
        started_unix_s: app.clock.unix_ms_of(0) as f64 / 1_000.0,
        limits: [
            ("connections", app.config.server.max_connections as u64),
            ("streams", app.config.audio.max_streams as u64),
            ("stream_memory_bytes", app.config.audio.memory_budget_bytes),
        ],
        descriptors: std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
        descriptors_max: rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::with_capacity(16 << 10);
    // Writing to a String cannot fail, and no value here refuses to be written.
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("figures are written");
    text
}

/// Writes metrics, a line or a family each.
struct Out<'a>(DescriptorEncoder<'a>);

/// Label and value of a family with one label, and its figure.
type Rows<'a, T> = &'a [(&'a str, T)];

#[allow(
    clippy::needless_pass_by_value,
    reason = "the calls are a table of small values; a reference at each would say nothing"
)]
impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: impl EncodeGaugeValue) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges(&mut self, name: &str, help: &str, label: &str, rows: Rows<'_, f64>) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.iter().try_for_each(|(value, n)| family.encode_family(&[(label, *value)])?.encode_gauge(n))
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<Unit>, value: f64) -> Result<(), Error> {
        let mut m = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        m.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, rows: Rows<'_, u64>) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.iter().try_for_each(|(value, n)| {
            family.encode_family(&[(label, *value)])?.encode_counter::<NoLabelSet, u64, f64>(n, None)
        })
    }

    fn histogram(&mut self, name: &str, help: &str, d: &Durations) -> Result<(), Error> {
        let mut m = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        m.encode_histogram::<NoLabelSet>(d.sum_us() as f64 / 1e6, d.count(), &d.octaves(), None)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Out(encoder);
        self.server(&mut out)?;
        self.traffic(&mut out)?;
        self.audio(&mut out)?;
        self.workers(&mut out)?;
        self.parts(&mut out)?;
        self.errors(&mut out)?;
        self.process(&mut out)
    }
}

impl Scrape {
    fn server(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let version = env!("CARGO_PKG_VERSION");
        let mut info = out.0.encode_descriptor("voxgate_build", "This server", None, MetricType::Info)?;
        info.encode_info(&[("version", version), ("node", self.node.as_str())])?;
        let health = |status| f64::from(u8::from(self.health == status));
        let rows = [
            ("healthy", health(HealthStatus::Healthy)),
            ("degraded", health(HealthStatus::Degraded)),
            ("unhealthy", health(HealthStatus::Unhealthy)),
            ("critical", health(HealthStatus::Critical)),
        ];
        out.gauges("voxgate_health", "1 for the state the server is in", "status", &rows)?;
        let limits = self.limits.map(|(name, n)| (name, n as f64));
        out.gauges("voxgate_limit", "Configured limits", "of", &limits)
    }

    fn traffic(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let (r, t) = (&self.reading, &self.reading.traffic);
        out.gauge("voxgate_connections", "Sockets that are connected", None, r.connections as i64)?;
        out.gauge("voxgate_sessions_recovering", "Sessions that wait for their client", None, r.recovering as i64)?;
        out.gauge("voxgate_conversations", "Conversations with a member", None, r.conversations as i64)?;
        out.counter("voxgate_connections_opened", "Connections that were let in", None, t.opened as f64)?;
        let codes: Vec<_> = CLOSE_CODES.iter().map(ToString::to_string).chain(["other".to_owned()]).collect();
        let closed: Vec<_> = codes.iter().map(String::as_str).zip(r.totals.closed).collect();
        out.counters("voxgate_connections_closed", "Connections that were closed with a close frame", "code", &closed)?;
        out.counter("voxgate_sessions_resumed", "Sessions that went on", None, r.totals.resumed as f64)?;
        out.counter("voxgate_received", "Received from clients", Some(Unit::Bytes), t.bytes_in as f64)?;
        out.counter("voxgate_sent", "Sent to clients", Some(Unit::Bytes), t.bytes_out as f64)?;
        let kinds: Vec<_> = MESSAGE_TYPES.iter().copied().zip(r.totals.messages).collect();
        out.counters("voxgate_messages_received", "Messages from clients", "type", &kinds)?;
        out.counter("voxgate_messages_sent", "Messages to clients", None, t.messages_out as f64)?;
        out.gauge("voxgate_outbound_queue_messages", "Messages waiting for clients", None, r.queue_messages as i64)?;
        out.gauge("voxgate_outbound_queue", "What waits for clients", Some(Unit::Bytes), r.queue_bytes as i64)?;
        out.gauge("voxgate_outbound_queue_fullest_ratio", "How full the fullest queue is", None, r.queue_fullest)?;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let responses: Vec<_> = classes.into_iter().zip(self.responses).collect();
        out.counters("voxgate_http_responses", "HTTP answers, upgrades included", "class", &responses)?;
        out.histogram("voxgate_message_processing", "From reading a message to its answer, audio apart", &r.processing)
    }

    fn audio(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let (r, s) = (&self.reading, &self.reading.streams);
        out.gauge("voxgate_streams", "Streams that run", None, s.open as i64)?;
        let started: Vec<_> = s.started.iter().map(|(name, n)| (*name, *n)).collect();
        out.counters("voxgate_streams_started", "Streams that were begun", "encoding", &started)?;
        let ended: Vec<_> = END_REASONS.into_iter().zip(r.totals.ended).collect();
        out.counters("voxgate_streams_ended", "Streams that ended", "reason", &ended)?;
        let seconds = Some(Unit::Seconds);
        out.counter("voxgate_audio", "Audio decoded", seconds.clone(), s.audio_ms as f64 / 1e3)?;
        out.counter(
            "voxgate_audio_dropped",
            "Audio dropped by full queues",
            seconds.clone(),
            r.totals.dropped_ms as f64 / 1e3,
        )?;
        out.gauge("voxgate_audio_buffered", "Audio waiting to be decoded", seconds, s.buffered_ms as f64 / 1e3)?;
        out.gauge("voxgate_listeners", "Listeners, once a stream", None, s.listeners as i64)?;
        let bytes = Some(Unit::Bytes);
        out.gauge("voxgate_stream_memory", "Memory reserved by streams", bytes, r.stream_memory_bytes as i64)?;
        let help = "From the arrival of the newest acknowledged frame to its acknowledgement";
        out.histogram("voxgate_ack_latency", help, &r.ack_latency)
    }

    fn workers(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let names: Vec<_> = (0..self.reading.lanes.len()).map(|n| n.to_string()).collect();
        let lanes = names.iter().map(String::as_str).zip(&self.reading.lanes);
        let rows: Vec<_> = lanes.clone().map(|(name, l)| (name, l.connections as f64)).collect();
        out.gauges("voxgate_worker_connections", "Connections of a worker thread", "worker", &rows)?;
        let help = "How late a worker's timer was called: what its connections wait for each other";
        let mut family =
            out.0.encode_descriptor("voxgate_worker_lag", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (name, l) in lanes {
            let (sum, buckets) = (l.lag.sum_us() as f64 / 1e6, l.lag.octaves());
            let labels = [("worker", name)];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, l.lag.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn parts(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let (r, bytes) = (&self.reading, || Some(Unit::Bytes));
        if let Some(rec) = &r.recorder {
            out.gauge("voxgate_recordings_open", "Recordings that run", None, rec.open as i64)?;
            out.gauge("voxgate_recordings_stored", "All recordings on disk", bytes(), rec.bytes as i64)?;
            out.counter("voxgate_recordings_failed", "Recordings that failed", None, rec.failures as f64)?;
        }
        if let Some(j) = &r.journal {
            out.gauge("voxgate_journal_streams", "Streams whose bytes are kept", None, j.streams as i64)?;
            out.gauge("voxgate_journal_stored", "What is kept of them", bytes(), j.bytes as i64)?;
            out.counter("voxgate_journal_syncs", "Syncs of a stream's file", None, j.syncs as f64)?;
            let rows = [("disk", j.failures), ("full", j.refused)];
            out.counters("voxgate_journal_failed", "Streams that could not be kept", "reason", &rows)?;
        }
        out.gauge("voxgate_store_up", "1 where the store kept the last writes", None, i64::from(r.store.healthy))?;
        out.gauge("voxgate_store_queue_writes", "Writes that wait", None, r.store.queued as i64)?;
        out.counter("voxgate_store_writes", "Writes that were kept", None, r.store.writes as f64)?;
        out.counter("voxgate_store_commits", "Groups of writes that were kept", None, r.store.commits as f64)?;
        if let Some(s) = &r.responder {
            out.gauge("voxgate_responder_waiting", "Questions that wait", None, s.waiting as i64)?;
            out.gauge("voxgate_responder_running", "Questions being answered", None, s.running as i64)?;
        }
        let state = |s| match s {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        let rows: Vec<_> = r.breakers.iter().map(|b| (b.name, state(b.state))).collect();
        out.gauges("voxgate_circuit_breaker_state", "0 closed, 1 half open, 2 open", "name", &rows)?;
        out.counter("voxgate_circuit_breaker_opened", "Times one opened", None, self.breakers_opened as f64)
    }

    fn errors(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let help = "Errors, as the journal has them";
        let mut family = out.0.encode_descriptor("voxgate_errors", help, None, MetricType::Counter)?;
        for (kind, severity, part, n) in &self.errors {
            let labels = [("code", *kind), ("severity", severity.name()), ("part", part.name())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(n, None)?;
        }
        Ok(())
    }

    fn process(&self, out: &mut Out<'_>) -> Result<(), Error> {
        let s = &self.reading.system;
        let (bytes, seconds) = (|| Some(Unit::Bytes), || Some(Unit::Seconds));
        out.counter("process_cpu", "Processor time used", seconds(), s.process_cpu_ms as f64 / 1e3)?;
        out.gauge("process_resident_memory", "Memory of the process", bytes(), s.process_memory_bytes as i64)?;
        out.gauge("process_start_time", "When it started, Unix time", seconds(), self.started_unix_s)?;
        if let Some(n) = self.descriptors {
            out.gauge("process_open_fds", "Descriptors in use", None, n as i64)?;
        }
        if let Some(n) = self.descriptors_max {
            out.gauge("process_max_fds", "Descriptors there may be", None, n as f64)?;
        }
        out.gauge("voxgate_system_memory_used", "Of the machine", bytes(), s.system_memory_used_bytes as i64)?;
        out.gauge("voxgate_system_memory", "Of the machine", bytes(), s.system_memory_total_bytes as i64)?;
        out.gauge("voxgate_system_load1", "Processes that run or wait to", None, s.load_average[0])
    }
}

/// The same in the older text format, for scrapers that do not ask for OpenMetrics: there a counter's type is told by its whole name.
pub(in crate::server) fn plain(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + 1_024);
    // HELP comes before TYPE, which alone says what it is.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.rsplit_once(' ')) {
            let whole = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            if let Some((_, text)) = help.take() {
                out.push_str(&format!("# HELP {whole} {text}\n"));
            }
            let kind = if kind == "info" { "gauge" } else { kind };
            out.push_str(&format!("# TYPE {whole} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
