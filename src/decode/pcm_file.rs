//! The decoder of files that are a header and samples (WAV, AIFF): what their formats have in common once the chunks are walked.

use super::chunks::{Event, Family, Walker};
use super::pcm::{SampleKind, SampleReader};
use super::{DecodeError, DecodeOut, Decoder, Step};
use crate::audio::PcmSpec;

/// What a format knows of its own chunks.
pub(super) trait Layout: Send {
    /// How its chunks are walked.
    fn family(&self) -> &'static Family;

    /// A file begins; what was known of the one before is void.
    fn begin(&mut self);

    /// A chunk that the family wants.
    fn chunk(&mut self, id: [u8; 4], body: &[u8]) -> Result<(), DecodeError>;

    /// The samples begin.
    fn data(&mut self, size: u64, prefix: &[u8]) -> Result<Samples, DecodeError>;
}

/// What the data chunk holds.
pub(super) struct Samples {
    pub(super) spec: PcmSpec,
    pub(super) kind: SampleKind,
    /// Its length, where another chunk knows better than its own header.
    pub(super) size: Option<u64>,
    /// Bytes before the first sample.
    pub(super) skip: u64,
}

/// The decoder.
pub(super) struct PcmFile<L> {
    layout: L,
    walker: Walker,
    samples: Option<(PcmSpec, SampleReader)>,
    skip: u64,
}

impl<L: Layout> PcmFile<L> {
    pub(super) fn new(layout: L) -> Self {
        let walker = Walker::new(layout.family());
        Self { layout, walker, samples: None, skip: 0 }
    }
}

/// What is left of `bytes` behind those that are no samples yet.
fn past<'a>(skip: &mut u64, bytes: &'a [u8]) -> &'a [u8] {
    let skipped = usize::try_from(*skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
    *skip -= skipped as u64;
    &bytes[skipped..]
}

impl<L: Layout> Decoder for PcmFile<L> {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let mut consumed = 0;
        loop {
            let (n, event) = self.walker.next(&input[consumed..])?;
            consumed += n;
            let held = matches!(event, Event::Held(_));
            match event {
                Event::Starved => break,
                Event::File => self.layout.begin(),
                Event::Chunk { id, body } => self.layout.chunk(id, body)?,
                Event::DataStart { size, prefix } => {
                    let samples = self.layout.data(size, prefix)?;
                    self.samples = Some((samples.spec, SampleReader::new(samples.kind, samples.spec.channels)));
                    self.skip = samples.skip;
                    if let Some(size) = samples.size {
                        self.walker.set_data_size(size);
                    }
                }
                Event::Data(bytes) if self.skip > 0 => {
                    let skipped = bytes.len() - past(&mut self.skip, bytes).len();
                    self.walker.took(skipped);
                    consumed += skipped;
                }
                Event::Data(bytes) | Event::Held(bytes) => {
                    let bytes = past(&mut self.skip, bytes);
                    let (spec, reader) = self.samples.as_mut().expect("the walker tells of data only behind its start");
                    out.pcm.spec = *spec;
                    let taken = reader.push(bytes, &mut out.pcm.samples);
                    if !held {
                        self.walker.took(taken);
                        consumed += taken;
                        break;
                    }
                }
                // These formats stream no chunk.
                Event::Part(_) => {}
                // A step ends here: what follows may be of another format.
                Event::DataEnd => {
                    if let Some((_, reader)) = &mut self.samples {
                        reader.drop_tail(&mut out.warnings);
                    }
                    break;
                }
            }
        }
        Ok(Step { consumed, more: false })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        if let Some((spec, reader)) = &mut self.samples {
            out.pcm.spec = *spec;
            // Less than a step takes.
            reader.push(past(&mut self.skip, self.walker.last_samples()), &mut out.pcm.samples);
            reader.drop_tail(&mut out.warnings);
        }
        self.walker.finish(&mut out.warnings)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.walker.held() + self.samples.as_ref().map_or(0, |(_, reader)| reader.carried())
    }
}
