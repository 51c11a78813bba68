//! WebM and Matroska (RFC 9559), read as a live stream: elements as they come, of unknown size where a recorder wrote them so.
//!
//! Elements are told apart by their identifiers alone, not by where their parents end: identifiers are unique at all levels that
//! are read here, recorders leave the parents' sizes open, and after damage there is no parent to trust.

mod block;
mod ebml;
mod lace;
mod pcm;
#[cfg(test)]
mod tests;
mod track;

use ebml::{HEADER_BYTES_MAX, Header, Read, id, read_header};
use lace::Lace;
use track::Track;

use super::codec::Tally;
use super::feed::{self, Feed, MARK_BYTES, Progress};
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, Step};

const NAME: &str = "WebM";

/// Bytes of an EBML header: real ones have about 40.
const EBML_BYTES_MAX: u64 = 4 << 10;

/// Bytes of a `Tracks` element: the largest part is a codec's set-up, for Vorbis some 4 to 8 KiB a track, comments aside.
const TRACKS_BYTES_MAX: u64 = 512 << 10;

/// Bytes of a block that is held whole: 100 ms of the largest PCM taken in (192 kHz, 8 channels, 32 bit) is 0.6 MB.
pub(super) const BLOCK_BYTES_MAX: u64 = 1 << 20;

/// Bytes of an element that the standard knows but that says nothing about the sound: attachments are pictures and fonts.
const SKIPPED_BYTES_MAX: u64 = 256 << 20;

/// Bytes of an element that is not known: more is damage, and taking it for an element would swallow the stream.
const UNKNOWN_BYTES_MAX: u64 = 64 << 10;

/// Bytes passed over in search of the next cluster before the stream is given up: half an hour of a voice recorder's.
const RESYNC_BYTES_MAX: u64 = 8 << 20;

/// Memory the carried bytes keep once an element has been read: an Opus packet fits, a codec's set-up does not need to.
const CARRY_KEPT_BYTES: usize = 4 << 10;

/// Where a damaged stream can be found again: a cluster, or a recorder's new beginning.
const MARKS: [[u8; MARK_BYTES]; 2] = [id::CLUSTER.to_be_bytes(), id::EBML.to_be_bytes()];

/// What stands at the front of the stream.
enum State {
    /// An element's header.
    Element,
    /// So many bytes that say nothing.
    Skip(u64),
    /// So many bytes of PCM.
    Pcm(u64),
    /// Damage, so many bytes of it so far.
    Resync(u64),
}

/// The decoder.
pub(super) struct Webm {
    params: DecodeParams,
    carry: Vec<u8>,
    state: State,
    lace: Lace,
    track: Option<Track>,
    begun: bool,
    opened: bool,
    tally: Tally,
}

