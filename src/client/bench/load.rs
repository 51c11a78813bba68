//! The generator: one thread, one task a connection for what comes, one task for what goes. It must cost less than the server.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use super::histogram::Histogram;
use super::{BenchError, Latency, Report, Script, Workload};
use crate::client::connection::Connection;
use crate::client::error::ClientError;
use crate::client::process::Process;
use crate::client::transport::Transport;
use crate::client::url::WsUrl;
use crate::client::wire::ServerMessage;
use crate::websocket::{Incoming, OpCode, Reader, encode_masked};

/// Handshakes at once: a crowd at the door would measure the listen queue.
const CONNECTING_MAX: usize = 32;
/// Bytes a paced stream may owe its socket; beyond, the server takes less than real time and frames are not sent.
const OWED_BYTES_MAX: usize = 1 << 20;
/// Frames in one write of a flood.
const FLOOD_FRAMES: u64 = 100;
/// Frames sent in one go before what came is looked at.
const TURN_FRAMES: u32 = 8;
/// Silence after which a server has stopped.
const STALL_TIMEOUT_S: u64 = 30;
/// Between two looks at the server's memory.
const MEMORY_INTERVAL: Duration = Duration::from_millis(200);
/// Between two looks at whether everything was acknowledged.
const DRAIN_INTERVAL: Duration = Duration::from_millis(1);

/// What is waiting for its acknowledgement: frames up to a byte of the stream.
struct InFlight {
    end_byte: u64,
    frames: u64,
    sent: Instant,
}

struct Stream {
    socket: Transport,
    /// Bytes the socket has not taken.
    owed: RefCell<Vec<u8>>,
    in_flight: RefCell<VecDeque<InFlight>>,
    next_frame: Cell<u64>,
    sent_bytes: Cell<u64>,
    started: Cell<bool>,
    failure: RefCell<Option<String>>,
}

#[derive(Default)]
struct Totals {
    frames_sent: Cell<u64>,
    frames_acked: Cell<u64>,
    heard: Cell<Option<Instant>>,
    latency: RefCell<Histogram>,
}

pub(super) async fn run(
    url: &WsUrl,
    token: Option<&str>,
    workload: &Workload,
    script: Script,
    server: Option<Process>,
) -> Result<Report, BenchError> {
    let local = tokio::task::LocalSet::new();
    local.run_until(run_here(url, token, workload, Rc::new(script), server)).await
}

async fn run_here(
    url: &WsUrl,
    token: Option<&str>,
    workload: &Workload,
    script: Rc<Script>,
    server: Option<Process>,
) -> Result<Report, BenchError> {
    let rss_before = server.and_then(Process::rss_bytes);
    let totals = Rc::new(Totals::default());
    let mut tasks = JoinSet::new();
    let streams = connect(url, token, workload.streams, &totals, &mut tasks).await?;
    for stream in &streams {
        stream.owe(OpCode::Text, script.start.as_bytes());
    }
    settle(&streams, &totals, |stream| stream.started.get()).await?;

    let rss_peak = Rc::new(Cell::new(rss_before));
    if let Some(server) = server {
        let rss_peak = rss_peak.clone();
        tasks.spawn_local(async move {
            loop {
                rss_peak.set(rss_peak.get().max(server.rss_bytes()));
                sleep(MEMORY_INTERVAL).await;
            }
        });
    }
    let cpu_before = server.and_then(Process::cpu_ns);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(workload.seconds);
    if workload.flood {
        flood(&streams, &script, &totals, until).await;
    } else {
        pace(&streams, &script, &totals, u64::from(workload.frame_ms), until).await;
    }
    for stream in &streams {
        // The flush acknowledges all that decodes; the end also what time cut in the middle of a packet.
        stream.owe(OpCode::Text, br#"{"type":"audio_flush","id":"flush"}"#);
        stream.owe(OpCode::Text, br#"{"type":"audio_end"}"#);
    }
    settle(&streams, &totals, |stream| stream.in_flight.borrow().is_empty()).await?;
    let wall_s = begun.elapsed().as_secs_f64();
    let cpu_after = server.and_then(Process::cpu_ns);
    rss_peak.set(rss_peak.get().max(server.and_then(Process::rss_bytes)));
    tasks.abort_all();

    let (frames_sent, frames_acked) = (totals.frames_sent.get(), totals.frames_acked.get());
    let audio_s = frames_acked as f64 * f64::from(workload.frame_ms) / 1_000.0;
    let cpu_ms = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before) as f64 / 1e6);
    let cpu_ms_per_stream_s = cpu_ms.filter(|_| audio_s > 0.0).map(|ms| ms / audio_s);
    let grown = rss_before.zip(rss_peak.get()).map(|(before, peak)| peak.saturating_sub(before));
    Ok(Report {
        streams: workload.streams,
        audio_s,
        frames_sent,
        frames_acked,
        lost: frames_sent - frames_acked,
        server_cpu_ms_per_stream_s: cpu_ms_per_stream_s,
        streams_per_core: cpu_ms_per_stream_s.filter(|ms| *ms > 0.0).map(|ms| 1_000.0 / ms),
        rss_bytes: rss_peak.get(),
        rss_bytes_per_stream: grown.map(|bytes| bytes / workload.streams.max(1) as u64),
        latency_us: Latency::from(&*totals.latency.borrow()),
        x_realtime: audio_s / wall_s,
    })
}

