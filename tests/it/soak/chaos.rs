//! Clients to whom everything happens, and what came of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::json;
use voxgate::audio::{Encoding, StreamFormat};
use voxgate::client::pace::{Pace, Speed};
use voxgate::client::replay::{Carriage, Plan, replay};
use voxgate::client::{ClientError, WsUrl};
use voxgate::clock::unix_ms;

use super::disk::SmallDisk;
use crate::support::proxy::{Cut, CuttingProxy};
use crate::support::{Client, http, http_json, samples, sine16k};

/// Streams that are cut, at once.
const CUT_STREAMS: u64 = 4;
/// Between two fillings of the disk.
const DISK_EVERY: Duration = Duration::from_secs(15);
/// Recordings are kept so long, for whoever still compares one: longer than a session waits for its client.
const KEPT_MS: u64 = 40_000;
/// How long a reader does not read: until its queue of messages is full several times over.
const UNREAD: Duration = Duration::from_secs(6);

/// What happened, counted.
pub struct Chaos {
    server: SocketAddr,
    end: Instant,
    streams: AtomicU64,
    compared: AtomicU64,
    cuts: AtomicU64,
    killed: AtomicU64,
    slow: AtomicU64,
    full: AtomicU64,
    unrecorded: AtomicU64,
}

/// Different in every call, the same in every run.
fn dice(seed: u64, below: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (z ^ (z >> 27)) % below
}

impl Chaos {
    pub fn new(server: SocketAddr, end: Instant) -> Self {
        let zero = AtomicU64::default;
        Self {
            server,
            end,
            streams: zero(),
            compared: zero(),
            cuts: zero(),
            killed: zero(),
            slow: zero(),
            full: zero(),
            unrecorded: zero(),
        }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    pub async fn run(self: Arc<Self>, disk: Option<&SmallDisk>) {
        let cut = futures_util::future::join_all((0..CUT_STREAMS).map(|n| self.cut_streams(n, disk)));
        tokio::join!(cut, self.kill_clients(), self.read_slowly(), self.fill_disk(disk));
    }

    /// Streams over a network that cuts; what was recorded is compared and deleted.
    async fn cut_streams(&self, worker: u64, disk: Option<&SmallDisk>) {
        let proxy = CuttingProxy::start(self.server, move |n| {
            let seed = worker << 32 | n as u64;
            match dice(seed, 4) {
                0 => Cut::NEVER,
                1 => Cut::down(300 + dice(seed + 7, 3_000) as usize),
                _ => Cut::up(200 + dice(seed + 7, 60_000) as usize),
            }
        })
        .await;
        let format = StreamFormat::new(Encoding::PcmS16le, Some(16_000), Some(1)).unwrap();
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            let pcm = sine16k(8_000 + dice(worker << 40 | round, 40_000) as usize);
            let carriage = if round % 2 == 0 { Carriage::Base64 } else { Carriage::Binary };
            let pace = Pace::timed(pcm.len() as u64, pcm.len() as u64 / 32, 20, 2, Speed::Times(4.0));
            let plan =
                Plan { bytes: pcm.as_slice().into(), format, carriage, pace, record: true, conversation_id: None };
            let turn = disk.map(SmallDisk::turn);
            let (begun, mut last) = (Instant::now(), None);
            let sent = replay(&WsUrl::of(proxy.addr), None, &plan, &mut |p| last = Some((p, begun.elapsed()))).await;
            let sent = match sent {
                Ok(sent) => sent,
                // Cut before the first hello.
                Err(ClientError::Handshake { .. } | ClientError::Io(_) | ClientError::Closed { code: 1006, .. })
                    if last.is_none_or(|(p, _)| p.reconnected == 0 && p.sent_bytes == 0) =>
                {
                    self.cuts.fetch_add(1, Relaxed);
                    continue;
                }
                Err(e) => panic!(
                    "stream {round} of worker {worker}, {} bytes: {e} after {:?}, last {last:?}, connection {}",
                    pcm.len(),
                    begun.elapsed(),
                    proxy.accepted()
                ),
            };
            assert!(sent.is_complete(), "{sent:?}");
            self.streams.fetch_add(1, Relaxed);
            self.cuts.fetch_add(u64::from(sent.reconnected), Relaxed);
            let undisturbed = turn.is_none_or(|t| t % 2 == 0) && turn == disk.map(SmallDisk::turn);
            match sent.ended.recording {
                Some(recording) => {
                    let (status, _, wav) = http(self.server, "GET", &recording.url, "", b"").await;
                    assert_eq!(status, 200);
                    let kept: Vec<i16> =
                        hound::WavReader::new(wav.as_slice()).unwrap().samples().map(Result::unwrap).collect();
                    let sent = samples(&pcm);
                    assert!(kept == sent || (!undisturbed && sent.starts_with(&kept)), "round {round} of {worker}");
                    self.compared.fetch_add(1, Relaxed);
                }
                None => {
                    let told = sent.warnings.iter().any(|w| w.contains("the disk failed too often"));
                    assert!(
                        !undisturbed || told,
                        "a stream was not recorded though the disk had room: {:?}",
                        sent.warnings
                    );
                    self.unrecorded.fetch_add(1, Relaxed);
                }
            }
            self.sweep().await;
        }
    }

