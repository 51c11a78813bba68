//! decode → down-mix → resample of one stream: bytes in, output PCM in a scratch buffer. Knows no sink.

use crate::audio::{OutputChannels, OutputFormat, PcmSpec};
use crate::decode::{self, DecodeError, DecodeOut, DecodeParams, Decoder};
use crate::resample::{Resampler, downmix};

/// Decoded samples (of all channels) a stream may be worth at the start, whatever its size: eleven minutes of 48 kHz mono.
const BOMB_ALLOWANCE_SAMPLES: u64 = 32 << 20;
/// Decoded samples one byte may be worth beyond that: FLAC silence in usual blocks is worth 300, a bomb ten thousands.
const BOMB_SAMPLES_PER_BYTE: u64 = 4_096;

/// Buffers a step works in; one a thread serves all its streams.
#[derive(Debug, Default)]
pub struct Scratch {
    decoded: DecodeOut,
    mixed: Vec<f32>,
    /// The step's output: interleaved, full scale at ±1.0.
    pub shaped: Vec<f32>,
    /// The same as 16-bit integers, filled by who needs it.
    pub s16: Vec<i16>,
}

impl Scratch {
    /// Warnings of the last step.
    pub fn warnings(&self) -> &[decode::DecodeWarning] {
        &self.decoded.warnings
    }
}

/// The signal path of one stream.
pub struct Chain {
    decoder: Box<dyn Decoder>,
    output: OutputFormat,
    /// What the decoder gives now.
    source: Option<PcmSpec>,
    /// Channels of the output, known with the first PCM.
    channels: Option<u16>,
    resampler: Option<Resampler>,
    fed_bytes: u64,
    decoded_samples: u64,
    /// Time of the segments before this one.
    base_ns: u64,
    /// Frames of this segment.
    segment_frames: u64,
    /// Both as a time; asked for several times a frame, and divisions are dear.
    decoded_ms: u64,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("output", &self.output).field("source", &self.source).finish_non_exhaustive()
    }
}

/// What a call of [`Chain::step`] did.
#[derive(Clone, Copy, Debug)]
pub struct ChainStep {
    /// Bytes taken.
    pub consumed: usize,
    /// Call again even without more input.
    pub more: bool,
    /// Frames the decoder gave, at the source's rate.
    pub source_frames: u64,
}

impl Chain {
    /// Opens the decoder for a declared format.
    ///
    /// # Errors
    /// Where the declaration alone shows that it cannot work.
    pub fn open(params: &DecodeParams) -> Result<Self, DecodeError> {
        Ok(Self::with_decoder(decode::open(params)?, params.output))
    }

    /// A chain behind any decoder.
    pub fn with_decoder(decoder: Box<dyn Decoder>, output: OutputFormat) -> Self {
        Self {
            decoder,
            output,
            source: None,
            channels: match output.channels {
                OutputChannels::Mono => Some(1),
                OutputChannels::Source => None,
            },
            resampler: None,
            fed_bytes: 0,
            decoded_samples: 0,
            base_ns: 0,
            segment_frames: 0,
            decoded_ms: 0,
        }
    }

    /// Rate and channels of the output; mono until the source has told.
    pub fn spec(&self) -> PcmSpec {
        PcmSpec { rate_hz: self.output.rate_hz, channels: self.channels.unwrap_or(1) }
    }

    /// What the decoder gives, once it has given something.
    pub fn source(&self) -> Option<PcmSpec> {
        self.source
    }

    /// Time decoded so far, in milliseconds, rounded down.
    pub fn decoded_ms(&self) -> u64 {
        self.decoded_ms
    }

    /// Bytes taken whose audio has come out.
    pub fn decoded_bytes(&self) -> u64 {
        self.fed_bytes.saturating_sub(self.decoder.pending_bytes() as u64)
    }

    /// Bytes the decoder holds.
    pub fn pending_bytes(&self) -> usize {
        self.decoder.pending_bytes()
    }

