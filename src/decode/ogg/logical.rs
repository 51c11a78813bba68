//! One logical stream: its headers, then its audio on the clock of the granule positions.

use super::NAME;
use super::page::Page;
use crate::decode::codec::flac::StreamInfo;
use crate::decode::codec::opus::{self, OPUS_RATE_HZ, OpusHead};
use crate::decode::codec::vorbis::{self, PacketTimes};
use crate::decode::codec::{self, CodecSetup};
use crate::decode::segment::{Segment, Trim, scale_frames};
use crate::decode::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, header};

/// Bytes of an audio packet: Opus has at most 61 KB a stream, Vorbis less; FLAC's largest usual block (16 KiB frames of 8
/// channels of 24 bits) is 0.4 MB.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// Bytes kept of a packet that is only looked at, the comments: they may hold pictures of any size.
const LOOK_BYTES_MAX: usize = 64;

/// What Opus' comments begin with (RFC 7845 section 5.2).
const OPUS_TAGS: &[u8] = b"OpusTags";

/// The first byte of every FLAC frame, and of no metadata block.
const FLAC_SYNC: u8 = 0xFF;

/// Milliseconds of lost audio that are filled: a lost page of a recorder's has about 1,000. More would let a few bytes of
/// hostile pages cost more than a few bytes of hostile Opus do, which last 120 ms each.
const GAP_FILLED_MS_MAX: u64 = 2_000;

/// Where a logical stream is.
enum Phase {
    /// Opus' or FLAC's comments, which may be missing, come before the audio.
    Comments,
    /// Vorbis' comments come next, then its set-up.
    VorbisComments(Vec<u8>),
    /// Vorbis' set-up comes next.
    VorbisSetup(Vec<u8>),
    /// Packets of audio.
    Audio,
}

/// How long packets last, in the units of the granule position.
#[derive(Clone, Copy)]
enum Times {
    Opus,
    Vorbis(PacketTimes),
    /// FLAC: blocks are exact, nothing is trimmed.
    Unneeded,
}

impl Times {
    fn next(&mut self, packet: &[u8]) -> u64 {
        match self {
            Self::Opus => opus::packet_frames_48k(packet).unwrap_or(0),
            Self::Vorbis(times) => times.next(packet).unwrap_or(0),
            Self::Unneeded => 0,
        }
    }
}

/// The decoding half of a logical stream.
struct Audio {
    segment: Segment,
    times: Times,
    granule_rate_hz: u32,
    output_rate_hz: u32,
    /// Granule position of the first decoded frame, known from the first page of audio on.
    start: Option<i64>,
    /// Frames at the output rate that were lost and not filled yet.
    gap_frames: u64,
}

/// A logical stream that is being decoded.
pub(super) struct Logical {
    /// Its serial number.
    pub(super) serial: u32,
    /// Its next page's number.
    pub(super) next_sequence: u32,
    /// Whether a page beyond its first was seen: streams that begin later are a new chain.
    pub(super) under_way: bool,
    phase: Phase,
    audio: Option<Audio>,
}

/// Opens the logical stream that begins with `packet`; `None` if it is nothing that is decoded.
///
/// # Errors
/// [`DecodeError`] where it is, but is damaged, not supported, or not what was declared.
pub(super) fn begin(page: &Page, packet: &[u8], params: &DecodeParams) -> Result<Option<Logical>, DecodeError> {
    let (phase, audio) = if packet.starts_with(b"OpusHead") {
        let head = OpusHead::parse(packet)?;
        let rates_hz = [OPUS_RATE_HZ, head.input_rate_hz];
        header::check_declared(&params.format, NAME, &rates_hz, &[u32::from(head.channels)])?;
        let rate_hz = params.output.rate_hz;
        let trim = Trim::new(scale_frames(u64::from(head.pre_skip), OPUS_RATE_HZ, rate_hz));
        let segment = Segment { codec: codec::open(CodecSetup::Opus { head: packet }, params.output)?, trim };
        (Phase::Comments, Some(Audio::new(segment, Times::Opus, OPUS_RATE_HZ, rate_hz)))
    } else if packet.starts_with(b"\x01vorbis") {
        (Phase::VorbisComments(packet.to_vec()), None)
    } else if packet.starts_with(b"\x7fFLAC") {
        (Phase::Comments, Some(flac(packet, params)?))
    } else {
        return Ok(None);
    };
    let next_sequence = page.sequence.wrapping_add(1);
    Ok(Some(Logical { serial: page.serial, next_sequence, under_way: false, phase, audio }))
}