/// Opens all connections, a few at a time, and a task for each that takes in what comes.
async fn connect(
    url: &WsUrl,
    token: Option<&str>,
    count: usize,
    totals: &Rc<Totals>,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<Rc<Stream>>, BenchError> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let mut opening = JoinSet::new();
        for _ in streams.len()..count.min(streams.len() + CONNECTING_MAX) {
            let (url, token) = (url.clone(), token.map(str::to_owned));
            opening.spawn_local(async move { Connection::open(&url, token.as_deref()).await });
        }
        while let Some(opened) = opening.join_next().await {
            let connection = opened.map_err(|error| ClientError::from(io::Error::other(error)))??;
            let (socket, reader) = connection.into_parts();
            let stream = Rc::new(Stream {
                socket,
                owed: RefCell::default(),
                in_flight: RefCell::default(),
                next_frame: Cell::new(0),
                sent_bytes: Cell::new(0),
                started: Cell::new(false),
                failure: RefCell::default(),
            });
            tasks.spawn_local(receive(stream.clone(), reader, totals.clone()));
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// Takes in what comes to one stream, until it fails.
async fn receive(stream: Rc<Stream>, mut reader: Reader, totals: Rc<Totals>) {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]));
    loop {
        if let Err(error) = stream.socket.ready(Interest::READABLE).await {
            return stream.fail(error.to_string());
        }
        let problem = BUFFER.with_borrow_mut(|buffer| match stream.socket.try_read(buffer) {
            Ok(0) => Some("the server closed the connection".to_owned()),
            Ok(got) => {
                let now = Instant::now();
                totals.heard.set(Some(now));
                // Server messages are not fragmented; the reader's clock has nothing to measure.
                let fed = reader.feed(&mut buffer[..got], 0, &mut |incoming| stream.take(&incoming, now, &totals));
                fed.err().map(|error| error.to_string())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(error.to_string()),
        });
        if let Some(problem) = problem {
            return stream.fail(problem);
        }
    }
}

/// Waits until every stream is `done`, writing what is owed meanwhile.
async fn settle(streams: &[Rc<Stream>], totals: &Totals, done: impl Fn(&Stream) -> bool) -> Result<(), BenchError> {
    let begun = Instant::now();
    loop {
        let mut waiting = false;
        for (index, stream) in streams.iter().enumerate() {
            if let Some(problem) = stream.failure.borrow_mut().take() {
                return Err(BenchError::Stream { index, problem });
            }
            stream.pay();
            waiting |= !done(stream);
        }
        if !waiting {
            return Ok(());
        }
        let heard = totals.heard.get().map_or(begun, |heard| heard.max(begun));
        if heard.elapsed() > Duration::from_secs(STALL_TIMEOUT_S) {
            return Err(BenchError::Stalled { seconds: STALL_TIMEOUT_S });
        }
        sleep(DRAIN_INTERVAL).await;
    }
}