    /// Deletes old recordings, so that the small disk has room.
    async fn sweep(&self) {
        let mut path = "/api/recordings?limit=500".to_owned();
        loop {
            let (_, list) = http_json(self.server, "GET", &path).await;
            for item in list["items"].as_array().unwrap() {
                let ended_ms = item["ended_at_ms"].as_u64().unwrap_or(u64::MAX);
                if item["state"] != "recording" && ended_ms.saturating_add(KEPT_MS) < unix_ms() {
                    let path = format!("/api/recordings/{}", item["id"].as_str().unwrap());
                    http(self.server, "DELETE", &path, "", b"").await;
                }
            }
            let Some(next) = list["next"].as_str() else { return };
            path = format!("/api/recordings?limit=500&after={next}");
        }
    }

    /// Clients that are gone in the middle of a word; every third says goodbye, every third comes back once.
    async fn kill_clients(&self) {
        let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let path = format!("/ws/killed-{}?conversation_id=house", n % 7);
            let mut c = Client::to(self.server, &path).await;
            c.start_with(json!({"format": format, "record": n % 4 == 0, "ack_ms": 0})).await;
            c.send_binary(&sine16k(1 + dice(n, 20_000) as usize)).await;
            match n % 3 {
                0 => c.close().await,
                1 => drop(c),
                _ => {
                    let hello = c.hello.clone();
                    drop(c);
                    let mut c = Client::to(self.server, "/ws").await;
                    c.send(json!({"type": "resume", "session_id": hello["session"]["id"],
                        "resume_token": hello["session"]["resume_token"]}))
                        .await;
                    c.expect("resumed").await;
                }
            }
            self.killed.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Readers that do not read, of audio and of messages, while somebody speaks to them.
    async fn read_slowly(&self) {
        let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
        while self.goes_on() {
            let mut speaker = Client::to(self.server, "/ws/loud?conversation_id=hall").await;
            let fields = json!({"format": format, "record": false, "ack_ms": 0, "conversation_id": "hall"});
            speaker.start_with(fields).await;
            let mut slow = Vec::new();
            for n in 0..5 {
                let mut c = Client::narrow(self.server, &format!("/ws/slow-{n}?conversation_id=hall")).await;
                c.send(json!({"type": "listen_start", "conversation_id": "hall"})).await;
                slow.push(c);
            }
            let until = self.end.min(Instant::now() + UNREAD);
            let content = json!({"x": "y".repeat(4 << 10)});
            while Instant::now() < until {
                for _ in 0..10 {
                    speaker.send_binary(&sine16k(1_600)).await;
                    let message = json!({"type": "message", "conversation_id": "hall", "content": content});
                    speaker.send(message).await;
                }
                speaker.send(json!({"type": "ping", "id": "in step"})).await;
                while speaker.expect("pong").await["reply_to"] != "in step" {}
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.slow.fetch_add(slow.len() as u64, Relaxed);
        }
    }

    async fn fill_disk(&self, disk: Option<&SmallDisk>) {
        let Some(disk) = disk else { return };
        loop {
            let next = self.end.min(Instant::now() + DISK_EVERY);
            tokio::time::sleep_until(next.into()).await;
            if !self.goes_on() {
                return;
            }
            disk.fill().await;
            // Every other time an administrator says that it has room; else the server finds out, half a minute later.
            if self.full.fetch_add(1, Relaxed).is_multiple_of(2) {
                let name = br#"{"name":"recorder"}"#;
                let json = "Content-Type: application/json\r\n";
                let (status, _, _) = http(self.server, "POST", "/admin/circuit-breakers/reset", json, name).await;
                assert_eq!(status, 200);
            }
            let health = async || http_json(self.server, "GET", "/health/detailed").await.1;
            while health().await["components"]["recorder"]["circuit_breaker"] != "closed" {
                if !self.goes_on() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            disk.used_again();
        }
    }

    pub fn assert_all_happened(&self, has_disk: bool) {
        for n in [&self.streams, &self.compared, &self.cuts, &self.killed, &self.slow] {
            assert!(n.load(Relaxed) > 0, "not everything happened: {self}");
        }
        assert!(!has_disk || self.full.load(Relaxed) > 0);
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |a: &AtomicU64| a.load(Relaxed);
        write!(
            f,
            "{} streams sent whole over {} cut connections, {} recordings compared, {} not made while the disk was full \
             ({} times); {} clients killed, {} that did not read",
            n(&self.streams),
            n(&self.cuts),
            n(&self.compared),
            n(&self.unrecorded),
            n(&self.full),
            n(&self.killed),
            n(&self.slow)
        )
    }
}