/// The first packet of FLAC in Ogg (RFC 9639 section 10.1): 9 bytes of mapping, `fLaC`, STREAMINFO with its block header.
fn flac(packet: &[u8], params: &DecodeParams) -> Result<Audio, DecodeError> {
    let Some(streaminfo) = packet.get(17..51).filter(|_| &packet[9..13] == b"fLaC") else {
        return Err(DecodeError::Malformed { container: NAME, what: "the FLAC header is cut off" });
    };
    let StreamInfo { rate_hz, channels, .. } = StreamInfo::read(streaminfo)?;
    header::check(params, NAME, rate_hz, u32::from(channels))?;
    let codec = codec::open(CodecSetup::Flac { streaminfo }, params.output)?;
    Ok(Audio::new(Segment { codec, trim: Trim::default() }, Times::Unneeded, rate_hz, rate_hz))
}

impl Logical {
    /// Bytes of the next packet that are of interest, told from its `front`.
    pub(super) fn packet_bytes_max(&self, front: &[u8]) -> usize {
        match self.phase {
            Phase::Comments if self.is_comment(front) => LOOK_BYTES_MAX,
            Phase::Comments | Phase::Audio => PACKET_BYTES_MAX,
            Phase::VorbisComments(_) => LOOK_BYTES_MAX,
            Phase::VorbisSetup(_) => vorbis::SETUP_BYTES_MAX,
        }
    }

    /// Adds what a page's bytes hold to the clock, before its packets are decoded. `first`: the beginning of a packet
    /// that earlier pages began.
    pub(super) fn begin_page(&mut self, page: &Page, bytes: &[u8], first: Option<&[u8]>) {
        let Some(audio) = self.audio.as_mut() else { return };
        let lost = page.sequence != self.next_sequence;
        if let Phase::Audio = self.phase {
            audio.begin_page(page, bytes, first, lost);
        } else if matches!(self.phase, Phase::Comments) && first.is_none() && page.granule.is_some_and(|g| g > 0) {
            // No comments: this is a page of audio already.
            self.phase = Phase::Audio;
            audio.begin_page(page, bytes, first, lost);
        }
    }

    /// Fills the place of one lost packet, if there is one. Returns whether there was.
    pub(super) fn fill_gap(&mut self, out: &mut DecodeOut) -> bool {
        let Some(audio) = self.audio.as_mut().filter(|audio| audio.gap_frames > 0) else { return false };
        let filled = audio.segment.lost_packet(audio.gap_frames, out);
        audio.gap_frames = if filled == 0 { 0 } else { audio.gap_frames - filled };
        if filled > 0 {
            out.warnings.push(DecodeWarning::PacketConcealed { codec: audio.segment.codec.name() });
        }
        filled > 0
    }

    /// Takes one whole packet. `cut`: it was longer than [`Self::packet_bytes_max`], and what is beyond was left out. Returns
    /// whether it decoded; none where it was no audio.
    ///
    /// # Errors
    /// [`DecodeError`] for headers that cannot be used.
    pub(super) fn packet(
        &mut self,
        packet: &[u8],
        cut: bool,
        params: &DecodeParams,
        out: &mut DecodeOut,
    ) -> Result<Option<bool>, DecodeError> {
        match &mut self.phase {
            Phase::Comments => {
                let is_comment = self.is_comment(packet);
                // FLAC has as many of them as it likes, Opus one.
                if !is_comment || packet.starts_with(OPUS_TAGS) {
                    self.phase = Phase::Audio;
                }
                if !is_comment {
                    return Ok(self.audio_packet(packet, cut, out));
                }
            }
            Phase::VorbisComments(ident) => self.phase = Phase::VorbisSetup(std::mem::take(ident)),
            Phase::VorbisSetup(ident) => {
                if cut {
                    let limit = vorbis::SETUP_BYTES_MAX as u64;
                    return Err(DecodeError::TooLarge {
                        container: NAME,
                        what: "the size of the Vorbis set-up header in bytes",
                        limit,
                    });
                }
                let headers = vorbis::Headers::parse(ident, packet)?;
                header::check(params, NAME, headers.spec.rate_hz, u32::from(headers.spec.channels))?;
                let codec = codec::open(CodecSetup::Vorbis { ident, setup: packet }, params.output)?;
                let segment = Segment { codec, trim: Trim::default() };
                let rate_hz = headers.spec.rate_hz;
                self.audio = Some(Audio::new(segment, Times::Vorbis(headers.times), rate_hz, rate_hz));
                self.phase = Phase::Audio;
            }
            Phase::Audio => return Ok(self.audio_packet(packet, cut, out)),
        }
        Ok(None)
    }

