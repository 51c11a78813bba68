//! Every encoding of protocol section 4 through the socket: right at its own rate, right at 16 kHz mono, whoever cut the bytes.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::sound::{
    difference_at_16k_db, difference_db, expected, floats, ogg_packets, random_cuts, recorder_cuts, studio,
};
use crate::support::{Client, TestServer, fixture, samples};

/// How near the reference a recording has to be.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Exact,
    /// Energy of the difference against that of the reference.
    Db(f64),
}

/// A file, and what it decodes to.
struct Case {
    path: &'static str,
    encoding: &'static str,
    rate_hz: u32,
    channels: usize,
    /// Sample frames that come out at `rate_hz`; the reference may be longer (padding ffmpeg plays) or shorter (silence recorded after it).
    frames: usize,
    reference: Vec<i16>,
    bound: Bound,
    /// Bound at 16 kHz mono, below `cutoff_hz`.
    at_16k_db: f64,
    cutoff_hz: f64,
    /// Frames at `rate_hz` by which the codec itself is later when it decodes straight to 16 kHz.
    late_by: usize,
}

impl Case {
    fn lossless(path: &'static str, encoding: &'static str) -> Self {
        let reference = studio();
        Self {
            path,
            encoding,
            rate_hz: 48_000,
            channels: 2,
            frames: 72_000,
            reference,
            bound: Bound::Exact,
            at_16k_db: -65.0,
            cutoff_hz: 6_300.0,
            late_by: 0,
        }
    }

    fn lossy(path: &'static str, encoding: &'static str, rate_hz: u32, channels: usize, frames: usize) -> Self {
        let reference = expected(path.split('/').next_back().unwrap());
        Self { rate_hz, channels, frames, reference, bound: Bound::Db(-60.0), ..Self::lossless(path, encoding) }
    }

    /// Decoded straight to the output's rate by the codec, whose own resampling is another than the reference's.
    fn opus(path: &'static str, encoding: &'static str, channels: usize, frames: usize) -> Self {
        Self { bound: Bound::Db(-90.0), at_16k_db: -35.0, ..Self::lossy(path, encoding, 48_000, channels, frames) }
    }

    /// Opus in SILK's modes: libopus delays SILK by whole samples of the rate it decodes to, so that at 16 kHz it is some 40 µs
    /// (0.6 samples) later than at 48 kHz.
    fn silk(path: &'static str, encoding: &'static str, frames: usize) -> Self {
        Self { at_16k_db: -25.0, late_by: 2, ..Self::opus(path, encoding, 1, frames) }
    }

    fn mono(path: &'static str, encoding: &'static str, rate_hz: u32, reference: Vec<i16>) -> Self {
        let cutoff_hz = if rate_hz == 8_000 { 3_000.0 } else { 6_300.0 };
        Self { rate_hz, channels: 1, frames: reference.len(), reference, cutoff_hz, ..Self::lossless(path, encoding) }
    }

    /// The format to declare; raw encodings need rate and channels.
    fn format(&self) -> Value {
        let raw = self.encoding.starts_with("pcm_") || self.encoding.ends_with("law");
        match raw {
            true => json!({"encoding": self.encoding, "sample_rate": self.rate_hz, "channels": self.channels}),
            false => json!({"encoding": self.encoding}),
        }
    }

    fn is_raw(&self) -> bool {
        self.format()["sample_rate"].is_number()
    }

    fn bytes(&self) -> Vec<u8> {
        fixture(self.path)
    }

    fn assert_near(&self, recorded: &[i16]) {
        assert_eq!(recorded.len(), self.frames * self.channels, "{}: samples", self.path);
        let n = recorded.len().min(self.reference.len());
        match self.bound {
            Bound::Exact => assert!(recorded[..n] == self.reference[..n], "{}: samples differ", self.path),
            Bound::Db(bound) => {
                let db = difference_db(&floats(&recorded[..n]), &floats(&self.reference[..n]));
                assert!(db <= bound, "{}: {db:.1} dB", self.path);
            }
        }
    }

    fn assert_near_at_16k(&self, recorded: &[i16]) {
        let frames = (self.frames as f64 * 16_000.0 / f64::from(self.rate_hz)).round() as usize;
        assert_eq!(recorded.len(), frames, "{}: samples at 16 kHz", self.path);
        let mut sent = vec![0; self.late_by * self.channels];
        sent.extend_from_slice(&self.reference[..self.reference.len().min(self.frames * self.channels)]);
        let heard = &recorded[..frames.min(sent.len() / self.channels * 16_000 / self.rate_hz as usize)];
        let db = difference_at_16k_db(heard, &sent, self.rate_hz, self.channels, self.cutoff_hz);
        assert!(db <= self.at_16k_db, "{}: {db:.1} dB at 16 kHz", self.path);
    }
}

