//! The movie box (`moov`, ISO/IEC 14496-12 section 8.2.1): the first audio track, its codec, its edit list, its fragment defaults.
//! Knows neither samples' places (`table`, `fragment`) nor the stream.

use super::boxes::{Children, FourCc, Reader, child, descend};
use crate::audio::PcmSpec;
use crate::decode::codec::{CodecSetup, aac};
use crate::decode::{DecodeError, mp4};

/// A codec as its sample entry describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TrackCodec {
    /// AAC with its AudioSpecificConfig.
    Aac(Box<aac::Config>),
    /// MPEG audio.
    Mp3,
    /// Opus with its identification header, rewritten from `dOps`.
    Opus(Vec<u8>),
    /// FLAC with its STREAMINFO.
    Flac(Vec<u8>),
    /// ALAC with its magic cookie.
    Alac(Vec<u8>),
}

impl TrackCodec {
    /// What the codec's decoder is opened with.
    pub(super) fn setup(&self) -> CodecSetup<'_> {
        match self {
            Self::Aac(config) => CodecSetup::Aac { config },
            Self::Mp3 => CodecSetup::Mp3,
            Self::Opus(head) => CodecSetup::Opus { head },
            Self::Flac(streaminfo) => CodecSetup::Flac { streaminfo },
            Self::Alac(cookie) => CodecSetup::Alac { cookie },
        }
    }
}

/// Which part of the media is presented (edit list, section 8.6.6; Opus pre-skip), in units of the track's timescale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Presentation {
    /// Priming to leave out at the front.
    pub(super) skip_ticks: u64,
    /// How much is presented after that, where the file says so.
    pub(super) length_ticks: Option<u64>,
}

/// Defaults for the samples of a track's fragments (`trex`, section 8.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SampleDefaults {
    pub(super) duration: u32,
    pub(super) size: u32,
}

/// The first audio track of a movie.
#[derive(Clone, Debug)]
pub(super) struct AudioTrack {
    /// `track_ID`.
    pub(super) id: u32,
    /// Ticks a second of the track's durations.
    pub(super) timescale: u32,
    /// Its codec.
    pub(super) codec: TrackCodec,
    /// Rate and channels as the codec's own set-up data gives them; Opus always says 48 kHz. None for AAC and MPEG audio, whose packets
    /// say it.
    pub(super) spec: Option<PcmSpec>,
    /// What of it is presented.
    pub(super) presentation: Presentation,
    /// Whether the movie goes on in fragments.
    pub(super) is_fragmented: bool,
    /// Defaults for its fragments.
    pub(super) defaults: SampleDefaults,
}

const MALFORMED: DecodeError =
    DecodeError::Malformed { container: mp4::NAME, what: "the movie header (moov) is damaged" };

fn unsupported(what: impl Into<String>) -> DecodeError {
    DecodeError::Unsupported { container: mp4::NAME, what: what.into() }
}

/// The first audio track of a `moov` body.
pub(super) fn find_audio_trak(moov: &[u8]) -> Option<&[u8]> {
    Children::of(moov).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body).find(|trak| {
        // handler_type follows version, flags and pre_defined (section 8.4.3).
        descend(trak, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)) == Some(b"soun")
    })
}

/// Reads the first audio track of a `moov` body.
///
/// # Errors
/// [`DecodeError::Unsupported`] where there is none or its codec is not decoded, [`DecodeError::Malformed`] where it cannot be read.
pub(super) fn read(moov: &[u8]) -> Result<AudioTrack, DecodeError> {
    let trak = find_audio_trak(moov).ok_or_else(|| unsupported("a file without an audio track"))?;
    let id = child(trak, b"tkhd").and_then(track_id).ok_or(MALFORMED)?;
    let timescale = descend(trak, &[b"mdia", b"mdhd"]).and_then(timescale_of).filter(|&t| t > 0).ok_or(MALFORMED)?;
    let stsd = descend(trak, &[b"mdia", b"minf", b"stbl", b"stsd"]).ok_or(MALFORMED)?;
    let Entry { codec, spec, pre_skip } = sample_entry(stsd)?;
    let mvex = child(moov, b"mvex");
    let movie_timescale = child(moov, b"mvhd").and_then(timescale_of).unwrap_or(0);
    let mut presentation = descend(trak, &[b"edts", b"elst"])
        .and_then(|elst| edit_list(elst, movie_timescale, timescale))
        .unwrap_or_default();
    // The edit list of an Opus track starts after the pre-skip (Opus in ISOBMFF section 4.4), but many files have none or one that
    // starts at 0: the longer of the two is right in every case, their sum in none.
    presentation.skip_ticks = presentation.skip_ticks.max(u64::from(pre_skip) * u64::from(timescale) / 48_000);
    if mvex.is_some() {
        // The durations in a live recording's header are those of when it was written: none, or too short.
        presentation.length_ticks = None;
    }
    let defaults = mvex.and_then(|mvex| track_defaults(mvex, id)).unwrap_or_default();
    Ok(AudioTrack { id, timescale, codec, spec, presentation, is_fragmented: mvex.is_some(), defaults })
}

