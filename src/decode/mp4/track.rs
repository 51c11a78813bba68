//! One track as it plays: which sample comes next, what it decodes to, which part of that is presented. Knows no stream.

use std::collections::VecDeque;

use super::movie::{AudioTrack, SampleDefaults, TrackCodec};
use super::table::SampleTable;
use super::{NAME, Sample, SampleRun, fragment};
use crate::audio::{OutputFormat, PcmSpec};
use crate::decode::codec::{self, PacketDecoder, Tally};
use crate::decode::{DecodeError, DecodeOut, DecodeWarning};

/// The track that is decoded, from one `moov` to the next.
pub(super) struct Track {
    id: u32,
    timescale: u32,
    defaults: SampleDefaults,
    decoder: Box<dyn PacketDecoder>,
    table: Option<SampleTable>,
    runs: VecDeque<SampleRun>,
    current: Option<Sample>,
    /// End of the last sample told: samples move forward through the file, so that its bytes are decoded once.
    last_end: u64,
    /// Samples of the fragment at hand were left out.
    dropped: bool,
    window: Window,
    tail: Tail,
    tally: Tally,
}

/// What is presented of what is decoded, in ticks until the first packet tells the decoder's rate, then in frames.
#[derive(Clone, Copy, Debug)]
enum Window {
    Ticks { skip: u64, length: Option<u64> },
    Frames { skip: u64, left: Option<u64> },
}

/// A last packet is mostly longer than the audio in it, and only its duration in the tables tells. Whether a packet is the last
/// is known when no other follows: until then what exceeds the duration is held back. Recorders write when a packet came as its
/// duration: only while every duration was exactly what the packet decoded to, one that is not is believed.
#[derive(Debug)]
struct Tail {
    exact: bool,
    held: Vec<f32>,
}

impl Track {
    /// Opens the track's decoder.
    ///
    /// # Errors
    /// As [`codec::open`].
    pub(super) fn open(
        track: &AudioTrack,
        table: Option<SampleTable>,
        output: OutputFormat,
    ) -> Result<Self, DecodeError> {
        let decoder = codec::open(track.codec.setup(), output)?;
        let presentation = track.presentation;
        Ok(Self {
            id: track.id,
            timescale: track.timescale,
            defaults: track.defaults,
            decoder,
            table,
            runs: VecDeque::new(),
            current: None,
            last_end: 0,
            dropped: false,
            window: Window::Ticks { skip: presentation.skip_ticks, length: presentation.length_ticks },
            // The format of MPEG audio may change from packet to packet: nothing is held back of it.
            tail: Tail { exact: track.codec != TrackCodec::Mp3, held: Vec::new() },
            tally: Tally::default(),
        })
    }