/// Streams it declared and as `auto`, at its own rate and at 16 kHz mono, each time cut otherwise.
async fn check(server: &TestServer, c: &mut Client, case: &Case) {
    let bytes = case.bytes();
    let recorder = case.path.strip_prefix("recorders/").map(|name| recorder_cuts(name, &bytes));
    let pieces = recorder.unwrap_or_else(|| random_cuts(&bytes, 1));
    let native = matches!(case.rate_hz, 8_000 | 16_000 | 24_000 | 48_000);
    if native {
        let output = json!({"sample_rate": case.rate_hz, "channels": "source"});
        let ended = c.stream_pieces(json!({"format": case.format(), "output": output}), &pieces).await;
        let (spec, declared) = recording_of(server, &ended, bytes.len());
        assert_eq!((spec.sample_rate, usize::from(spec.channels)), (case.rate_hz, case.channels), "{}", case.path);
        case.assert_near(&declared);
        if !case.is_raw() {
            let ended = c.stream_pieces(json!({"output": output}), &random_cuts(&bytes, 2)).await;
            assert!(recording_of(server, &ended, bytes.len()).1 == declared, "{}: told apart by itself", case.path);
        }
    }
    let ended = c.stream_pieces(json!({"format": case.format()}), &random_cuts(&bytes, 3)).await;
    let (spec, recorded) = recording_of(server, &ended, bytes.len());
    assert_eq!((spec.sample_rate, spec.channels), (16_000, 1), "{}", case.path);
    case.assert_near_at_16k(&recorded);
}

/// The recording, once all that is said of it holds.
fn recording_of(server: &TestServer, ended: &Value, sent_bytes: usize) -> (hound::WavSpec, Vec<i16>) {
    assert_eq!(ended["reason"], "end");
    assert_eq!(ended["received_bytes"], sent_bytes);
    let (spec, recorded) = server.recording(ended);
    let frames = recorded.len() / usize::from(spec.channels);
    assert_eq!(ended["output_samples"], frames);
    assert_eq!(ended["duration_ms"], frames * 1_000 / spec.sample_rate as usize);
    let file = std::fs::read(server.recording_path(ended["recording"]["id"].as_str().unwrap())).unwrap();
    let sha256: String = Sha256::digest(&file).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(ended["recording"]["sha256"], sha256);
    (spec, recorded)
}

async fn check_all(cases: Vec<Case>) {
    let server = TestServer::start();
    let mut c = server.connect().await;
    for case in &cases {
        check(&server, &mut c, case).await;
    }
}

fn mono16() -> Vec<i16> {
    samples(&fixture("audio/mono16.s16le"))
}

/// ITU-T G.711, written after Sun's g711.c.
fn mulaw(code: u8) -> i16 {
    let u = !code;
    let t = ((i16::from(u & 0x0f) << 3) + 0x84) << ((u & 0x70) >> 4);
    if u & 0x80 != 0 { 0x84 - t } else { t - 0x84 }
}

fn alaw(code: u8) -> i16 {
    let a = code ^ 0x55;
    let t = i16::from(a & 0x0f) << 4;
    let t = match (a & 0x70) >> 4 {
        0 => t + 8,
        1 => t + 0x108,
        segment => (t + 0x108) << (segment - 1),
    };
    if a & 0x80 != 0 { t } else { -t }
}

fn rounded(x: f32) -> i16 {
    x.round_ties_even().clamp(-32_768.0, 32_767.0) as i16
}

#[tokio::test]
async fn raw_encodings_are_bit_exact() {
    let wide = |path: &str, size: usize, value: fn(&[u8]) -> f32| -> Vec<i16> {
        fixture(path).chunks_exact(size).map(|b| rounded(value(b))).collect()
    };
    let s24 = wide("audio/mono16.s24le", 3, |b| i32::from_le_bytes([0, b[0], b[1], b[2]]) as f32 / 65_536.0);
    let s32 = wide("audio/mono16.s32le", 4, |b| i32::from_le_bytes(b.try_into().unwrap()) as f32 / 65_536.0);
    let f32le = wide("audio/mono16.f32le", 4, |b| f32::from_le_bytes(b.try_into().unwrap()) * 32_768.0);
    check_all(vec![
        Case::lossless("audio/stereo48.s16le", "pcm_s16le"),
        Case::mono("audio/mono16.s16le", "pcm_s16le", 16_000, mono16()),
        Case::mono("audio/mono16.s16be", "pcm_s16be", 16_000, mono16()),
        Case::mono("audio/mono16.s24le", "pcm_s24le", 16_000, s24),
        Case::mono("audio/mono16.s32le", "pcm_s32le", 16_000, s32),
        Case::mono("audio/mono16.f32le", "pcm_f32le", 16_000, f32le),
        Case::mono(
            "audio/phone8.mulaw",
            "mulaw",
            8_000,
            fixture("audio/phone8.mulaw").into_iter().map(mulaw).collect(),
        ),
        Case::mono("audio/phone8.alaw", "alaw", 8_000, fixture("audio/phone8.alaw").into_iter().map(alaw).collect()),
    ])
    .await;
}