    /// Takes bytes from the front of `input`; the output is in `scratch.shaped`.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn step(&mut self, input: &[u8], scratch: &mut Scratch) -> Result<ChainStep, DecodeError> {
        let step = self.decode(input, scratch)?;
        self.shape(scratch)?;
        Ok(step)
    }

    /// Like [`Chain::step`], but throws the audio away: only its time counts.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn discard(&mut self, input: &[u8], scratch: &mut Scratch) -> Result<ChainStep, DecodeError> {
        let step = self.decode(input, scratch)?;
        if step.source_frames > 0 {
            self.enter(scratch.decoded.pcm.spec, scratch)?;
        }
        scratch.decoded.pcm.clear();
        Ok(step)
    }

    /// Puts `frames` of silence, at the source's rate, in place of dropped audio, 4,096 at the most. Returns how many.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn silence(&mut self, frames: u64, scratch: &mut Scratch) -> Result<u64, DecodeError> {
        scratch.shaped.clear();
        let Some(spec) = self.source else { return Ok(frames) };
        let n = frames.min(decode::STEP_FRAMES_MAX as u64);
        let pcm = &mut scratch.decoded.pcm;
        pcm.clear();
        pcm.spec = spec;
        pcm.samples.resize(n as usize * usize::from(spec.channels), 0.0);
        self.shape_segment(scratch);
        Ok(n)
    }

    /// No more input: hands out what is inside. False when that was all.
    ///
    /// # Errors
    /// Where nothing could be made of the stream.
    pub fn finish(&mut self, scratch: &mut Scratch) -> Result<bool, DecodeError> {
        scratch.decoded.clear();
        scratch.shaped.clear();
        if self.decoder.finish(&mut scratch.decoded)? {
            self.count(scratch);
            self.shape(scratch)?;
            return Ok(true);
        }
        self.count(scratch);
        self.shape(scratch)?;
        if let Some(mut r) = self.resampler.take() {
            r.finish(&mut scratch.shaped);
        }
        Ok(false)
    }

    fn decode(&mut self, input: &[u8], scratch: &mut Scratch) -> Result<ChainStep, DecodeError> {
        scratch.decoded.clear();
        scratch.shaped.clear();
        let step = self.decoder.decode(input, &mut scratch.decoded)?;
        self.fed_bytes += step.consumed as u64;
        let source_frames = self.count(scratch);
        if self.decoded_samples > BOMB_ALLOWANCE_SAMPLES + self.fed_bytes.saturating_mul(BOMB_SAMPLES_PER_BYTE) {
            return Err(DecodeError::TooLarge {
                container: "stream",
                what: "decoded samples per byte",
                limit: BOMB_SAMPLES_PER_BYTE,
            });
        }
        Ok(ChainStep { consumed: step.consumed, more: step.more, source_frames })
    }

    fn count(&mut self, scratch: &Scratch) -> u64 {
        self.decoded_samples += scratch.decoded.pcm.samples.len() as u64;
        scratch.decoded.pcm.frames() as u64
    }

    /// Down-mixes and resamples what was decoded.
    fn shape(&mut self, scratch: &mut Scratch) -> Result<(), DecodeError> {
        if scratch.decoded.pcm.samples.is_empty() {
            return Ok(());
        }
        self.enter(scratch.decoded.pcm.spec, scratch)?;
        self.shape_segment(scratch);
        Ok(())
    }

    /// Begins a segment where the source's format changes, and counts time.
    fn enter(&mut self, spec: PcmSpec, scratch: &mut Scratch) -> Result<(), DecodeError> {
        if self.source != Some(spec) {
            if let Some(mut r) = self.resampler.take() {
                r.finish(&mut scratch.shaped); // the tail belongs before the new segment
            }
            if let Some(before) = self.source {
                self.base_ns += self.segment_frames * 1_000_000_000 / u64::from(before.rate_hz);
                self.segment_frames = 0;
            }
            let channels = *self.channels.get_or_insert(spec.channels);
            if spec.rate_hz != self.output.rate_hz {
                let r = Resampler::new(spec.rate_hz, self.output.rate_hz, channels)
                    .map_err(|e| DecodeError::Unsupported { container: "stream", what: e.to_string() })?;
                self.resampler = Some(r);
            }
            self.source = Some(spec);
        }
        self.segment_frames += scratch.decoded.pcm.frames() as u64;
        self.decoded_ms = (self.base_ns + self.segment_frames * 1_000_000_000 / u64::from(spec.rate_hz)) / 1_000_000;
        Ok(())
    }

    fn shape_segment(&mut self, scratch: &mut Scratch) {
        let pcm = &mut scratch.decoded.pcm;
        let (from, to) = (pcm.spec.channels, self.channels.unwrap_or(pcm.spec.channels));
        let mixed = if from == to {
            &mut pcm.samples
        } else {
            scratch.mixed.clear();
            if to == 1 {
                downmix::append_mono(&pcm.samples, from, &mut scratch.mixed);
            } else {
                // A later segment with another channel count: its mean on every channel.
                downmix::to_mono(&mut pcm.samples, from);
                for &x in &pcm.samples {
                    scratch.mixed.extend(std::iter::repeat_n(x, usize::from(to)));
                }
            }
            &mut scratch.mixed
        };
        match &mut self.resampler {
            Some(r) => r.process(mixed, &mut scratch.shaped),
            None if scratch.shaped.is_empty() => std::mem::swap(&mut scratch.shaped, mixed),
            None => scratch.shaped.extend_from_slice(mixed),
        }
    }
}
