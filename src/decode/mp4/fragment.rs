//! Movie fragments (`moof`, ISO/IEC 14496-12 section 8.8.4): where the samples of one track lie. Knows no codec and no stream.

use std::collections::VecDeque;

use super::boxes::{Children, Reader, child};
use super::movie::SampleDefaults;
use super::{NAME, Sample, SampleRun};
use crate::decode::DecodeError;

/// Samples one fragment may list: 40 minutes of 20 ms packets, three mebibytes of memory.
pub(super) const SAMPLES_PER_FRAGMENT_MAX: usize = 1 << 17;

const MALFORMED: DecodeError = DecodeError::Malformed { container: NAME, what: "a movie fragment (moof) is damaged" };

/// Flags of `tfhd` (section 8.8.7).
mod tfhd {
    pub(super) const BASE_DATA_OFFSET: u32 = 0x01;
    pub(super) const SAMPLE_DESCRIPTION: u32 = 0x02;
    pub(super) const DEFAULT_DURATION: u32 = 0x08;
    pub(super) const DEFAULT_SIZE: u32 = 0x10;
    pub(super) const BASE_IS_MOOF: u32 = 0x02_0000;
}

/// Flags of `trun` (section 8.8.8).
mod trun {
    pub(super) const DATA_OFFSET: u32 = 0x001;
    pub(super) const FIRST_FLAGS: u32 = 0x004;
    pub(super) const DURATION: u32 = 0x100;
    pub(super) const SIZE: u32 = 0x200;
    pub(super) const FLAGS: u32 = 0x400;
    pub(super) const COMPOSITION: u32 = 0x800;
}

/// Appends to `samples` those the fragment lists for `track_id`.
///
/// `moof_offset` is where the box begins in the file.
///
/// # Errors
/// [`DecodeError::Malformed`] for fields that end too early, [`DecodeError::TooLarge`] beyond [`SAMPLES_PER_FRAGMENT_MAX`].
pub(super) fn read(
    moof: &[u8],
    moof_offset: u64,
    track_id: u32,
    defaults: SampleDefaults,
    samples: &mut VecDeque<SampleRun>,
) -> Result<(), DecodeError> {
    // Without a base of its own, a track's data begins where that of the track before ended (section 8.8.7.1).
    let mut previous_end = moof_offset;
    let mut listed = 0;
    for (_, traf) in Children::of(moof).filter(|(kind, _)| kind == b"traf") {
        let head = child(traf, b"tfhd").and_then(read_tfhd).ok_or(MALFORMED)?;
        let base = match (head.base_offset, head.base_is_moof) {
            (Some(offset), _) => offset,
            (None, true) => moof_offset,
            (None, false) => previous_end,
        };
        let is_ours = head.track_id == track_id;
        let track_defaults = if is_ours { defaults } else { SampleDefaults::default() };
        let defaults = SampleDefaults {
            duration: head.duration.unwrap_or(track_defaults.duration),
            size: head.size.unwrap_or(track_defaults.size),
        };
        let mut run = Run { base, next: base, defaults, listed };
        for (_, body) in Children::of(traf).filter(|(kind, _)| kind == b"trun") {
            run.read(body, is_ours.then_some(&mut *samples))?;
        }
        previous_end = run.next;
        listed = run.listed;
    }
    Ok(())
}

struct TrackFragmentHeader {
    track_id: u32,
    base_offset: Option<u64>,
    base_is_moof: bool,
    duration: Option<u32>,
    size: Option<u32>,
}

fn read_tfhd(body: &[u8]) -> Option<TrackFragmentHeader> {
    let mut reader = Reader::new(body);
    let (_, flags) = reader.full_box()?;
    let track_id = reader.u32()?;
    let base_offset = if flags & tfhd::BASE_DATA_OFFSET != 0 { Some(reader.u64()?) } else { None };
    if flags & tfhd::SAMPLE_DESCRIPTION != 0 {
        reader.u32()?;
    }
    let duration = if flags & tfhd::DEFAULT_DURATION != 0 { Some(reader.u32()?) } else { None };
    let size = if flags & tfhd::DEFAULT_SIZE != 0 { Some(reader.u32()?) } else { None };
    Some(TrackFragmentHeader { track_id, base_offset, base_is_moof: flags & tfhd::BASE_IS_MOOF != 0, duration, size })
}

/// The runs of one track fragment, one after another.
struct Run {
    base: u64,
    /// Where the data of the next run begins if it does not say.
    next: u64,
    defaults: SampleDefaults,
    /// Samples listed in the whole fragment so far, of every track.
    listed: usize,
}

impl Run {
    fn read(&mut self, body: &[u8], samples: Option<&mut VecDeque<SampleRun>>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(body);
        let (_, flags) = reader.full_box().ok_or(MALFORMED)?;
        let count = reader.u32().ok_or(MALFORMED)? as usize;
        self.listed = self.listed.saturating_add(count);
        if self.listed > SAMPLES_PER_FRAGMENT_MAX {
            let what = "the number of samples in a fragment";
            return Err(DecodeError::TooLarge { container: NAME, what, limit: SAMPLES_PER_FRAGMENT_MAX as u64 });
        }
        if flags & trun::DATA_OFFSET != 0 {
            let offset = reader.u32().ok_or(MALFORMED)? as i32;
            self.next = self.base.checked_add_signed(i64::from(offset)).ok_or(MALFORMED)?;
        }
        if flags & trun::FIRST_FLAGS != 0 {
            reader.u32().ok_or(MALFORMED)?;
        }
        self.read_samples(&mut reader, flags, count, samples).ok_or(MALFORMED)
    }

    fn read_samples(
        &mut self,
        reader: &mut Reader<'_>,
        flags: u32,
        count: usize,
        mut samples: Option<&mut VecDeque<SampleRun>>,
    ) -> Option<()> {
        if flags & (trun::DURATION | trun::SIZE | trun::FLAGS | trun::COMPOSITION) == 0 {
            // Nothing is written per sample: kept as one entry, or a few bytes of input would cost as many entries as they claim.
            let SampleDefaults { duration, size: bytes } = self.defaults;
            if let (Some(samples), 1..) = (samples, count) {
                let first = Sample { offset: self.next, bytes, duration };
                samples.push_back(SampleRun { first, count: u32::try_from(count).ok()? });
            }
            self.next = self.next.checked_add((count as u64).checked_mul(u64::from(bytes))?)?;
            return Some(());
        }
        let mut field = |bit: u32, default: u32| if flags & bit != 0 { reader.u32() } else { Some(default) };
        for _ in 0..count {
            let duration = field(trun::DURATION, self.defaults.duration)?;
            let bytes = field(trun::SIZE, self.defaults.size)?;
            field(trun::FLAGS, 0)?;
            field(trun::COMPOSITION, 0)?;
            if let Some(samples) = &mut samples {
                samples.push_back(SampleRun { first: Sample { offset: self.next, bytes, duration }, count: 1 });
            }
            self.next = self.next.checked_add(u64::from(bytes))?;
        }
        Some(())
    }
}