#[tokio::test]
async fn files_of_pcm_are_bit_exact() {
    check_all(vec![
        Case::lossless("audio/studio48.wav", "wav"),
        Case::lossless("audio/live48.wav", "wav"),
        Case::lossless("audio/studio48-rf64.wav", "wav"),
        Case::lossless("audio/studio48-s24.wav", "wav"),
        Case::lossless("audio/studio48-f32.wav", "wav"),
        Case::mono("audio/phone8-mulaw.wav", "wav", 8_000, expected("phone8-mulaw.wav")),
        Case::mono("audio/phone8-u8.wav", "wav", 8_000, expected("phone8-u8.wav")),
        Case::lossless("audio/studio48.aiff", "aiff"),
        Case::lossless("audio/studio48-s24.aiff", "aiff"),
        Case::lossless("audio/studio48.caf", "caf"),
        Case::lossless("audio/studio48-f32.caf", "caf"),
        Case::lossless("audio/studio48-pcm.mka", "webm"),
    ])
    .await;
}

#[tokio::test]
async fn lossless_codecs_are_bit_exact() {
    let recorder = hound::WavReader::new(fixture("recorders/speech48.wav").as_slice())
        .unwrap()
        .samples()
        .map(Result::unwrap)
        .collect();
    check_all(vec![
        Case::lossless("audio/studio48.flac", "flac"),
        Case::lossless("audio/studio48-s24.flac", "flac"),
        Case::mono("audio/live16.flac", "flac", 16_000, mono16()),
        Case::lossless("audio/studio48-alac.caf", "caf"),
        Case::lossless("audio/studio48-alac.m4a", "mp4"),
        Case::lossless("audio/frag-flac.mp4", "mp4"),
        // Chromium's recorder of 32-bit float: the speech within 16 bits, then the time until the page stopped it.
        Case {
            frames: 303_840,
            bound: Bound::Db(-90.0),
            ..Case::mono("recorders/chromium-pcm.webm", "webm", 48_000, recorder)
        },
    ])
    .await;
}

#[tokio::test]
async fn mpeg_audio_is_what_ffmpeg_decodes() {
    check_all(vec![
        Case::lossy("audio/studio48.mp3", "mp3", 48_000, 2, 72_000),
        Case::lossy("audio/vbr44.mp3", "mp3", 44_100, 2, 66_150),
        Case::lossy("audio/live16.mp3", "mp3", 16_000, 1, 25_344),
        Case::lossy("audio/studio48.mp2", "mp3", 48_000, 2, 72_576),
        Case::lossy("audio/studio48.mp1", "mp3", 48_000, 2, 71_808),
        Case::lossy("audio/crc32.mp1", "mp3", 32_000, 1, 47_616),
        Case::lossy("audio/studio48-mp3.mp4", "mp4", 48_000, 2, 72_623),
    ])
    .await;
}

#[tokio::test]
async fn aac_is_what_ffmpeg_decodes() {
    check_all(vec![
        Case::lossy("audio/studio48.aac", "aac", 48_000, 2, 73_728),
        Case::lossy("audio/mono16.aac", "aac", 16_000, 1, 25_600),
        Case::lossy("audio/he-aac.aac", "aac", 48_000, 2, 73_728),
        Case::lossy("audio/he-aac-v2.aac", "aac", 48_000, 2, 73_728),
        Case::lossy("audio/frag-he-aac.mp4", "mp4", 48_000, 2, 73_728),
        Case::lossy("audio/surround6.aac", "aac", 16_000, 6, 3_072),
        Case::lossy("audio/frag-aac.mp4", "mp4", 48_000, 2, 73_024),
        Case::lossy("audio/frag-aac44.mp4", "mp4", 44_100, 1, 67_174),
        Case::lossy("audio/faststart-aac.m4a", "mp4", 48_000, 2, 72_000),
        Case::lossy("audio/tail-aac.m4a", "mp4", 48_000, 2, 72_000),
    ])
    .await;
}

