//! MP4, the ISO base media file format (ISO/IEC 14496-12): fragmented as recorders stream it, with its index in front, or at the end.
//!
//! A sample is decoded once its bytes are there; nothing of a fragment is kept after it. Knows boxes, not codecs.

mod boxes;
mod fragment;
mod held;
mod movie;
mod resync;
mod table;
mod track;

use boxes::{BoxHeader, FourCc, HeaderRead};
use held::Held;
use movie::TrackCodec;
use table::SampleTable;
use track::Track;

use super::codec::Openings;
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, Step, header};
use crate::audio::PcmSpec;

/// The container's name in messages.
pub(crate) const NAME: &str = "MP4";

/// Bytes a `moov` may have: the tables of some ten hours of AAC beside a video track's.
const MOOV_BYTES_MAX: u64 = 16 << 20;

/// Bytes a `moof` may have: full tables of [`fragment::SAMPLES_PER_FRAGMENT_MAX`] samples.
const MOOF_BYTES_MAX: u64 = 2 << 20;

/// Bytes of one packet: twice a FLAC frame of the most samples, eight channels and 24 bits. Its size is claimed by tables.
const SAMPLE_BYTES_MAX: u32 = 4 << 20;

/// Boxes a file or a recorder's first chunk can begin with.
const FIRST_BOXES: [&FourCc; 11] =
    [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"free", b"skip", b"wide", b"uuid", b"pnot"];

const NO_BOXES: DecodeError =
    DecodeError::Malformed { container: NAME, what: "the stream does not begin with a box of MP4" };

/// Size of a box that reaches to the end of the file.
const OPEN_ENDED: u64 = u64::MAX;

/// Where a packet lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// From the beginning of the file.
    offset: u64,
    bytes: u32,
    /// In ticks of the track.
    duration: u32,
}

/// Samples of the same size and duration, one right behind the other.
#[derive(Clone, Copy, Debug)]
struct SampleRun {
    first: Sample,
    count: u32,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The header of a top-level box.
    Header,
    /// A `moov` or `moof`, collected whole.
    Collect { kind: FourCc, left: u64 },
    /// A box that is passed over.
    Skip { left: u64 },
    /// Media data of known samples.
    Media { left: u64 },
    /// Media data before its index.
    Hold { left: u64 },
    /// No input is taken: held media data is decoded.
    Drain,
    /// Damage: a box is looked for.
    Lost { skipped: u64 },
}

/// The decoder of `mp4` streams.
pub(super) struct Mp4 {
    params: DecodeParams,
    state: State,
    /// Bytes since the file began: a second `ftyp` begins a file.
    position: u64,
    /// Where the box at hand begins.
    box_start: u64,
    head: Vec<u8>,
    body: Vec<u8>,
    packet: Vec<u8>,
    held: Held,
    track: Option<Track>,
    openings: Openings,
    /// Whether a movie header was read: the stream is MP4, and damage in it can be survived.
    begun: bool,
    /// Whether a packet was decoded in this step: it ends then, though all of its audio may have been priming.
    decoded: bool,
    /// Whether the declaration has still to be compared to the first packet, where no header tells rate and channels.
    check_first_packet: bool,
}