    /// Takes the samples of a fragment, `moof_offset` to `moof_end` in the file. Those of the one before that never came are
    /// forgotten. Returns whether all is well: none was, and the fragment could be read.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] as [`fragment::read`].
    pub(super) fn add_fragment(&mut self, moof: &[u8], moof_offset: u64, moof_end: u64) -> Result<bool, DecodeError> {
        let complete = self.current.take().is_none() && self.runs.is_empty() && !self.dropped;
        self.table = None;
        self.runs.clear();
        self.dropped = false;
        self.last_end = moof_end;
        match fragment::read(moof, moof_offset, self.id, self.defaults, &mut self.runs) {
            Ok(()) => Ok(complete),
            Err(DecodeError::Malformed { .. }) => {
                self.runs.clear();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The next sample, without taking it.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for tables that do not move forward through the file.
    pub(super) fn peek(&mut self) -> Result<Option<Sample>, DecodeError> {
        while self.current.is_none() {
            let Some(sample) = self.next_listed() else { return Ok(None) };
            if sample.bytes == 0 {
                continue;
            }
            if sample.offset < self.last_end && self.table.is_none() {
                // One damaged fragment: the rest of the run points as far back.
                self.runs.pop_front();
                self.dropped = true;
                continue;
            }
            if sample.offset < self.last_end {
                let what = "an index whose samples are not in the order of the file".into();
                return Err(DecodeError::Unsupported { container: NAME, what });
            }
            self.last_end = sample.offset.saturating_add(u64::from(sample.bytes));
            self.current = Some(sample);
        }
        Ok(self.current)
    }

    fn next_listed(&mut self) -> Option<Sample> {
        if let Some(table) = &mut self.table {
            if let Some(sample) = table.next() {
                return Some(sample);
            }
            self.table = None;
        }
        let run = self.runs.front_mut()?;
        let sample = run.first;
        run.count = run.count.saturating_sub(1);
        if run.count == 0 || sample.bytes == 0 {
            self.runs.pop_front();
        } else {
            run.first.offset = run.first.offset.saturating_add(u64::from(sample.bytes));
        }
        Some(sample)
    }

    /// Leaves out the sample that came last from [`Track::peek`]: its bytes are not to be had.
    pub(super) fn skip(&mut self, out: &mut DecodeOut) {
        self.current = None;
        out.warnings.push(DecodeWarning::PacketSkipped { codec: self.decoder.name() });
    }

    /// Decodes the sample that came last from [`Track::peek`]; `packet` is its bytes.
    pub(super) fn play(&mut self, packet: &[u8], out: &mut DecodeOut) {
        let duration = self.current.take().map_or(0, |sample| sample.duration);
        let start = out.pcm.samples.len();
        if !self.tail.held.is_empty() {
            // Another packet follows after all.
            out.pcm.samples.append(&mut self.tail.held);
            self.tail.exact = false;
        }
        let from = out.pcm.samples.len();
        let decoded = codec::decode_or_conceal(self.decoder.as_mut(), packet, out);
        self.tally.note(decoded);
        if decoded {
            self.hold_back(from, duration, out);
        }
        self.present(start, out);
    }

    /// The codec's name, for messages.
    pub(super) fn codec_name(&self) -> &'static str {
        self.decoder.name()
    }

    /// Checks at the end of the stream.
    ///
    /// # Errors
    /// As [`Tally::check`].
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        self.tally.check(NAME)
    }

    fn hold_back(&mut self, from: usize, duration_ticks: u32, out: &mut DecodeOut) {
        if !self.tail.exact {
            return;
        }
        let PcmSpec { rate_hz, channels } = out.pcm.spec;
        let frames = (out.pcm.samples.len() - from) / usize::from(channels.max(1));
        let scaled = u64::from(duration_ticks) * u64::from(rate_hz);
        let told = scaled.div_ceil(u64::from(self.timescale));
        if told == frames as u64 {
            return;
        }
        if duration_ticks == 0 || told > frames as u64 {
            self.tail.exact = false;
            return;
        }
        let keep = from + told as usize * usize::from(channels);
        self.tail.held.extend_from_slice(&out.pcm.samples[keep..]);
        out.pcm.samples.truncate(keep);
    }

    /// Cuts what `out` got from `start` on to what is presented.
    fn present(&mut self, start: usize, out: &mut DecodeOut) {
        if let Window::Ticks { skip, length } = self.window {
            if out.pcm.samples.len() == start {
                return;
            }
            let rate_hz = u128::from(out.pcm.spec.rate_hz);
            let frames = |ticks: u64| {
                u64::try_from(u128::from(ticks) * rate_hz / u128::from(self.timescale)).unwrap_or(u64::MAX)
            };
            self.window = Window::Frames { skip: frames(skip), left: length.map(frames) };
        }
        let Window::Frames { skip, left } = &mut self.window else { return };
        let channels = usize::from(out.pcm.spec.channels.max(1));
        let frames = ((out.pcm.samples.len() - start) / channels) as u64;
        let skipped = (*skip).min(frames);
        *skip -= skipped;
        out.pcm.trim_front(start, skipped as usize);
        if let Some(left) = left {
            let presented = (*left).min(frames - skipped);
            *left -= presented;
            out.pcm.samples.truncate(start + presented as usize * channels);
        }
    }
}