#[tokio::test]
async fn vorbis_and_ogg_flac_are_what_ffmpeg_decodes() {
    // The source of the FLAC at 44.1 kHz is not at hand; what is heard at 16 kHz is the source's sound all the same.
    let flac44 = Case { rate_hz: 44_100, frames: 66_150, ..Case::lossless("audio/studio44-flac.ogg", "ogg") };
    let server = TestServer::start();
    let mut c = server.connect().await;
    let ended = c.stream_pieces(json!({"format": flac44.format()}), &random_cuts(&flac44.bytes(), 4)).await;
    let (_, recorded) = recording_of(&server, &ended, flac44.bytes().len());
    assert_eq!(recorded.len(), 24_000);
    let db = difference_at_16k_db(&recorded, &studio(), 48_000, 2, 6_300.0);
    assert!(db <= -60.0, "{db:.1} dB");
    check_all(vec![
        Case::lossy("audio/studio48-vorbis.ogg", "ogg", 48_000, 2, 72_000),
        Case::lossy("audio/studio48-vorbis.webm", "webm", 48_000, 2, 72_064),
        Case::lossy("audio/surround-vorbis.ogg", "ogg", 16_000, 6, 4_800),
        Case::lossy("audio/surround-vorbis.webm", "webm", 16_000, 6, 5_120),
    ])
    .await;
}

#[tokio::test]
async fn opus_of_browsers_is_what_libopus_decodes() {
    check_all(vec![
        Case::silk("recorders/chromium-opus.webm", "webm", 302_400),
        Case::silk("recorders/firefox-opus.webm", "webm", 318_408),
        Case::silk("recorders/firefox-opus.ogg", "ogg", 317_824),
        Case::silk("recorders/chromium-opus.mp4", "mp4", 298_560),
    ])
    .await;
}

#[tokio::test]
async fn opus_of_files_is_what_libopus_decodes() {
    let mut surround = Case::opus("audio/surround-opus.ogg", "ogg", 6, 48_000);
    (surround.bound, surround.at_16k_db) = (Bound::Db(-80.0), -25.0);
    check_all(vec![
        Case::opus("audio/live-opus.webm", "webm", 2, 72_000),
        Case::opus("audio/file-opus.webm", "webm", 2, 72_000),
        Case::opus("audio/live-opus.ogg", "ogg", 2, 72_000),
        Case::opus("audio/pages1s-opus.ogg", "ogg", 2, 72_000),
        Case::silk("audio/voip-opus.ogg", "ogg", 72_000),
        Case::opus("audio/frag-opus.mp4", "mp4", 2, 72_000),
        surround,
    ])
    .await;
}

/// One packet a frame: no container, so neither pre-skip nor end are told, and all of every packet is played.
#[tokio::test]
async fn raw_opus_packets_are_what_their_container_holds() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let bytes = fixture("audio/live-opus.ogg");
    let packets = ogg_packets(&bytes);
    let pre_skip = usize::from(u16::from_le_bytes([packets[0][10], packets[0][11]]));
    let pieces: Vec<&[u8]> = packets[2..].iter().map(Vec::as_slice).collect();
    let fields = json!({"format": {"encoding": "opus", "sample_rate": 48_000, "channels": 2},
        "output": {"sample_rate": 48_000, "channels": "source"}});
    let ended = c.stream_pieces(fields, &pieces).await;
    let sent: usize = pieces.iter().map(|p| p.len()).sum();
    let (spec, recorded) = recording_of(&server, &ended, sent);
    assert_eq!((spec.sample_rate, spec.channels), (48_000, 2));
    assert_eq!(recorded.len() / 2, pieces.len() * 960, "20 ms a packet");
    let reference = expected("live-opus.ogg");
    let heard = &recorded[pre_skip * 2..][..reference.len()];
    let db = difference_db(&floats(heard), &floats(&reference));
    assert!(db <= -90.0, "{db:.1} dB");

    let fields = json!({"format": {"encoding": "opus", "sample_rate": 48_000, "channels": 2}});
    let ended = c.stream_pieces(fields, &pieces).await;
    let (_, recorded) = recording_of(&server, &ended, sent);
    assert_eq!(recorded.len(), pieces.len() * 320);
    let db = difference_at_16k_db(&recorded[pre_skip / 3..][..24_000], &reference, 48_000, 2, 6_300.0);
    assert!(db <= -35.0, "{db:.1} dB at 16 kHz");
}
