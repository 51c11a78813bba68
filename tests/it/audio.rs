//! The voice path: bytes in over the socket, the right WAV out.

use serde_json::json;

use crate::support::{TestServer, samples, sine16k};

#[tokio::test]
async fn pcm_at_the_output_rate_is_recorded_bit_for_bit() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(16_000);
    let ended = c.stream(json!({"encoding":"pcm_s16le","sample_rate":16000,"channels":1}), &pcm, 641).await;
    assert_eq!(ended["reason"], "end");
    assert_eq!((ended["received_bytes"].as_u64(), ended["output_samples"].as_u64(), ended["duration_ms"].as_u64()), (Some(32_000), Some(16_000), Some(1_000)));
    let (spec, recorded) = server.recording(&ended);
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (16_000, 1, 16));
    assert_eq!(recorded, samples(&pcm));
}
