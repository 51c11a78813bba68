//! The whole way of a stream in one call: decode, down-mix, resample. For files; knows no session, queue or sink.

use std::io::{self, Read};

use crate::audio::{OutputChannels, PcmSpec, convert};
use crate::decode::{self, DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder};
use crate::resample::{ResampleError, Resampler, downmix};

/// Bytes read from the input at once: large enough that calls cost nothing, small enough for a cache.
const READ_BYTES: usize = 64 << 10;

/// Warnings kept for the report; the rest are counted.
const WARNINGS_KEPT_MAX: usize = 16;

/// At which rate PCM comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRate {
    /// At [`DecodeParams::output`]'s.
    Params,
    /// At the source's own.
    Source,
}

/// What came of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Rate and channels of what came out; `None` where nothing did.
    pub spec: Option<PcmSpec>,
    /// Samples per channel that came out.
    pub frames: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// The first warnings.
    pub warnings: Vec<DecodeWarning>,
    /// All of them.
    pub warnings_total: u64,
}

impl Summary {
    /// Length of the audio in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.spec.map_or(0, |spec| self.frames * 1_000 / u64::from(spec.rate_hz.max(1)))
    }
}

/// Why a file could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The file cannot be read. Not the file's fault.
    #[error("reading: {0}")]
    Read(#[source] io::Error),
    /// The taker of the PCM failed.
    #[error("writing: {0}")]
    Write(#[source] io::Error),
    /// The bytes cannot be decoded. The same bytes fail again.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The source has a rate or channel count that is not converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// Takes blocks of interleaved 16-bit PCM of one rate and channel count.
pub type OnBlock<'a> = dyn FnMut(PcmSpec, &[i16]) -> io::Result<()> + 'a;

/// Decodes everything `input` gives and hands out the PCM block by block, all of one rate and channel count.
///
/// # Errors
/// [`OfflineError`]; blocks before it have been handed out.
pub fn decode_to_pcm(
    input: &mut dyn Read,
    params: &DecodeParams,
    rate: OutputRate,
    on_block: &mut OnBlock<'_>,
) -> Result<Summary, OfflineError> {
    let mut decoder = decode::open(params)?;
    let mut run = Run {
        converter: Converter::new(params, rate),
        out: DecodeOut::default(),
        s16: Vec::new(),
        summary: Summary { spec: None, frames: 0, input_bytes: 0, warnings: Vec::new(), warnings_total: 0 },
        on_block,
    };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let got = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(OfflineError::Read(error)),
        };
        run.summary.input_bytes += got as u64;
        run.bytes(decoder.as_mut(), &buffer[..got])?;
    }
    run.finish(decoder.as_mut())?;
    Ok(run.summary)
}

struct Run<'a, 'b> {
    converter: Converter,
    out: DecodeOut,
    s16: Vec<i16>,
    summary: Summary,
    on_block: &'a mut OnBlock<'b>,
}

