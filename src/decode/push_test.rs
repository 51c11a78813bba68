//! For tests of push decoders: a caller that keeps the [`Decoder`] contract to the letter, ways to cut a file, ways to compare.

use super::{
    DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, WHOLE_FILE_BYTES_MAX, open,
};
use crate::audio::convert::s16_to_f32;
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat};

/// All that came out of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decoded {
    /// Runs of one spec, in order.
    pub(crate) segments: Vec<(PcmSpec, Vec<f32>)>,
    pub(crate) warnings: Vec<DecodeWarning>,
    /// What ended it early.
    pub(crate) error: Option<DecodeError>,
    /// Most bytes the decoder said it held.
    pub(crate) pending_max: usize,
}

impl Decoded {
    /// The samples of a stream that is one segment.
    pub(crate) fn only_segment(&self) -> (PcmSpec, &[f32]) {
        assert_eq!(self.error, None);
        let [(spec, samples)] = self.segments.as_slice() else { panic!("{} segments", self.segments.len()) };
        (*spec, samples)
    }

    /// The same with another account of memory, to compare what came out alone.
    pub(crate) fn with_pending(mut self, pending_max: usize) -> Self {
        self.pending_max = pending_max;
        self
    }

    pub(crate) fn samples(&self) -> usize {
        self.segments.iter().map(|(_, samples)| samples.len()).sum()
    }
}

/// Parameters with nothing declared but the encoding; Opus decodes to 48 kHz and as many channels as there are.
pub(crate) fn params(encoding: Encoding) -> DecodeParams {
    DecodeParams {
        format: StreamFormat { encoding, sample_rate: None, channels: None },
        output: OutputFormat { rate_hz: 48_000, channels: OutputChannels::Source },
        whole_file_bytes_max: WHOLE_FILE_BYTES_MAX,
    }
}

/// Feeds `bytes`, cut as `cut` says: it is asked for the length of each next piece.
pub(crate) fn decode_cut(params: &DecodeParams, bytes: &[u8], mut cut: impl FnMut() -> usize) -> Decoded {
    let mut decoder = open(params).expect("the decoder opens");
    let mut run = Run { out: DecodeOut::default(), decoded: Decoded::default() };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(cut().clamp(1, rest.len()));
        rest = later;
        if let Err(error) = run.feed(decoder.as_mut(), piece) {
            run.decoded.error = Some(error);
            return run.decoded;
        }
    }
    loop {
        run.out.clear();
        match decoder.finish(&mut run.out) {
            Ok(more) => {
                run.collect();
                if !more {
                    return run.decoded;
                }
            }
            Err(error) => {
                run.decoded.error = Some(error);
                return run.decoded;
            }
        }
    }
}

struct Run {
    out: DecodeOut,
    decoded: Decoded,
}

impl Run {
    fn feed(&mut self, decoder: &mut dyn Decoder, mut piece: &[u8]) -> Result<(), DecodeError> {
        let mut idle = 0;
        loop {
            self.out.clear();
            let step = decoder.decode(piece, &mut self.out)?;
            assert!(step.consumed <= piece.len());
            // Progress: input taken or output made, or it would never end.
            let made = !self.out.pcm.samples.is_empty() || !self.out.warnings.is_empty();
            idle = if step.consumed > 0 || made { 0 } else { idle + 1 };
            assert!(idle < 100_000, "no progress");
            piece = &piece[step.consumed..];
            self.decoded.pending_max = self.decoded.pending_max.max(decoder.pending_bytes());
            self.collect();
            if piece.is_empty() && !step.more {
                return Ok(());
            }
        }
    }

    fn collect(&mut self) {
        self.decoded.warnings.append(&mut self.out.warnings);
        let pcm = &self.out.pcm;
        if pcm.samples.is_empty() {
            return;
        }
        assert_eq!(pcm.samples.len() % usize::from(pcm.spec.channels), 0);
        assert!(pcm.samples.iter().all(|s| s.abs() <= 8.0), "a sample that is not finite or beyond 8");
        assert!(pcm.frames() <= 2 * STEP_FRAMES_MAX.max(65_536), "a step of {} frames", pcm.frames());
        match self.decoded.segments.last_mut() {
            Some((spec, samples)) if *spec == pcm.spec => samples.extend_from_slice(&pcm.samples),
            _ => self.decoded.segments.push((pcm.spec, pcm.samples.clone())),
        }
    }
}

