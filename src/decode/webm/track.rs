//! The header elements: what the document is and which track is decoded.

use super::ebml::{children, float, id, uint};
use super::pcm::PcmLayout;
use super::{BLOCK_BYTES_MAX, NAME};
use crate::audio::PcmSpec;
use crate::decode::codec::opus::{OPUS_RATE_HZ, OpusHead};
use crate::decode::codec::{self, CodecSetup, vorbis};
use crate::decode::segment::{Segment, Trim, scale_frames};
use crate::decode::{DecodeError, DecodeParams, header};

/// What becomes of the track's frames.
pub(super) enum Payload {
    /// Packets of a codec, `block_bytes_max` in a block at the most.
    Packets { segment: Segment, block_bytes_max: u64 },
    /// PCM.
    Pcm(PcmLayout),
}

/// The track that is decoded.
pub(super) struct Track {
    /// Its number in the blocks.
    pub(super) number: u64,
    /// What its frames are.
    pub(super) payload: Payload,
}

/// Bytes an Opus block may hold: the most packets a lace has would be far more, but a recorder laces at most a few, and
/// a single packet has 61,298 bytes at the most (RFC 6716 section 3.2: 48 frames of 1,275, and their lengths).
const OPUS_BLOCK_BYTES_MAX: u64 = 1 << 16;

/// Track type of audio (RFC 9559 section 5.1.4.1.3).
const TYPE_AUDIO: u64 = 2;