fn track_id(tkhd: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(tkhd);
    let (version, _) = reader.full_box()?;
    reader.sized(version)?;
    reader.sized(version)?;
    reader.u32()
}

/// The timescale of `mdhd` (section 8.4.2), which stands where that of `mvhd` (section 8.2.2) does.
fn timescale_of(header: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(header);
    let (version, _) = reader.full_box()?;
    reader.sized(version)?;
    reader.sized(version)?;
    reader.u32()
}

fn track_defaults(mvex: &[u8], id: u32) -> Option<SampleDefaults> {
    Children::of(mvex).filter(|(kind, _)| kind == b"trex").find_map(|(_, trex)| {
        let mut reader = Reader::new(trex);
        reader.full_box()?;
        if reader.u32()? != id {
            return None;
        }
        reader.u32()?;
        Some(SampleDefaults { duration: reader.u32()?, size: reader.u32()? })
    })
}

/// The first edit that shows media; empty edits before it only say when. Several such edits: only the start is taken from them.
fn edit_list(elst: &[u8], movie_timescale: u32, timescale: u32) -> Option<Presentation> {
    let mut reader = Reader::new(elst);
    let (version, _) = reader.full_box()?;
    let count = reader.u32()?;
    let mut found: Option<Presentation> = None;
    for _ in 0..count {
        let (Some(duration), Some(start)) = (reader.sized(version), reader.sized(version)) else { break };
        reader.u32()?;
        let empty = if version == 0 { start == u64::from(u32::MAX) } else { start == u64::MAX };
        if empty {
            continue;
        }
        match &mut found {
            None => {
                let length_ticks = edit_length(duration, movie_timescale, timescale);
                found = Some(Presentation { skip_ticks: start, length_ticks });
            }
            Some(first) => {
                first.length_ticks = None;
                break;
            }
        }
    }
    found
}

/// An edit's duration in ticks of the track. It is given in the movie's timescale, often milliseconds: where that is the coarser
/// one, a whole unit of it is allowed for rounding, and the samples' own durations settle the rest.
fn edit_length(duration: u64, movie_timescale: u32, timescale: u32) -> Option<u64> {
    if duration == 0 || movie_timescale == 0 {
        return None;
    }
    let slack = u64::from(!movie_timescale.is_multiple_of(timescale));
    let ticks = u128::from(duration + slack) * u128::from(timescale) / u128::from(movie_timescale);
    u64::try_from(ticks).ok()
}

struct Entry {
    codec: TrackCodec,
    spec: Option<PcmSpec>,
    /// At 48 kHz, Opus only.
    pre_skip: u16,
}

/// The first sample entry (section 8.5.2, AudioSampleEntry 12.2.3, QuickTime's sound description versions 1 and 2).
fn sample_entry(stsd: &[u8]) -> Result<Entry, DecodeError> {
    let (kind, body) = Children::of(stsd.get(8..).ok_or(MALFORMED)?).next().ok_or(MALFORMED)?;
    let mut reader = Reader::new(body);
    reader.take(8).ok_or(MALFORMED)?;
    let version = reader.u16().ok_or(MALFORMED)?;
    reader.take(18).ok_or(MALFORMED)?;
    reader.take(match version {
        1 => 16,
        2 => 36,
        _ => 0,
    });
    let extensions = reader.rest();
    let entry = match &kind {
        b"mp4a" => mp4a(extensions),
        b".mp3" => Ok(Entry { codec: TrackCodec::Mp3, spec: None, pre_skip: 0 }),
        b"Opus" => child(extensions, b"dOps").and_then(opus).ok_or(MALFORMED),
        b"fLaC" => child(extensions, b"dfLa").and_then(flac).ok_or(MALFORMED),
        b"alac" => child(extensions, b"alac")
            .or_else(|| descend(extensions, &[b"wave", b"alac"]))
            .and_then(alac)
            .ok_or(MALFORMED),
        b"enca" => Err(unsupported("encrypted audio")),
        other => {
            Err(unsupported(format!("the codec '{}' (AAC, Opus, FLAC, ALAC and MP3 are decoded)", printable(other))))
        }
    }?;
    Ok(entry)
}

fn printable(kind: &FourCc) -> String {
    kind.iter().map(|&c| if c.is_ascii_graphic() { char::from(c) } else { '.' }).collect()
}

