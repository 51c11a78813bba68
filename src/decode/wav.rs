//! RIFF/WAVE, RF64 (EBU Tech 3306) and BW64 (ITU-R BS.2088) with PCM, float and G.711 samples, decoded as they arrive.

use super::chunks::{Family, UNTIL_END};
use super::pcm::SampleKind;
use super::pcm_file::{Layout, PcmFile, Samples};
use super::{DecodeError, DecodeParams, header};
use crate::audio::PcmSpec;

const CONTAINER: &str = "wav";

static RIFF: Family = Family {
    name: CONTAINER,
    file_header: 12,
    starts: &[*b"RIFF", *b"RF64", *b"BW64"],
    is_file: |h| matches!(&h[..4], b"RIFF" | b"RF64" | b"BW64") && &h[8..12] == b"WAVE",
    chunk_header: 8,
    size: |h| match u32_at(h, 4) {
        // Written to a pipe, or told by `ds64`.
        u32::MAX => UNTIL_END,
        size => u64::from(size),
    },
    padded: true,
    data: *b"data",
    data_prefix: 0,
    wanted: |id| match id {
        b"fmt " => 40,
        b"ds64" => 24,
        _ => 0,
    },
    streamed: None,
    trailing: &[
        *b"LIST", *b"id3 ", *b"ID3 ", *b"cue ", *b"fact", *b"smpl", *b"inst", *b"bext", *b"iXML", *b"axml", *b"_PMX",
        *b"PEAK", *b"plst", *b"JUNK", *b"junk", *b"PAD ", *b"FLLR", *b"acid", *b"strc", *b"DISP", *b"afsp", *b"umid",
        *b"chna", *b"LGWV", *b"minf", *b"elm1", *b"regn", *b"note", *b"labl", *b"ltxt", *b"levl", *b"cart", *b"link",
        *b"ubxt", *b"r64m", *b"dbmd",
    ],
};

/// What the chunks of a file told so far.
#[derive(Debug)]
pub(super) struct Wav {
    params: DecodeParams,
    /// From `ds64`, where `data` itself has no room for it.
    data_size: Option<u64>,
    format: Option<(PcmSpec, SampleKind)>,
}

impl Wav {
    /// The decoder.
    pub(super) fn open(params: &DecodeParams) -> PcmFile<Self> {
        PcmFile::new(Self { params: *params, data_size: None, format: None })
    }
}

impl Layout for Wav {
    fn family(&self) -> &'static Family {
        &RIFF
    }

    fn begin(&mut self) {
        (self.format, self.data_size) = (None, None);
    }

    fn chunk(&mut self, id: [u8; 4], body: &[u8]) -> Result<(), DecodeError> {
        if &id == b"fmt " {
            let (rate_hz, channels, kind) = sample_format(body)?;
            self.format = Some((header::check(&self.params, CONTAINER, rate_hz, channels)?, kind));
        } else if &id == b"ds64" && body.len() >= 16 {
            // The size of `data` stands behind that of the file.
            self.data_size = Some(body[8..16].iter().rev().fold(0, |size, &b| size << 8 | u64::from(b)));
        }
        Ok(())
    }

    fn data(&mut self, size: u64, _prefix: &[u8]) -> Result<Samples, DecodeError> {
        let (spec, kind) = self.format.ok_or(malformed("the samples come before their format"))?;
        let told = self.data_size.filter(|_| size == UNTIL_END);
        // 0 is what a recorder that was killed leaves there.
        let size = told.map(|size| if size == 0 { UNTIL_END } else { size });
        Ok(Samples { spec, kind, size, skip: 0 })
    }
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { container: CONTAINER, what }
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// Rate, channels and sample kind of a `fmt ` chunk: WAVEFORMAT or WAVEFORMATEXTENSIBLE.
fn sample_format(fmt: &[u8]) -> Result<(u32, u32, SampleKind), DecodeError> {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const ALAW: u16 = 6;
    const MULAW: u16 = 7;
    const EXTENSIBLE: u16 = 0xfffe;
    if fmt.len() < 14 {
        return Err(malformed("its fmt chunk is too short"));
    }
    let channels = u16_at(fmt, 2);
    let rate_hz = u32_at(fmt, 4);
    let block = usize::from(u16_at(fmt, 12));
    let bits = if fmt.len() >= 16 { usize::from(u16_at(fmt, 14)) } else { 0 };
    let tag = match u16_at(fmt, 0) {
        // The first two bytes of the sub-format's GUID are the tag.
        EXTENSIBLE if fmt.len() >= 26 => u16_at(fmt, 24),
        tag => tag,
    };
    // The container of a sample counts, not its valid bits: those are its upper ones.
    let divided = block.checked_div(usize::from(channels)).unwrap_or(0);
    let bytes = if divided > 0 && divided * usize::from(channels) == block { divided } else { bits.div_ceil(8) };
    let kind = match tag {
        PCM if bytes == 1 => Some(SampleKind::U8),
        PCM => SampleKind::int(bytes, false),
        FLOAT => SampleKind::float(bytes, false),
        ALAW => Some(SampleKind::Alaw),
        MULAW => Some(SampleKind::Mulaw),
        _ => None,
    };
    let kind = kind.ok_or_else(|| DecodeError::Unsupported {
        container: CONTAINER,
        what: format!(
            "{} (PCM of 8 to 32 bits, float of 32 and 64, A-law and mu-law can be taken)",
            tag_name(tag, bits)
        ),
    })?;
    Ok((rate_hz, u32::from(channels), kind))
}

fn tag_name(tag: u16, bits: usize) -> String {
    let name = match tag {
        0x0001 => return format!("PCM of {bits} bits"),
        0x0003 => return format!("float of {bits} bits"),
        0x0002 => "MS ADPCM",
        0x0011 => "IMA ADPCM",
        0x0031 => "GSM 6.10",
        0x0050 | 0x0055 => "MPEG audio",
        0x00ff | 0x1600 | 0x1610 => "AAC",
        0x0161 => "WMA",
        _ => return format!("format tag {tag:#06x}"),
    };
    format!("{name} (format tag {tag:#06x})")
}

#[cfg(test)]
mod tests;