    fn is_comment(&self, packet: &[u8]) -> bool {
        let is_flac = self.audio.as_ref().is_some_and(|audio| matches!(audio.times, Times::Unneeded));
        if is_flac { packet.first().is_some_and(|&b| b != FLAC_SYNC) } else { packet.starts_with(OPUS_TAGS) }
    }

    fn audio_packet(&mut self, packet: &[u8], cut: bool, out: &mut DecodeOut) -> Option<bool> {
        // ffmpeg ends FLAC with an empty packet; its time is none, whatever the codec.
        let audio = self.audio.as_mut().filter(|_| !packet.is_empty())?;
        audio.times.next(packet);
        Some(audio.segment.packet(if cut { &[] } else { packet }, out))
    }
}

impl Audio {
    fn new(segment: Segment, times: Times, granule_rate_hz: u32, output_rate_hz: u32) -> Self {
        Self { segment, times, granule_rate_hz, output_rate_hz, start: None, gap_frames: 0 }
    }

    /// Sets start, end and gaps by a page's granule position (RFC 7845 section 4; Vorbis I section A.2).
    fn begin_page(&mut self, page: &Page, bytes: &[u8], first: Option<&[u8]>, lost: bool) {
        let Some(granule) = page.granule else { return };
        if matches!(self.times, Times::Unneeded) {
            return;
        }
        let page_frames = self.page_frames(page, bytes, first);
        let decoded = to_signed(scale_frames(self.segment.trim.decoded(), self.output_rate_hz, self.granule_rate_hz));
        let start = match self.start {
            None => {
                let start = granule.saturating_sub(to_signed(page_frames));
                match self.times {
                    // A last page that claims less than it holds is cut at its end; Opus may not claim less otherwise.
                    _ if start < 0 && page.ends => 0,
                    Times::Opus | Times::Unneeded => start.max(0),
                    Times::Vorbis(_) => {
                        self.segment.trim.skip_more(start.min(0).unsigned_abs());
                        start
                    }
                }
            }
            Some(start) if lost => {
                let here = granule.saturating_sub(to_signed(page_frames));
                let missing = u64::try_from(here.saturating_sub(start).saturating_sub(decoded)).unwrap_or(0);
                let filled = missing.min(GAP_FILLED_MS_MAX * u64::from(self.granule_rate_hz) / 1_000);
                self.gap_frames = scale_frames(filled, self.granule_rate_hz, self.output_rate_hz);
                here.saturating_sub(decoded).saturating_sub(to_signed(filled))
            }
            Some(start) => start,
        };
        self.start = Some(start);
        if page.ends {
            let end = u64::try_from(granule.saturating_sub(start)).unwrap_or(0);
            self.segment.trim.set_end(scale_frames(end, self.granule_rate_hz, self.output_rate_hz));
        }
    }

    /// Frames of all packets that end on a page.
    fn page_frames(&self, page: &Page, bytes: &[u8], first: Option<&[u8]>) -> u64 {
        let (mut page, mut times, mut frames) = (*page, self.times, 0);
        while let Some(piece) = page.next_piece(bytes) {
            if piece.complete {
                match first {
                    Some(first) if piece.continues => frames += times.next(first),
                    None if piece.continues => {}
                    Some(_) | None => frames += times.next(&bytes[piece.start..piece.end]),
                }
            }
        }
        frames
    }
}

fn to_signed(frames: u64) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}