/// MPEG-4 audio: the object type and decoder configuration of the ES descriptor (ISO/IEC 14496-1 section 7.2.6, 14496-14 section 5.6).
fn mp4a(extensions: &[u8]) -> Result<Entry, DecodeError> {
    let esds = child(extensions, b"esds").or_else(|| descend(extensions, &[b"wave", b"esds"])).ok_or(MALFORMED)?;
    let (object_type, config) = decoder_config(esds).ok_or(MALFORMED)?;
    match object_type {
        // MPEG-4 audio, MPEG-2 AAC of the three profiles.
        0x40 | 0x66..=0x68 => {
            let config = config.ok_or(MALFORMED)?;
            Ok(Entry { codec: TrackCodec::Aac(Box::new(aac::Config::read(config)?)), spec: None, pre_skip: 0 })
        }
        // MPEG-2 and MPEG-1 audio.
        0x69 | 0x6b => Ok(Entry { codec: TrackCodec::Mp3, spec: None, pre_skip: 0 }),
        other => Err(unsupported(format!("MPEG-4 object type 0x{other:02x} (AAC and MP3 are decoded)"))),
    }
}

/// objectTypeIndication and DecoderSpecificInfo of an `esds` body.
fn decoder_config(esds: &[u8]) -> Option<(u8, Option<&[u8]>)> {
    let mut reader = Reader::new(esds.get(4..)?);
    let mut es = Reader::new(descriptor(&mut reader, 3)?);
    es.u16()?;
    let flags = es.u8()?;
    if flags & 0x80 != 0 {
        es.u16()?;
    }
    if flags & 0x40 != 0 {
        let length = es.u8()?;
        es.take(usize::from(length))?;
    }
    if flags & 0x20 != 0 {
        es.u16()?;
    }
    let mut config = Reader::new(descriptor(&mut es, 4)?);
    let object_type = config.u8()?;
    config.take(12)?;
    Some((object_type, descriptor(&mut config, 5)))
}

/// The body of the descriptor that comes next, if it has the tag (ISO/IEC 14496-1 section 8.3.3: sizes of seven bits a byte).
fn descriptor<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<&'a [u8]> {
    if reader.u8()? != tag {
        return None;
    }
    let mut length = 0;
    for _ in 0..4 {
        let byte = reader.u8()?;
        length = (length << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    // A length past the end is cut: some writers count the padding of the length field itself.
    let available = reader.rest().len();
    reader.take(length.min(available))
}

/// `dOps` (Opus in ISOBMFF section 4.3.2), big-endian, as the little-endian OpusHead of RFC 7845 section 5.1. The pre-skip goes
/// to the presentation, and the header says none: what is trimmed by both is trimmed twice.
fn opus(dops: &[u8]) -> Option<Entry> {
    let mut reader = Reader::new(dops);
    let (version, channels, pre_skip) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let (input_rate_hz, gain, family) = (reader.u32()?, reader.u16()?, reader.u8()?);
    if version != 0 || channels == 0 {
        return None;
    }
    let mut head = Vec::with_capacity(19 + 2 + usize::from(channels));
    head.extend_from_slice(b"OpusHead\x01");
    head.push(channels);
    head.extend_from_slice(&0_u16.to_le_bytes());
    head.extend_from_slice(&input_rate_hz.to_le_bytes());
    head.extend_from_slice(&gain.to_le_bytes());
    head.push(family);
    if family != 0 {
        head.extend_from_slice(reader.take(2 + usize::from(channels))?);
    }
    let spec = PcmSpec { rate_hz: 48_000, channels: u16::from(channels) };
    Some(Entry { codec: TrackCodec::Opus(head), spec: Some(spec), pre_skip })
}

/// `dfLa` (FLAC in ISOBMFF section 3.3.2): the first metadata block is STREAMINFO (RFC 9639 section 8.2).
fn flac(dfla: &[u8]) -> Option<Entry> {
    let mut reader = Reader::new(dfla);
    reader.full_box()?;
    let block = reader.u32()?;
    if (block >> 24) & 0x7f != 0 || block & 0x00ff_ffff != 34 {
        return None;
    }
    let streaminfo = reader.take(34)?;
    let packed = u32::from_be_bytes(*streaminfo[10..].first_chunk()?);
    let spec = PcmSpec { rate_hz: packed >> 12, channels: ((packed >> 9) & 7) as u16 + 1 };
    Some(Entry { codec: TrackCodec::Flac(streaminfo.to_vec()), spec: Some(spec), pre_skip: 0 })
}

/// The inner `alac` box: a FullBox header, then the magic cookie of 24 bytes, maybe with a channel layout after it.
fn alac(body: &[u8]) -> Option<Entry> {
    let cookie = body.get(4..)?;
    let rate_hz = u32::from_be_bytes(*cookie.get(20..)?.first_chunk()?);
    let spec = PcmSpec { rate_hz, channels: u16::from(cookie[9]) };
    Some(Entry { codec: TrackCodec::Alac(cookie[..24].to_vec()), spec: Some(spec), pre_skip: 0 })
}