impl Mp4 {
    /// A decoder at the beginning of a stream; opens no codec yet.
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self {
            params: *params,
            state: State::Header,
            position: 0,
            box_start: 0,
            head: Vec::new(),
            body: Vec::new(),
            packet: Vec::new(),
            held: Held::default(),
            track: None,
            openings: Openings::default(),
            begun: false,
            decoded: false,
            check_first_packet: false,
        }
    }

    /// Goes on by one state's worth: the bytes taken, and whether the caller must see to `out` before any more.
    fn advance(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<usize, DecodeError> {
        match self.state {
            State::Header => self.header(input),
            State::Collect { kind, left } => self.collect(kind, left, input, out),
            State::Skip { left } => {
                let (taken, left) = self.pass(left, input.len());
                self.state = if left == 0 { State::Header } else { State::Skip { left } };
                Ok(taken)
            }
            State::Media { left: 0 } => {
                if !self.packet.is_empty() {
                    // The sample reaches past the end of its box.
                    self.packet.clear();
                    if let Some(track) = &mut self.track {
                        track.skip(out);
                    }
                }
                self.state = State::Header;
                Ok(0)
            }
            State::Media { left } => self.media(left, input, out),
            State::Hold { left } => {
                let (taken, left) = self.pass(left, input.len());
                self.held.push(&input[..taken]);
                self.state = if left == 0 { State::Header } else { State::Hold { left } };
                Ok(taken)
            }
            State::Drain => self.drain(out).map(|()| 0),
            State::Lost { skipped } => self.search(skipped, input, out),
        }
    }

    /// Takes at most `available` of `left` bytes: how many, and what is left then.
    fn pass(&mut self, left: u64, available: usize) -> (usize, u64) {
        let taken = usize::try_from(left).map_or(available, |left| left.min(available));
        self.position = self.position.saturating_add(taken as u64);
        (taken, if left == OPEN_ENDED { left } else { left - taken as u64 })
    }

    fn header(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let mut taken = 0;
        loop {
            match BoxHeader::read(&self.head) {
                HeaderRead::Whole(header) => {
                    self.head.clear();
                    self.box_start = self.position - header.header_bytes;
                    if self.box_start == 0 && !FIRST_BOXES.contains(&&header.kind) {
                        return Err(NO_BOXES);
                    }
                    self.begin_box(header)?;
                    return Ok(taken);
                }
                HeaderRead::Needs(bytes) => {
                    let more = (bytes - self.head.len()).min(input.len() - taken);
                    if more == 0 {
                        return Ok(taken);
                    }
                    self.head.extend_from_slice(&input[taken..taken + more]);
                    self.position += more as u64;
                    taken += more;
                }
                HeaderRead::Broken if self.begun => {
                    self.state = State::Lost { skipped: 0 };
                    return Ok(taken);
                }
                HeaderRead::Broken => return Err(NO_BOXES),
            }
        }
    }

    fn begin_box(&mut self, header: BoxHeader) -> Result<(), DecodeError> {
        let BoxHeader { kind, header_bytes, body_bytes } = header;
        let left = body_bytes.unwrap_or(OPEN_ENDED);
        self.state = match &kind {
            b"moov" | b"moof" => self.begin_collect(kind, left)?,
            b"mdat" if self.track.is_some() => State::Media { left },
            b"mdat" => self.begin_hold(left)?,
            b"ftyp" if self.track.is_some() => {
                // Another file begins: its offsets count from here, and its index is another.
                self.track = None;
                self.position = header_bytes;
                self.box_start = 0;
                State::Skip { left }
            }
            _ => State::Skip { left },
        };
        if matches!(self.state, State::Skip { left: 0 } | State::Hold { left: 0 }) {
            self.state = State::Header;
        }
        Ok(())
    }

    fn begin_collect(&mut self, kind: FourCc, left: u64) -> Result<State, DecodeError> {
        let (what, limit) = if &kind == b"moov" {
            ("the size of the movie header (moov) in bytes", MOOV_BYTES_MAX)
        } else if self.track.is_some() {
            ("the size of a movie fragment (moof) in bytes", MOOF_BYTES_MAX)
        } else {
            let what =
                "a fragment came before the movie header (moov): a stream must begin with the recorder's first chunk";
            return Err(DecodeError::Malformed { container: NAME, what });
        };
        if left > limit {
            return Err(DecodeError::TooLarge { container: NAME, what, limit });
        }
        self.body.clear();
        Ok(State::Collect { kind, left })
    }

    fn begin_hold(&mut self, left: u64) -> Result<State, DecodeError> {
        self.held.begin(self.position, left, self.params.whole_file_bytes_max as u64)?;
        Ok(State::Hold { left })
    }

    fn collect(&mut self, kind: FourCc, left: u64, input: &[u8], out: &mut DecodeOut) -> Result<usize, DecodeError> {
        let (taken, left) = self.pass(left, input.len());
        self.body.extend_from_slice(&input[..taken]);
        if left > 0 {
            self.state = State::Collect { kind, left };
            return Ok(taken);
        }
        self.state = State::Header;
        if &kind == b"moov" {
            self.begin_movie()?;
        } else if let Some(track) = &mut self.track {
            let sound = track.add_fragment(&self.body, self.box_start, self.position)?;
            if !sound {
                out.warnings.push(DecodeWarning::PacketSkipped { codec: track.codec_name() });
            }
            self.body.clear();
        }
        Ok(taken)
    }

    /// A movie begins: at the start of the stream, or where a recorder was restarted in it.
    fn begin_movie(&mut self) -> Result<(), DecodeError> {
        self.openings.note(NAME)?;
        let moov = std::mem::take(&mut self.body);
        let audio = movie::read(&moov)?;
        self.check_first_packet = false;
        match (&audio.codec, audio.spec) {
            (TrackCodec::Aac(config), _) => config.check_declared(&self.params.format, NAME)?,
            (_, Some(spec)) => {
                header::check(&self.params, NAME, spec.rate_hz, u32::from(spec.channels))?;
            }
            (_, None) => self.check_first_packet = true,
        }
        let table = SampleTable::read(moov)?;
        if table.is_none() && !audio.is_fragmented {
            return Err(DecodeError::Malformed {
                container: NAME,
                what: "the audio track has no samples and no fragments",
            });
        }
        self.track = Some(Track::open(&audio, table, self.params.output)?);
        self.begun = true;
        if !self.held.is_empty() {
            self.state = State::Drain;
        }
        Ok(())
    }

    fn media(&mut self, left: u64, input: &[u8], out: &mut DecodeOut) -> Result<usize, DecodeError> {
        let Some(track) = &mut self.track else { return Ok(self.skip_media(left, input)) };
        let Some(sample) = track.peek()? else { return Ok(self.skip_media(left, input)) };
        if sample.bytes > SAMPLE_BYTES_MAX {
            let what = "the size of a packet in bytes";
            return Err(DecodeError::TooLarge { container: NAME, what, limit: u64::from(SAMPLE_BYTES_MAX) });
        }
        let begun = self.packet.len() as u64;
        if sample.offset + begun > self.position {
            // Other tracks' data, or none: up to the sample, or the end of the box.
            let gap = sample.offset.saturating_sub(self.position).min(left);
            let (taken, _) = self.pass(gap, input.len());
            self.state = State::Media { left: shorten(left, taken) };
            return Ok(taken);
        }
        if sample.offset + begun < self.position {
            // Its bytes have passed by.
            track.skip(out);
            return Ok(0);
        }
        let wanted = (u64::from(sample.bytes) - begun).min(left);
        if begun == 0 && wanted == u64::from(sample.bytes) && wanted <= input.len() as u64 {
            track.play(&input[..wanted as usize], out);
            let (taken, _) = self.pass(wanted, input.len());
            self.state = State::Media { left: shorten(left, taken) };
            return self.check_played(out).map(|()| taken);
        }
        let (taken, _) = self.pass(wanted, input.len());
        self.packet.extend_from_slice(&input[..taken]);
        self.state = State::Media { left: shorten(left, taken) };
        if self.packet.len() == sample.bytes as usize {
            if let Some(track) = &mut self.track {
                track.play(&self.packet, out);
            }
            self.packet.clear();
            self.check_played(out)?;
        }
        Ok(taken)
    }

    fn skip_media(&mut self, left: u64, input: &[u8]) -> usize {
        let (taken, left) = self.pass(left, input.len());
        self.state = State::Media { left };
        taken
    }

    /// Ends the step after a packet.
    fn check_played(&mut self, out: &DecodeOut) -> Result<(), DecodeError> {
        self.decoded = true;
        if self.check_first_packet && !out.pcm.samples.is_empty() {
            self.check_first_packet = false;
            let PcmSpec { rate_hz, channels } = out.pcm.spec;
            header::check_declared(&self.params.format, NAME, &[rate_hz], &[u32::from(channels)])?;
        }
        Ok(())
    }

    /// Decodes one sample of the held media data; the memory goes with the last.
    fn drain(&mut self, out: &mut DecodeOut) -> Result<(), DecodeError> {
        let sample = match &mut self.track {
            Some(track) => track.peek()?,
            None => None,
        };
        match (sample, &mut self.track) {
            (Some(sample), Some(track)) if sample.offset < self.position => match self.held.get(sample) {
                Some(packet) => track.play(packet, out),
                None => track.skip(out),
            },
            // The rest, if any, lies behind the index.
            (Some(_) | None, _) => {
                self.held = Held::default();
                self.state = State::Header;
            }
        }
        self.check_played(out)
    }
}