impl Run<'_, '_> {
    fn bytes(&mut self, decoder: &mut dyn Decoder, mut bytes: &[u8]) -> Result<(), OfflineError> {
        loop {
            self.out.clear();
            let step = decoder.decode(bytes, &mut self.out)?;
            bytes = &bytes[step.consumed..];
            self.step()?;
            if bytes.is_empty() && !step.more {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, decoder: &mut dyn Decoder) -> Result<(), OfflineError> {
        loop {
            self.out.clear();
            let more = decoder.finish(&mut self.out)?;
            self.step()?;
            if !more {
                break;
            }
        }
        self.converter.finish();
        self.emit()
    }

    fn step(&mut self) -> Result<(), OfflineError> {
        self.summary.warnings_total += self.out.warnings.len() as u64;
        let room = WARNINGS_KEPT_MAX - self.summary.warnings.len();
        self.summary.warnings.extend(self.out.warnings.drain(..).take(room));
        if self.out.pcm.samples.is_empty() {
            return Ok(());
        }
        self.converter.push(self.out.pcm.spec, &mut self.out.pcm.samples)?;
        self.emit()
    }

    fn emit(&mut self) -> Result<(), OfflineError> {
        let Some(spec) = self.converter.output else { return Ok(()) };
        self.s16.clear();
        convert::f32_to_s16(&self.converter.ready, &mut self.s16);
        self.converter.ready.clear();
        self.summary.spec = Some(spec);
        self.summary.frames += (self.s16.len() / usize::from(spec.channels)) as u64;
        if self.s16.is_empty() { Ok(()) } else { (self.on_block)(spec, &self.s16).map_err(OfflineError::Write) }
    }
}

/// Down-mix, then rate. What the first block decides holds to the end; later blocks are fitted to it.
struct Converter {
    mono: bool,
    /// `None`: the first block's.
    rate_hz: Option<u32>,
    output: Option<PcmSpec>,
    /// Rate the resampler takes in, and the resampler where one is needed.
    input_rate_hz: u32,
    resampler: Option<Resampler>,
    mixed: Vec<f32>,
    ready: Vec<f32>,
}

impl Converter {
    fn new(params: &DecodeParams, rate: OutputRate) -> Self {
        Self {
            mono: params.output.channels == OutputChannels::Mono,
            rate_hz: (rate == OutputRate::Params).then_some(params.output.rate_hz),
            output: None,
            input_rate_hz: 0,
            resampler: None,
            mixed: Vec::new(),
            ready: Vec::new(),
        }
    }

    fn push(&mut self, spec: PcmSpec, samples: &mut Vec<f32>) -> Result<(), ResampleError> {
        let output = *self.output.get_or_insert(PcmSpec {
            rate_hz: self.rate_hz.unwrap_or(spec.rate_hz),
            channels: if self.mono { 1 } else { spec.channels },
        });
        if spec.rate_hz != self.input_rate_hz {
            self.finish();
            self.input_rate_hz = spec.rate_hz;
            if spec.rate_hz != output.rate_hz {
                self.resampler = Some(Resampler::new(spec.rate_hz, output.rate_hz, output.channels)?);
            }
        }
        if spec.channels != output.channels {
            downmix::to_mono(samples, spec.channels);
            if output.channels > 1 {
                self.mixed.clear();
                self.mixed.extend(samples.iter().flat_map(|&x| std::iter::repeat_n(x, usize::from(output.channels))));
                std::mem::swap(samples, &mut self.mixed);
            }
        }
        match &mut self.resampler {
            Some(resampler) => resampler.process(samples, &mut self.ready),
            None => self.ready.extend_from_slice(samples),
        }
        Ok(())
    }

    /// Ends the segment of one input rate.
    fn finish(&mut self) {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(&mut self.ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoding, OutputFormat, StreamFormat};

    fn decode(
        bytes: &[u8],
        format: (Encoding, u32, u32),
        output: OutputFormat,
        rate: OutputRate,
    ) -> (Summary, Vec<i16>) {
        let format = StreamFormat::new(format.0, Some(format.1), Some(format.2)).unwrap();
        let params = DecodeParams { format, output, whole_file_bytes_max: decode::WHOLE_FILE_BYTES_MAX };
        let mut pcm = Vec::new();
        let summary = decode_to_pcm(&mut &bytes[..], &params, rate, &mut |_, block| {
            pcm.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        (summary, pcm)
    }

    #[test]
    fn a_file_at_the_output_rate_comes_out_as_it_is() {
        let bytes = include_bytes!("../../fixtures/audio/mono16.s16le");
        let (summary, pcm) =
            decode(bytes, (Encoding::PcmS16le, 16_000, 1), OutputFormat::default(), OutputRate::Params);
        let want: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(pcm, want);
        assert_eq!((summary.frames, summary.duration_ms()), (24_000, 1_500));
        assert_eq!(summary.input_bytes, bytes.len() as u64);
    }

    #[test]
    fn stereo_is_averaged_and_resampled_to_the_sample() {
        let bytes = include_bytes!("../../fixtures/audio/stereo48.s16le");
        let (summary, pcm) =
            decode(bytes, (Encoding::PcmS16le, 48_000, 2), OutputFormat::default(), OutputRate::Params);
        assert_eq!(summary.spec, Some(PcmSpec { rate_hz: 16_000, channels: 1 }));
        assert_eq!((summary.frames, pcm.len()), (24_000, 24_000));
    }

    #[test]
    fn the_source_rate_and_channels_can_be_kept() {
        let bytes = include_bytes!("../../fixtures/audio/stereo48.s16le");
        let output = OutputFormat { channels: OutputChannels::Source, ..OutputFormat::default() };
        let (summary, pcm) = decode(bytes, (Encoding::PcmS16le, 48_000, 2), output, OutputRate::Source);
        assert_eq!(summary.spec, Some(PcmSpec { rate_hz: 48_000, channels: 2 }));
        assert_eq!(pcm.len(), bytes.len() / 2);
    }

    #[test]
    fn a_failing_taker_stops_the_work() {
        let params = DecodeParams {
            format: StreamFormat::new(Encoding::Mulaw, Some(8_000), Some(1)).unwrap(),
            output: OutputFormat::default(),
            whole_file_bytes_max: 0,
        };
        let mut calls = 0;
        let result = decode_to_pcm(&mut &[0u8; 1 << 20][..], &params, OutputRate::Params, &mut |_, _| {
            calls += 1;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(result, Err(OfflineError::Write(_))));
        assert_eq!(calls, 1);
    }
}
