use super::super::testing::*;
use super::*;
use crate::audio::{Encoding, OutputChannels};

fn ogg() -> DecodeParams {
    native(Encoding::Ogg)
}

#[test]
fn recorders_and_files_are_decoded_as_ffmpeg_does() {
    for path in ["recorders/firefox-opus.ogg", "audio/live-opus.ogg", "audio/pages1s-opus.ogg", "audio/voip-opus.ogg", "audio/surround-opus.ogg", "audio/studio48-vorbis.ogg"] {
        let name = path.split('/').next_back().expect("a name");
        let d = decode_all(&ogg(), &fixture(path), &Cuts::None);
        let samples = &d.samples;
        println!("{path} {:?} {:?} {:?}", d.spec, d.warnings, d.error);
        let reference = expected(name);
        println!("{path} {} {}", samples.len(), reference.len());
        let n = samples.len().min(reference.len());
        println!("{path} {}", difference_s16_db(&samples[..n], &reference[..n]));
    }
}

#[test]
fn cuts_change_nothing() {
    assert_cuts_change_nothing(&ogg(), &fixture("recorders/firefox-opus.ogg"), &[recorder_cuts("firefox-opus.ogg")]);
    for name in ["live-opus.ogg", "pages1s-opus.ogg", "voip-opus.ogg", "surround-opus.ogg", "studio48-vorbis.ogg"] {
        assert_cuts_change_nothing(&ogg(), &fixture(&format!("audio/{name}")), &[]);
    }
}
