//! What administrators are told of the server while it runs: a point of its figures, who came and went, what went wrong.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::error::Severity;

/// The server's figures over a short while. Rates are those of the while; the rest is how it was at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct MetricsPoint {
    /// The end of the while, RFC 3339.
    pub at: String,
    /// Its length in seconds.
    pub seconds: f64,
    /// Sockets that are connected.
    pub connections: usize,
    /// Sessions without a socket, whose client may come back.
    pub recovering: usize,
    /// Streams that run.
    pub streams: usize,
    /// Seconds of audio decoded, each second.
    pub audio_s_per_s: f64,
    /// Bytes received, each second.
    pub bytes_in_per_s: f64,
    /// Bytes sent, each second.
    pub bytes_out_per_s: f64,
    /// Messages received, each second; audio frames are messages.
    pub messages_in_per_s: f64,
    /// Messages sent, each second.
    pub messages_out_per_s: f64,
    /// Errors, each second.
    pub errors_per_s: f64,
    /// Milliseconds of audio dropped, each second.
    pub dropped_ms_per_s: f64,
    /// Acknowledgements, each second.
    pub acks_per_s: f64,
    /// From a frame's arrival to its acknowledgement, in microseconds: half were faster. None where there was none.
    pub ack_p50_us: Option<f64>,
    /// 95 of a hundred were faster.
    pub ack_p95_us: Option<f64>,
    /// 99 of a hundred were faster.
    pub ack_p99_us: Option<f64>,
    /// How long a message other than audio took, in microseconds: 95 of a hundred were faster. None where there was none.
    pub processing_p95_us: Option<f64>,
    /// The longest a worker's connections waited for each other, in milliseconds.
    pub lag_max_ms: f64,
    /// Messages that wait for clients to read them.
    pub queue_messages: usize,
    /// Bytes of them, and of listeners' audio.
    pub queue_bytes: usize,
    /// Audio that waits to be decoded, in milliseconds, over all streams.
    pub buffered_ms: u64,
    /// Writes that wait for the store.
    pub store_queued: usize,
    /// Recordings that run.
    pub recordings_open: usize,
    /// Memory reserved by streams.
    pub stream_memory_bytes: u64,
    /// Of one core: two busy cores are 200.
    pub process_cpu_percent: f64,
    /// Resident memory of the process.
    pub process_memory_bytes: u64,
    /// Of all cores of the machine.
    pub system_cpu_percent: f64,
}

/// A connection that came or went.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are those of connection_info")]
pub struct ConnectionRow {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
    pub remote_addr: String,
    pub connected_at: String,
}

/// An error in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ErrorEntry {
    /// Its place among all errors since the start.
    pub number: u64,
    /// RFC 3339.
    pub at: String,
    /// An error code of the protocol, or what failed in the server.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Whose it is: `connection`, `recorder`, `store`, `responder`, `circuit_breaker`, `worker` or `http`.
    pub part: &'static str,
    /// The connection that was told.
    pub connection_id: Option<Uuid>,
    /// The client's name for the stream.
    pub stream_id: Option<String>,
    /// For people. Nothing of what the client said.
    pub message: String,
}