impl Webm {
    /// A decoder for a stream from its beginning.
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self {
            params: *params,
            carry: Vec::new(),
            state: State::Element,
            lace: Lace::default(),
            track: None,
            begun: false,
            opened: false,
            tally: Tally::default(),
        }
    }

    fn look(&mut self, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Result<Progress, DecodeError> {
        if self.lace.is_done() { self.advance(feed, out) } else { Ok(self.laced_frame(out)) }
    }

    fn advance(&mut self, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Result<Progress, DecodeError> {
        match self.state {
            State::Element => self.element(feed, out),
            State::Skip(left) => {
                let left = left - feed.skip(left);
                self.state = if left == 0 { State::Element } else { State::Skip(left) };
                Ok(if left == 0 { Progress::On } else { Progress::Starved })
            }
            State::Pcm(left) => Ok(self.pcm(left, feed, out)),
            State::Resync(before) => {
                let (skipped, found) = feed.skip_to(&MARKS);
                let bytes = before + skipped;
                if bytes > RESYNC_BYTES_MAX {
                    let what = "no cluster was found again after damage";
                    return Err(DecodeError::Malformed { container: NAME, what });
                }
                if !found {
                    self.state = State::Resync(bytes);
                    return Ok(Progress::Starved);
                }
                out.warnings.push(DecodeWarning::Resynced { container: NAME, bytes });
                self.state = State::Element;
                Ok(Progress::On)
            }
        }
    }

    /// Passes over at least one byte and then up to the next mark.
    fn damaged(&mut self, feed: &mut Feed<'_>) -> Result<Progress, DecodeError> {
        if !self.begun {
            return Err(DecodeError::Malformed {
                container: NAME,
                what: "the stream does not begin with an EBML header",
            });
        }
        self.state = State::Resync(feed.skip(1));
        Ok(Progress::On)
    }

    fn element(&mut self, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Result<Progress, DecodeError> {
        let mut need = 2;
        let header = loop {
            let Some(front) = feed.peek(need) else { return Ok(Progress::Starved) };
            match read_header(front) {
                Read::Whole(header) => break header,
                Read::Need(more) => need = more,
                Read::Damaged => return self.damaged(feed),
            }
        };
        debug_assert!(header.bytes <= HEADER_BYTES_MAX);
        if !self.begun && header.id != id::EBML {
            return self.damaged(feed);
        }
        match (header.id, header.size) {
            (id::SEGMENT | id::CLUSTER, _) => {
                feed.take(header.bytes);
                Ok(Progress::On)
            }
            (id::EBML, Some(size)) if size <= EBML_BYTES_MAX => self.whole(header, size, feed, |webm, content| {
                track::check_document(content)?;
                // A recorder that begins anew describes its tracks anew; the timeline goes on.
                webm.begun = true;
                webm.track = None;
                Ok(())
            }),
            (id::TRACKS, Some(size)) if size > TRACKS_BYTES_MAX => Err(DecodeError::TooLarge {
                container: NAME,
                what: "the size of the Tracks element in bytes",
                limit: TRACKS_BYTES_MAX,
            }),
            (id::TRACKS, Some(size)) => self.whole(header, size, feed, |webm, content| {
                webm.track = Some(track::open_track(content, &webm.params)?);
                webm.opened = true;
                Ok(())
            }),
            (id::SIMPLE_BLOCK | id::BLOCK, Some(size)) => self.block(header, size, feed, out),
            (id::BLOCK_GROUP, Some(size)) => self.block_group(header, size, feed, out),
            (_, Some(size)) if size <= skip_limit(header.id) => {
                feed.take(header.bytes);
                self.state = State::Skip(size);
                Ok(Progress::On)
            }
            (_, _) => self.damaged(feed),
        }
    }

    /// Reads an element that is small enough to be held whole.
    fn whole(
        &mut self,
        header: Header,
        size: u64,
        feed: &mut Feed<'_>,
        read: impl FnOnce(&mut Self, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<Progress, DecodeError> {
        let total = header.bytes + size as usize;
        let Some(element) = feed.peek(total) else { return Ok(Progress::Starved) };
        read(self, &element[header.bytes..total])?;
        feed.take(total);
        feed.carry.shrink_to(CARRY_KEPT_BYTES);
        Ok(Progress::On)
    }
}

impl Decoder for Webm {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let mut carry = std::mem::take(&mut self.carry);
        let step = feed::step(&mut carry, input, out, |feed, out| self.look(feed, out));
        self.carry = carry;
        let Step { consumed, more } = step?;
        Ok(Step { consumed, more: more || !self.lace.is_done() })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        let bytes = self.carry.len() as u64;
        if bytes > 0 {
            out.warnings.push(match self.state {
                State::Resync(before) => DecodeWarning::Resynced { container: NAME, bytes: before + bytes },
                State::Element | State::Skip(_) | State::Pcm(_) => {
                    DecodeWarning::TruncatedTail { what: "element", bytes }
                }
            });
        }
        self.carry = Vec::new();
        self.state = State::Element;
        if !self.opened && (self.begun || bytes > 0) {
            return Err(DecodeError::Malformed {
                container: NAME,
                what: "the stream ended before its tracks were described",
            });
        }
        self.tally.check(NAME)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.carry.len() + self.lace.pending_bytes()
    }
}

/// Bytes an element may have that is passed over unread.
fn skip_limit(id: u32) -> u64 {
    match id {
        id::VOID | id::SEEK_HEAD | id::INFO | id::CUES | id::CHAPTERS | id::ATTACHMENTS | id::TAGS => SKIPPED_BYTES_MAX,
        id::TIMESTAMP | id::POSITION | id::PREV_SIZE | id::CRC_32 => 8,
        _ => UNKNOWN_BYTES_MAX,
    }
}
