use super::super::testing::*;
use super::*;
use crate::audio::{Encoding, OutputChannels};

fn webm() -> DecodeParams {
    native(Encoding::Webm)
}

fn decoded(path: &str) -> super::super::testing::Decoded {
    let decoded = decode_all(&webm(), &fixture(path), &Cuts::None);
    assert_eq!((&decoded.error, &decoded.warnings[..]), (&None, &[][..]), "{path}");
    decoded
}

#[test]
fn recorders_and_files_are_decoded_as_ffmpeg_does() {
    for path in ["recorders/chromium-opus.webm", "recorders/firefox-opus.webm", "audio/live-opus.webm", "audio/file-opus.webm", "audio/studio48-vorbis.webm"] {
        let name = path.split('/').next_back().expect("a name");
        let samples = decoded(path).samples;
        let reference = expected(name);
        println!("{path} {} {}", samples.len(), reference.len());
        let n = samples.len().min(reference.len());
        println!("{path} {}", difference_s16_db(&samples[..n], &reference[..n]));
    }
}

#[test]
fn cuts_change_nothing() {
    for name in ["chromium-opus.webm", "firefox-opus.webm"] {
        assert_cuts_change_nothing(&webm(), &fixture(&format!("recorders/{name}")), &[recorder_cuts(name)]);
    }
    for name in ["live-opus.webm", "file-opus.webm", "restarted-opus.webm", "studio48-pcm.mka"] {
        assert_cuts_change_nothing(&webm(), &fixture(&format!("audio/{name}")), &[]);
    }
}

#[test]
fn pcm_comes_through_bit_for_bit() {
    let pcm = decoded("audio/studio48-pcm.mka");
    let (channels, wav) = wav_samples("audio/studio48.wav");
    assert_eq!(pcm.spec.channels, channels);
    assert!(pcm.samples == wav);
}

#[test]
fn a_recorder_of_pcm_keeps_the_speech() {
    let pcm = decoded("recorders/chromium-pcm.webm");
    let (_, speech) = wav_samples("recorders/speech48.wav");
    println!("{:?} {} {}", pcm.spec, pcm.frames(), speech.len());
}

#[test]
fn speech_stays_in_its_place_at_every_output_rate() {
    let (channels, studio) = wav_samples("audio/studio48.wav");
    let studio = down_mix(&studio, channels);
    for name in ["live-opus.webm", "file-opus.webm"] {
        for rate in [16_000] {
            let params = params(Encoding::Webm, rate, OutputChannels::Mono);
            let decoded = decode_all(&params, &fixture(&format!("audio/{name}")), &Cuts::None);
            let reference: Vec<f32> = studio.iter().copied().step_by(3).collect();
            println!("{name} {} lag {}", decoded.frames(), best_lag(&decoded.samples, &reference, 50));
        }
    }
}
