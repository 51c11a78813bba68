//! For decoder tests: fixtures, and a driver that keeps the contract of [`Decoder`] to the letter and checks the decoder's side of it.

use std::path::Path;

use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, STEP_FRAMES_MAX, WHOLE_FILE_BYTES_MAX, open};
use crate::audio::{Encoding, OutputFormat, PcmSpec, StreamFormat, convert};

/// How the bytes arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// All at once.
    Whole,
    /// So many at a time.
    Every(usize),
    /// 0 to 3000 at a time, by this seed.
    Random(u64),
}

/// What came out of a whole stream of one format.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Each run of one format and its samples per channel.
    pub(crate) runs: Vec<(PcmSpec, usize)>,
    pub(crate) samples: Vec<f32>,
    pub(crate) warnings: Vec<DecodeWarning>,
    /// The largest `pending_bytes` after any call.
    pub(crate) pending_max: usize,
}

impl Decoded {
    pub(crate) fn spec(&self) -> PcmSpec {
        assert_eq!(self.runs.len(), 1, "one format: {:?}", self.runs);
        self.runs[0].0
    }

    pub(crate) fn s16(&self) -> Vec<i16> {
        let mut out = Vec::new();
        convert::f32_to_s16(&self.samples, &mut out);
        out
    }

    fn take(&mut self, out: &DecodeOut, packet_frames_max: usize) {
        let pcm = &out.pcm;
        assert!(pcm.frames() <= STEP_FRAMES_MAX.max(packet_frames_max), "{} frames in a step", pcm.frames());
        self.warnings.extend(out.warnings.iter().cloned());
        if pcm.samples.is_empty() {
            return;
        }
        assert!(pcm.samples.len().is_multiple_of(usize::from(pcm.spec.channels)));
        assert!(pcm.samples.iter().all(|x| x.abs() <= 8.0), "finite and within 8");
        match self.runs.last_mut() {
            Some((spec, frames)) if *spec == pcm.spec => *frames += pcm.frames(),
            _ => self.runs.push((pcm.spec, pcm.frames())),
        }
        self.samples.extend_from_slice(&pcm.samples);
    }
}

/// Largest packet of any codec here in sample frames: a FLAC block.
const PACKET_FRAMES_MAX: usize = 65_535;

/// Decodes a whole stream.
pub(crate) fn decode(params: &DecodeParams, bytes: &[u8], cut: Cut) -> Result<Decoded, DecodeError> {
    let mut decoder = open(params)?;
    let mut decoded = Decoded::default();
    let mut out = DecodeOut::default();
    let mut random = Random(match cut {
        Cut::Random(seed) => seed,
        Cut::Whole | Cut::Every(_) => 0,
    });
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = match cut {
            Cut::Whole => rest.len(),
            Cut::Every(n) => n,
            Cut::Random(_) => random.below(3001) as usize,
        };
        let (mut chunk, after) = rest.split_at(n.min(rest.len()));
        rest = after;
        loop {
            out.clear();
            let step = decoder.decode(chunk, &mut out)?;
            assert!(step.consumed <= chunk.len(), "consumed {} of {}", step.consumed, chunk.len());
            decoded.take(&out, PACKET_FRAMES_MAX);
            decoded.pending_max = decoded.pending_max.max(decoder.pending_bytes());
            assert!(
                step.consumed > 0 || chunk.is_empty() || step.more || !out.pcm.samples.is_empty(),
                "a step without progress"
            );
            chunk = &chunk[step.consumed..];
            if chunk.is_empty() && !step.more {
                break;
            }
        }
    }
    loop {
        out.clear();
        let more = decoder.finish(&mut out)?;
        decoded.take(&out, PACKET_FRAMES_MAX);
        if !more {
            break;
        }
    }
    assert_eq!(decoder.pending_bytes(), 0, "nothing is pending after the end");
    Ok(decoded)
}

/// The same bytes give the same samples, warnings or error, one at a time, at random cuts and whole.
pub(crate) fn assert_same_however_cut(params: &DecodeParams, bytes: &[u8]) {
    let whole = decode(params, bytes, Cut::Whole);
    for cut in [Cut::Every(1), Cut::Every(7), Cut::Every(4_096), Cut::Random(1), Cut::Random(2), Cut::Random(3)] {
        match (&whole, decode(params, bytes, cut)) {
            (Ok(a), Ok(b)) => {
                assert_eq!(a.runs, b.runs, "{cut:?}");
                assert!(a.samples == b.samples, "samples differ, {cut:?}");
                assert_eq!(a.warnings, b.warnings, "{cut:?}");
            }
            (Err(a), Err(b)) => assert_eq!(*a, b, "{cut:?}"),
            (a, b) => panic!("{cut:?}: whole gave {:?}, cut gave {:?}", a.as_ref().err(), b.err()),
        }
    }
}

/// Damages a copy of `bytes` by `seed`: flips, cuts, repeats, overwrites. Then decodes it; errors are fine, panics and broken contracts are not.
/// Returns how many of the damaged streams still gave samples.
pub(crate) fn survive_damage(params: &DecodeParams, bytes: &[u8], rounds: u64) -> usize {
    let mut alive = 0;
    for seed in 0..rounds {
        let mut random = Random(seed);
        let damaged = damage(bytes, &mut random);
        let cut = if random.below(4) == 0 { Cut::Random(seed) } else { Cut::Whole };
        if let Ok(decoded) = decode(params, &damaged, cut)
            && !decoded.samples.is_empty()
        {
            alive += 1;
        }
    }
    alive
}

fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(6) {
        if out.is_empty() {
            break;
        }
        let len = out.len() as u64;
        // Headers are where decoders break: half of the damage goes there.
        let reach = if random.below(2) == 0 { len.min(200) } else { len };
        let at = random.below(reach) as usize;
        match random.below(6) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = random.below(256) as u8,
            2 => out.truncate(at),
            3 => {
                let end = (at + 1 + random.below(300) as usize).min(out.len());
                out.drain(at..end);
            }
            4 => {
                let end = (at + 1 + random.below(8) as usize).min(out.len());
                out[at..end].fill(if random.below(2) == 0 { 0xff } else { 0 });
            }
            _ => {
                let noise: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
                out.splice(at..at, noise);
            }
        }
    }
    out
}

/// splitmix64: repeatable, good enough for cuts and damage.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// A container's params, nothing declared.
pub(crate) fn params(encoding: Encoding) -> DecodeParams {
    DecodeParams {
        format: StreamFormat { encoding, sample_rate: None, channels: None },
        output: OutputFormat::default(),
        whole_file_bytes_max: WHOLE_FILE_BYTES_MAX,
    }
}

/// Params with rate and channels declared.
pub(crate) fn params_raw(encoding: Encoding, rate_hz: u32, channels: u32) -> DecodeParams {
    let format = StreamFormat::new(encoding, Some(rate_hz), Some(channels)).expect("a format in range");
    DecodeParams { format, ..params(encoding) }
}

/// A file of `fixtures/audio`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    read(&format!("audio/{name}"))
}

/// A file of `fixtures/expected`.
pub(crate) fn expected(name: &str) -> Vec<u8> {
    read(&format!("expected/{name}"))
}

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Little-endian 16-bit samples.
pub(crate) fn s16(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|&b| i16::from_le_bytes(b)).collect()
}