/// Frames in real time, the streams' phases spread evenly over the frame.
async fn pace(streams: &[Rc<Stream>], script: &Script, totals: &Totals, frame_ms: u64, until: Instant) {
    let count = streams.len() as u64;
    let frame_ns = frame_ms * 1_000_000;
    let begun = Instant::now();
    let mut turn = 0;
    for step in 0u64.. {
        let (round, index) = (step / count, step % count);
        let due = begun + Duration::from_nanos(round * frame_ns + index * frame_ns / count);
        if due >= until {
            return;
        }
        if due > Instant::now() {
            sleep_until(due).await;
            turn = 0;
        }
        let stream = &streams[index as usize];
        let Some((frame, bytes)) = script.frame(stream.next_frame.get()) else {
            // A file is over for all of them once it is over for the last.
            if index + 1 == count {
                return;
            }
            continue;
        };
        if stream.send(frame) {
            stream.sent(1, bytes.into(), totals);
        }
        turn += 1;
        if turn % TURN_FRAMES == 0 {
            yield_now().await;
        }
    }
}

/// Frames as fast as the sockets take them.
async fn flood(streams: &[Rc<Stream>], script: &Rc<Script>, totals: &Rc<Totals>, until: Instant) {
    let mut tasks = JoinSet::new();
    for stream in streams {
        let (stream, script, totals) = (stream.clone(), script.clone(), totals.clone());
        tasks.spawn_local(async move {
            let mut batch = Vec::new();
            while Instant::now() < until && stream.failure.borrow().is_none() {
                batch.clear();
                let (mut frames, mut bytes) = (0, 0);
                while frames < FLOOD_FRAMES
                    && let Some((frame, carried)) = script.frame(stream.next_frame.get() + frames)
                {
                    batch.extend_from_slice(frame);
                    frames += 1;
                    bytes += u64::from(carried);
                }
                if frames == 0 {
                    return;
                }
                stream.sent(frames, bytes, &totals);
                if !stream.write_all(&batch).await {
                    return;
                }
                yield_now().await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

impl Stream {
    fn fail(&self, problem: String) {
        self.failure.borrow_mut().get_or_insert(problem);
    }

    /// Counts frames as sent.
    fn sent(&self, frames: u64, bytes: u64, totals: &Totals) {
        self.next_frame.set(self.next_frame.get() + frames);
        self.sent_bytes.set(self.sent_bytes.get() + bytes);
        totals.frames_sent.set(totals.frames_sent.get() + frames);
        let in_flight = InFlight { end_byte: self.sent_bytes.get(), frames, sent: Instant::now() };
        self.in_flight.borrow_mut().push_back(in_flight);
    }

    /// Writes a frame, or owes it. False where too much is owed.
    fn send(&self, frame: &[u8]) -> bool {
        let mut owed = self.owed.borrow_mut();
        self.pay_from(&mut owed);
        if owed.len() > OWED_BYTES_MAX {
            return false;
        }
        let taken = if owed.is_empty() { self.write(frame) } else { 0 };
        owed.extend_from_slice(&frame[taken..]);
        true
    }

    fn owe(&self, opcode: OpCode, payload: &[u8]) {
        let mut owed = self.owed.borrow_mut();
        encode_masked(&mut owed, opcode, payload, [0; 4]);
        self.pay_from(&mut owed);
    }

    fn pay(&self) {
        self.pay_from(&mut self.owed.borrow_mut());
    }

    fn pay_from(&self, owed: &mut Vec<u8>) {
        if !owed.is_empty() {
            let taken = self.write(owed);
            owed.drain(..taken);
        }
    }

    fn write(&self, bytes: &[u8]) -> usize {
        match self.socket.try_write(bytes) {
            Ok(taken) => taken,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.fail(error.to_string());
                }
                0
            }
        }
    }

    async fn write_all(&self, bytes: &[u8]) -> bool {
        // What is owed (a pong) goes between two batches, never into one.
        let mut owed = std::mem::take(&mut *self.owed.borrow_mut());
        owed.extend_from_slice(bytes);
        let mut at = 0;
        while at < owed.len() {
            if self.socket.ready(Interest::WRITABLE).await.is_err() || self.failure.borrow().is_some() {
                return false;
            }
            at += self.write(&owed[at..]);
        }
        true
    }

    fn take(&self, incoming: &Incoming<'_>, now: Instant, totals: &Totals) {
        match incoming {
            Incoming::Text(text) => match received_bytes(text) {
                Some(bytes) => self.acknowledged(bytes, now, totals),
                None => self.message(text, now, totals),
            },
            Incoming::Ping(payload) => {
                encode_masked(&mut self.owed.borrow_mut(), OpCode::Pong, payload, [0; 4]);
            }
            Incoming::Close(code, reason) => self.fail(format!("closed by the server: {code} {reason}")),
            Incoming::Binary(_) | Incoming::Pong(_) => {}
        }
    }

    fn acknowledged(&self, bytes: u64, now: Instant, totals: &Totals) {
        let mut in_flight = self.in_flight.borrow_mut();
        while let Some(front) = in_flight.front().filter(|front| front.end_byte <= bytes) {
            totals.frames_acked.set(totals.frames_acked.get() + front.frames);
            let us = u32::try_from(now.saturating_duration_since(front.sent).as_micros()).unwrap_or(u32::MAX);
            totals.latency.borrow_mut().record(us, front.frames);
            in_flight.pop_front();
        }
    }

    fn message(&self, text: &str, now: Instant, totals: &Totals) {
        match serde_json::from_str(text) {
            Ok(ServerMessage::AudioStarted { .. }) => self.started.set(true),
            Ok(ServerMessage::Error { code, message, .. }) => self.fail(format!("{code}: {message}")),
            Ok(ServerMessage::AudioEnded(ended)) if ended.reason == "end" => {
                self.acknowledged(ended.received_bytes, now, totals);
            }
            Ok(ServerMessage::AudioEnded(ended)) => self.fail(format!("the server ended it: {}", ended.reason)),
            Ok(ServerMessage::Ping) => {
                encode_masked(&mut self.owed.borrow_mut(), OpCode::Text, br#"{"type":"pong"}"#, [0; 4]);
            }
            Ok(
                ServerMessage::ConnectionEstablished { .. }
                | ServerMessage::AudioReceived { .. }
                | ServerMessage::Listening { .. }
                | ServerMessage::ListeningChanged { .. }
                | ServerMessage::Other,
            ) => {}
            Err(error) => self.fail(format!("a message that is not the protocol's: {error}")),
        }
    }
}

/// The count in an `audio_received`, found without parsing the rest; `None` for any other message.
fn received_bytes(text: &str) -> Option<u64> {
    const KEY: &str = "\"received_bytes\":";
    memchr::memmem::find(text.as_bytes(), b"\"audio_received\"")?;
    let at = memchr::memmem::find(text.as_bytes(), KEY.as_bytes())? + KEY.len();
    let digits = text[at..].trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_found_among_messages() {
        let ack =
            r#"{"type":"audio_received","timestamp":"t","stream_id":"x","received_bytes":192000,"received_frames":5}"#;
        assert_eq!(received_bytes(ack), Some(192_000));
        assert_eq!(received_bytes(r#"{ "received_bytes" : 1, "type" : "audio_ended" }"#), None);
        assert_eq!(received_bytes(r#"{"type":"audio_ended","received_bytes":3}"#), None);
        assert_eq!(received_bytes(r#"{"type":"audio_received","received_bytes":99999999999999999999}"#), None);
    }
}
