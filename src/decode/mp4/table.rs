//! Sample tables (`stbl`, ISO/IEC 14496-12 sections 8.6.1, 8.7): where the samples of an unfragmented track lie, told one after
//! another straight from the bytes of the `moov`. Knows no codec and no stream.

use std::ops::Range;

use super::boxes::{Children, Reader, descend};
use super::{NAME, Sample, movie};
use crate::decode::DecodeError;

const MALFORMED: DecodeError = DecodeError::Malformed { container: NAME, what: "the sample tables (stbl) are damaged" };

/// How sample sizes are given.
#[derive(Clone, Copy, Debug)]
enum SizeField {
    /// All the same.
    Constant(u32),
    /// A table entry of this many bits each: 4, 8, 16 (`stz2`) or 32 (`stsz`).
    Bits(u32),
}

/// A cursor over a run-length table of two fields an entry.
#[derive(Clone, Debug, Default)]
struct Runs {
    entries: Range<usize>,
    left: u32,
    value: u32,
}

impl Runs {
    /// The value for the next sample; 0 past the end.
    fn next(&mut self, moov: &[u8]) -> u32 {
        while self.left == 0 {
            let Some(entry) = moov.get(self.entries.clone()).and_then(|e| e.first_chunk::<8>()) else { return 0 };
            self.entries.start += 8;
            let mut reader = Reader::new(entry);
            (self.left, self.value) = (reader.u32().unwrap_or(0), reader.u32().unwrap_or(0));
        }
        self.left -= 1;
        self.value
    }
}

/// The samples of a track in decoding order. Holds the `moov` it reads from; takes no further memory.
#[derive(Debug)]
pub(super) struct SampleTable {
    moov: Vec<u8>,
    sizes: Range<usize>,
    size_field: SizeField,
    durations: Runs,
    /// `stsc` entries not yet reached, twelve bytes each.
    chunk_runs: Range<usize>,
    chunks: Range<usize>,
    chunk_offset_bytes: usize,
    sample_count: u32,
    /// Samples told so far.
    told: u32,
    /// One-based number of the current chunk; 0 before the first.
    chunk: u32,
    samples_per_chunk: u32,
    left_in_chunk: u32,
    next_offset: u64,
}

impl SampleTable {
    /// The table in a `moov` body; none where it lists no samples, as in a fragmented file.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where a table is missing or ends before its own count.
    pub(super) fn read(moov: Vec<u8>) -> Result<Option<Self>, DecodeError> {
        let stbl = movie::find_audio_trak(&moov)
            .and_then(|trak| descend(trak, &[b"mdia", b"minf", b"stbl"]))
            .ok_or(MALFORMED)?;
        let mut table = Self {
            moov: Vec::new(),
            sizes: 0..0,
            size_field: SizeField::Constant(0),
            durations: Runs::default(),
            chunk_runs: 0..0,
            chunks: 0..0,
            chunk_offset_bytes: 4,
            sample_count: 0,
            told: 0,
            chunk: 0,
            samples_per_chunk: 0,
            left_in_chunk: 0,
            next_offset: 0,
        };
        for (kind, body) in Children::of(stbl) {
            let entries = |reader: &Reader<'_>| range_in(&moov, reader.rest());
            let mut reader = Reader::new(body);
            match &kind {
                b"stsz" | b"stz2" => table.read_sizes(&kind, &mut reader, entries).ok_or(MALFORMED)?,
                b"stts" => table.durations.entries = counted(&mut reader, 8, entries).ok_or(MALFORMED)?,
                b"stsc" => table.chunk_runs = counted(&mut reader, 12, entries).ok_or(MALFORMED)?,
                b"stco" => table.chunks = counted(&mut reader, 4, entries).ok_or(MALFORMED)?,
                b"co64" => {
                    table.chunk_offset_bytes = 8;
                    table.chunks = counted(&mut reader, 8, entries).ok_or(MALFORMED)?;
                }
                _ => {}
            }
        }
        if table.sample_count == 0 {
            return Ok(None);
        }
        if table.chunks.is_empty() || table.chunk_runs.is_empty() {
            return Err(MALFORMED);
        }
        table.moov = moov;
        Ok(Some(table))
    }