fn shorten(left: u64, taken: usize) -> u64 {
    if left == OPEN_ENDED { left } else { left - taken as u64 }
}

impl Decoder for Mp4 {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let mut consumed = 0;
        loop {
            let draining = matches!(self.state, State::Drain);
            let at_end = matches!(self.state, State::Media { left: 0 });
            if consumed == input.len() && !draining && !at_end {
                return Ok(Step { consumed, more: false });
            }
            consumed += self.advance(&input[consumed..], out)?;
            if self.decoded || !out.warnings.is_empty() {
                self.decoded = false;
                return Ok(Step { consumed, more: true });
            }
        }
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        if matches!(self.state, State::Drain) {
            self.drain(out)?;
            return Ok(true);
        }
        if !self.begun && self.position > 0 {
            let what = "the stream ended before its index (moov) came";
            return Err(DecodeError::Malformed { container: NAME, what });
        }
        let unfinished = match self.state {
            State::Header | State::Lost { .. } => !self.head.is_empty(),
            State::Collect { .. } => true,
            State::Skip { left } | State::Media { left } | State::Hold { left } => {
                !self.packet.is_empty() || (left > 0 && left != OPEN_ENDED)
            }
            State::Drain => false,
        };
        if unfinished {
            let bytes = self.pending_bytes() as u64;
            out.warnings.push(DecodeWarning::TruncatedTail { what: "box", bytes });
        }
        self.head.clear();
        self.body.clear();
        self.packet.clear();
        self.state = State::Header;
        self.track.as_ref().map_or(Ok(()), Track::check)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.head.len() + self.body.len() + self.packet.len() + self.held.len()
    }
}

#[cfg(test)]
mod tests;