/// Checks the EBML header.
///
/// # Errors
/// [`DecodeError::Unsupported`] for another kind of document.
pub(super) fn check_document(content: &[u8]) -> Result<(), DecodeError> {
    let unsupported = |what| Err(DecodeError::Unsupported { container: NAME, what });
    for (id, value) in children(content) {
        match id {
            id::DOC_TYPE => {
                let name = value.split(|&b| b == 0).next().unwrap_or_default();
                if name != b"webm" && name != b"matroska" {
                    return unsupported(format!("document type '{}'", printable(name)));
                }
            }
            id::EBML_MAX_ID_LENGTH if uint(value).is_none_or(|n| n > 4) => {
                return unsupported("element identifiers of more than 4 bytes".to_owned());
            }
            id::EBML_MAX_SIZE_LENGTH if uint(value).is_none_or(|n| n > 8) => {
                return unsupported("element sizes of more than 8 bytes".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

fn printable(name: &[u8]) -> String {
    name.iter().take(32).map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
}

#[derive(Default)]
struct Entry<'a> {
    number: u64,
    track_type: u64,
    codec_id: &'a [u8],
    private: &'a [u8],
    delay_ns: Option<u64>,
    encoded: bool,
    rate_hz: f64,
    channels: u64,
    bits: u64,
}

impl<'a> Entry<'a> {
    fn parse(content: &'a [u8]) -> Self {
        // The defaults are the standard's (RFC 9559 section 5.1.4.1.29).
        let mut entry = Entry { rate_hz: 8_000.0, channels: 1, ..Entry::default() };
        for (id, value) in children(content) {
            match id {
                id::TRACK_NUMBER => entry.number = uint(value).unwrap_or(0),
                id::TRACK_TYPE => entry.track_type = uint(value).unwrap_or(0),
                id::CODEC_ID => entry.codec_id = value.split(|&b| b == 0).next().unwrap_or_default(),
                id::CODEC_PRIVATE => entry.private = value,
                id::CODEC_DELAY => entry.delay_ns = uint(value),
                id::CONTENT_ENCODINGS => entry.encoded = true,
                id::AUDIO => {
                    for (id, value) in children(value) {
                        match id {
                            id::SAMPLING_FREQUENCY => entry.rate_hz = float(value).unwrap_or(0.0),
                            id::CHANNELS => entry.channels = uint(value).unwrap_or(0),
                            id::BIT_DEPTH => entry.bits = uint(value).unwrap_or(0),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        entry
    }
}

/// Picks the first audio track of a `Tracks` element and opens its decoder.
///
/// # Errors
/// [`DecodeError`] where there is none, where it cannot be decoded, or where the declaration contradicts it.
pub(super) fn open_track(content: &[u8], params: &DecodeParams) -> Result<Track, DecodeError> {
    let unsupported = |what| DecodeError::Unsupported { container: NAME, what };
    let entry = children(content)
        .filter(|&(id, _)| id == id::TRACK_ENTRY)
        .map(|(_, value)| Entry::parse(value))
        .find(|entry| entry.track_type == TYPE_AUDIO)
        .ok_or_else(|| unsupported("a file without an audio track".to_owned()))?;
    if entry.encoded {
        return Err(unsupported("a compressed or encrypted track".to_owned()));
    }
    let payload = match entry.codec_id {
        b"A_OPUS" => {
            let head = OpusHead::parse(entry.private)?;
            let rates_hz = [OPUS_RATE_HZ, head.input_rate_hz];
            header::check_declared(&params.format, NAME, &rates_hz, &[u32::from(head.channels)])?;
            let pre_skip = scale_frames(u64::from(head.pre_skip), OPUS_RATE_HZ, params.output.rate_hz);
            let setup = CodecSetup::Opus { head: entry.private };
            packets(setup, pre_skip, params.output.rate_hz, OPUS_BLOCK_BYTES_MAX, &entry, params)?
        }
        b"A_VORBIS" => {
            let (ident, setup) = vorbis_headers(entry.private)
                .ok_or(DecodeError::Malformed { container: NAME, what: "the Vorbis headers are damaged" })?;
            let spec = vorbis::Headers::parse(ident, setup)?.spec;
            header::check(params, NAME, spec.rate_hz, u32::from(spec.channels))?;
            packets(CodecSetup::Vorbis { ident, setup }, 0, spec.rate_hz, BLOCK_BYTES_MAX, &entry, params)?
        }
        b"A_FLAC" => {
            // `fLaC`, a block header, STREAMINFO.
            let streaminfo = entry.private.get(8..42).filter(|_| entry.private.starts_with(b"fLaC"));
            let streaminfo =
                streaminfo.ok_or(DecodeError::Malformed { container: NAME, what: "the FLAC header is damaged" })?;
            let PcmSpec { rate_hz, .. } = plain_format(&entry, params)?;
            packets(CodecSetup::Flac { streaminfo }, 0, rate_hz, BLOCK_BYTES_MAX, &entry, params)?
        }
        b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG" | b"A_PCM/FLOAT/IEEE" => {
            let layout = PcmLayout::new(entry.codec_id, entry.bits, plain_format(&entry, params)?)
                .ok_or_else(|| unsupported(format!("{} of {} bits", printable(entry.codec_id), entry.bits)))?;
            Payload::Pcm(layout)
        }
        other => {
            let what = format!("the codec '{}' (A_OPUS, A_VORBIS, A_FLAC and A_PCM are decoded)", printable(other));
            return Err(unsupported(what));
        }
    };
    Ok(Track { number: entry.number, payload })
}

/// Identification and set-up header of three laced as in Xiph's lacing: a count less one, two sizes, three packets.
fn vorbis_headers(private: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = private.strip_prefix(&[2])?;
    let mut sizes = [0usize; 2];
    for size in &mut sizes {
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            *size += usize::from(byte);
            if byte < 255 {
                break;
            }
        }
    }
    let ident = rest.get(..sizes[0])?;
    let setup = rest.get(sizes[0].checked_add(sizes[1])?..)?;
    Some((ident, setup))
}

fn packets(
    setup: CodecSetup<'_>,
    pre_skip: u64,
    output_rate_hz: u32,
    block_bytes_max: u64,
    entry: &Entry<'_>,
    params: &DecodeParams,
) -> Result<Payload, DecodeError> {
    let codec = codec::open(setup, params.output)?;
    let skip = match entry.delay_ns {
        Some(ns) => scale_frames(ns, NS_PER_S, output_rate_hz),
        None => pre_skip,
    };
    let segment = Segment { codec, trim: Trim::new(skip) };
    Ok(Payload::Packets { segment, block_bytes_max })
}

/// Nanoseconds a second, the unit of delays and paddings.
pub(super) const NS_PER_S: u32 = 1_000_000_000;

/// Rate and channels of a track whose own header gives them.
fn plain_format(entry: &Entry<'_>, params: &DecodeParams) -> Result<PcmSpec, DecodeError> {
    // The casts saturate: what is no rate or count is out of range then.
    header::check(params, NAME, entry.rate_hz.round() as u32, u32::try_from(entry.channels).unwrap_or(u32::MAX))
}
