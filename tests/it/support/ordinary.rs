//! An ordinary speaker beside whatever is done to the server: real time, a frame each 20 ms, each acknowledged. Tests of attacks end by
//! asking it how it went.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Client, TestServer, samples, sine16k};

const FRAME: Duration = Duration::from_millis(20);
/// Tests share two cores with other tests; an acknowledgement that is held up by an attack takes seconds or for ever.
const ACK_MAX: Duration = Duration::from_secs(2);

/// A speaker that speaks until it is asked.
pub struct Ordinary {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Value, u64, Duration)>,
}

impl Ordinary {
    pub async fn start(addr: SocketAddr) -> Self {
        Self::begin(addr, ACK_MAX, true).await
    }

    /// One that waits longer, beside load that takes every core, and is not recorded.
    pub async fn patient(addr: SocketAddr, ack_max: Duration) -> Self {
        Self::begin(addr, ack_max, false).await
    }

    async fn begin(addr: SocketAddr, ack_max: Duration, record: bool) -> Self {
        let mut c = Client::to(addr, "/ws").await;
        let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
        c.start_with(json!({"format": format, "ack_ms": 20, "record": record})).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let frame = sine16k(320);
            let mut clock = tokio::time::interval(FRAME);
            let (mut frames, mut longest) = (0, Duration::ZERO);
            while frames < 10 || !stopped.load(Ordering::Relaxed) {
                clock.tick().await;
                let sent = Instant::now();
                c.send_binary(&frame).await;
                frames += 1;
                while c.expect("audio_received").await["received_bytes"] != frames * 640 {}
                let took = sent.elapsed();
                longest = longest.max(took);
                assert!(took < ack_max, "frame {frames} was acknowledged after {took:?}");
            }
            (c.end().await, frames, longest)
        });
        Self { stop, task }
    }

    /// Ends it: each frame was acknowledged, and the recording is what was said.
    pub async fn was_not_disturbed(self, server: &TestServer) {
        let (ended, _) = self.ended().await;
        let said = samples(&sine16k(320)).repeat(ended["output_samples"].as_u64().unwrap() as usize / 320);
        assert!(server.recording(&ended).1 == said);
    }

    /// Ends it; the report, in which nothing is missing, and the longest it waited for an acknowledgement.
    pub async fn ended(self) -> (Value, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (ended, frames, longest) = self.task.await.unwrap();
        assert_eq!((&ended["reason"], &ended["output_samples"]), (&json!("end"), &json!(frames * 320)));
        (ended, longest)
    }
}