/// Feeds all of `bytes` at once.
pub(crate) fn decode_whole(params: &DecodeParams, bytes: &[u8]) -> Decoded {
    decode_cut(params, bytes, || usize::MAX)
}

/// The same bytes one at a time, in random pieces and in pieces of 4 KiB must bring what they bring whole.
pub(crate) fn assert_cuts_do_not_matter(params: &DecodeParams, bytes: &[u8]) {
    let whole = decode_whole(params, bytes);
    let same = |cut: Decoded, how: &str| {
        assert!(whole.segments == cut.segments, "{how}: other samples");
        assert_eq!(whole.warnings, cut.warnings, "{how}");
        assert_eq!(whole.error, cut.error, "{how}");
    };
    same(decode_cut(params, bytes, || 1), "one byte at a time");
    same(decode_cut(params, bytes, || 4_096), "4 KiB at a time");
    for seed in 1..4 {
        let mut random = Random(seed);
        same(decode_cut(params, bytes, || random.below(700)), "random cuts");
    }
}

/// A small generator for repeatable tests (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }
}

/// Damages files and decodes them: no panic, no endless loop, no memory beyond the bound; what comes out keeps the contract.
pub(crate) fn assert_survives_damage(params: &DecodeParams, bytes: &[u8], pending_limit: usize, rounds: u64) {
    for seed in 1..=rounds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9));
        let mut damaged = bytes.to_vec();
        match seed % 4 {
            0 => damaged.truncate(random.below(bytes.len())),
            1 => {
                for _ in 0..=random.below(20) {
                    let at = random.below(damaged.len());
                    damaged[at] = random.next() as u8;
                }
            }
            2 => {
                // Headers are at the front: most damage there.
                for _ in 0..=random.below(4) {
                    let at = random.below(damaged.len().min(1_024));
                    damaged[at] ^= 1 << random.below(8);
                }
            }
            _ => {
                let at = random.below(damaged.len());
                let end = (at + random.below(3_000)).min(damaged.len());
                damaged.drain(at..end);
            }
        }
        let decoded = decode_cut(params, &damaged, || 1 + random.below(5_000));
        assert!(decoded.pending_max <= pending_limit, "seed {seed}: {} bytes held", decoded.pending_max);
    }
    for seed in 1..=rounds {
        let mut random = Random(seed);
        let garbage: Vec<u8> = (0..20_000).map(|_| random.next() as u8).collect();
        let decoded = decode_cut(params, &garbage, || 1 + random.below(5_000));
        assert!(decoded.error.is_some() || decoded.samples() < 1 << 20, "seed {seed}");
    }
}

/// 16-bit little-endian PCM of a file as floats.
pub(crate) fn s16_samples(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| s16_to_f32(i16::from_le_bytes([b[0], b[1]]))).collect()
}

/// The samples of a canonical 16-bit WAV of ffmpeg's.
pub(crate) fn wav_samples(bytes: &[u8]) -> Vec<f32> {
    let data = bytes.windows(4).position(|w| w == b"data").expect("a data chunk");
    s16_samples(&bytes[data + 8..])
}

/// Energy of the difference relative to that of `expected`, in decibels.
pub(crate) fn difference_db(expected: &[f32], got: &[f32]) -> f64 {
    assert_eq!(expected.len(), got.len(), "lengths differ");
    let energy = |it: &mut dyn Iterator<Item = f64>| it.map(|x| x * x).sum::<f64>();
    let difference = energy(&mut expected.iter().zip(got).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    10.0 * (difference / energy(&mut expected.iter().map(|&a| f64::from(a)))).log10()
}

/// The shift of `got` against `expected`, both of `channels`, at which the first channels correlate best
/// over half a second at 48 kHz, within ±`reach` frames.
pub(crate) fn best_lag(expected: &[f32], got: &[f32], channels: usize, reach: i64) -> i64 {
    let correlation = |lag: i64| -> f64 {
        let pairs = expected.iter().step_by(channels).take(24_000).enumerate().filter_map(|(i, &a)| {
            let at = usize::try_from(i as i64 + lag).ok()? * channels;
            Some(f64::from(a) * f64::from(*got.get(at)?))
        });
        pairs.sum()
    };
    (-reach..=reach).max_by(|&a, &b| correlation(a).total_cmp(&correlation(b))).expect("a range")
}
