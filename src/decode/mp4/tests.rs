use crate::audio::{Encoding, PcmSpec};
use crate::decode::push_test::{decode_whole, difference_db, params, s16_samples};

const STEREO_48: PcmSpec = PcmSpec { rate_hz: 48_000, channels: 2 };

/// What the file's own durations leave out of ffmpeg's output: the encoder's padding in the last packet, which ffmpeg plays.
const AAC_PADDING_FRAMES: usize = 704;

#[test]
fn fragmented_aac_is_what_ffmpeg_decodes_up_to_the_declared_end() {
    let decoded = decode_whole(&params(Encoding::Mp4), include_bytes!("../../../fixtures/audio/frag-aac.mp4"));
    let (spec, samples) = decoded.only_segment();
    assert_eq!(spec, STEREO_48);
    assert_eq!(decoded.warnings, []);
    let expected = s16_samples(include_bytes!("../../../fixtures/expected/frag-aac.mp4.s16"));
    let end = expected.len() - 2 * AAC_PADDING_FRAMES;
    assert_eq!(samples.len(), end);
    assert!(difference_db(&expected[..end], samples) <= -60.0, "{}", difference_db(&expected[..end], samples));
}