    fn read_sizes(
        &mut self,
        kind: &[u8; 4],
        reader: &mut Reader<'_>,
        entries: impl Fn(&Reader<'_>) -> Range<usize>,
    ) -> Option<()> {
        reader.full_box()?;
        let field = reader.u32()?;
        self.sample_count = reader.u32()?;
        self.size_field = match (kind, field) {
            (b"stsz", 0) => SizeField::Bits(32),
            // Never 0, so that the samples of a chunk move on through the file.
            (b"stsz", size) => SizeField::Constant(size),
            (_, packed) => match packed & 0xff {
                bits @ (4 | 8 | 16) => SizeField::Bits(bits),
                _ => return None,
            },
        };
        self.sizes = entries(reader);
        let needed = match self.size_field {
            SizeField::Constant(_) => 0,
            SizeField::Bits(bits) => (u64::from(self.sample_count) * u64::from(bits)).div_ceil(8),
        };
        (needed <= self.sizes.len() as u64).then_some(())
    }

    /// The next sample; none after the last, or where the chunks run out before the samples do.
    pub(super) fn next(&mut self) -> Option<Sample> {
        if self.told == self.sample_count {
            return None;
        }
        while self.left_in_chunk == 0 {
            self.next_chunk()?;
        }
        let bytes = self.size()?;
        let sample = Sample { offset: self.next_offset, bytes, duration: self.durations.next(&self.moov) };
        self.next_offset = self.next_offset.checked_add(u64::from(bytes))?;
        self.left_in_chunk -= 1;
        self.told += 1;
        Some(sample)
    }

    fn size(&self) -> Option<u32> {
        let table = self.moov.get(self.sizes.clone())?;
        let index = self.told as usize;
        match self.size_field {
            SizeField::Constant(size) => Some(size),
            SizeField::Bits(32) => table.get(index * 4..)?.first_chunk().map(|b| u32::from_be_bytes(*b)),
            SizeField::Bits(16) => table.get(index * 2..)?.first_chunk().map(|b| u32::from(u16::from_be_bytes(*b))),
            SizeField::Bits(8) => table.get(index).map(|&b| u32::from(b)),
            SizeField::Bits(_) => {
                table.get(index / 2).map(|&b| u32::from(if index.is_multiple_of(2) { b >> 4 } else { b & 15 }))
            }
        }
    }

    fn next_chunk(&mut self) -> Option<()> {
        let width = self.chunk_offset_bytes;
        let entry = self.moov.get(self.chunks.clone())?.get(..width)?;
        self.next_offset = entry.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte));
        self.chunks.start += width;
        self.chunk = self.chunk.checked_add(1)?;
        // first_chunk, samples_per_chunk, sample_description_index (section 8.7.4).
        if let Some(run) = self.moov.get(self.chunk_runs.clone()).filter(|run| !run.is_empty()) {
            let mut reader = Reader::new(run);
            if reader.u32()? <= self.chunk {
                self.samples_per_chunk = reader.u32()?;
                self.chunk_runs.start += 12;
            }
        }
        self.left_in_chunk = self.samples_per_chunk;
        Some(())
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start + part.len()
}

/// The entries of a table that begins with version, flags and a count, cut to that count.
fn counted(
    reader: &mut Reader<'_>,
    entry_bytes: usize,
    entries: impl Fn(&Reader<'_>) -> Range<usize>,
) -> Option<Range<usize>> {
    reader.full_box()?;
    let bytes = (reader.u32()? as usize).checked_mul(entry_bytes)?;
    let range = entries(reader);
    (bytes <= range.len()).then(|| range.start..range.start + bytes)
}
