//! Core Audio Format (Apple's specification, version 1.0) with PCM, float, G.711 and ALAC. ALAC needs the packet table: where it stands before the
//! data the packets are decoded as they arrive, where it stands behind, the data is held until it comes.

mod packets;

use super::chunks::{BODY_BYTES_MAX, Event, Family, UNTIL_END, Walker};
use super::pcm::{SampleKind, SampleReader};
use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step, header};
use crate::audio::PcmSpec;
use crate::decode::codec::alac;
use packets::Packets;

const CONTAINER: &str = "caf";

static CAFF: Family = Family {
    name: CONTAINER,
    file_header: 8,
    starts: &[*b"caff"],
    is_file: |h| &h[..4] == b"caff" && h[4..6] == [0, 1],
    chunk_header: 12,
    // Unknown is -1: what has a sign bit is no length.
    size: |h| {
        let size = h[4..12].iter().fold(0u64, |size, &b| size << 8 | u64::from(b));
        if size > i64::MAX as u64 { UNTIL_END } else { size }
    },
    padded: false,
    data: *b"data",
    // The edit count.
    data_prefix: 4,
    wanted: |id| match id {
        b"desc" => 32,
        b"kuki" => BODY_BYTES_MAX,
        _ => 0,
    },
    streamed: Some(*b"pakt"),
    trailing: &[
        *b"pakt", *b"info", *b"free", *b"chan", *b"mark", *b"regn", *b"inst", *b"midi", *b"ovvw", *b"peak", *b"edct",
        *b"strg", *b"umid", *b"uuid", *b"kuki",
    ],
};

/// What the data chunk holds.
enum Body {
    Pcm { reader: SampleReader },
    Alac(Box<Packets>),
}

/// The decoder.
pub(super) struct Caf {
    params: DecodeParams,
    walker: Walker,
    format: Option<(PcmSpec, Coding)>,
    body: Option<Body>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Samples(SampleKind),
    Alac,
}

impl Caf {
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self { params: *params, walker: Walker::new(&CAFF), format: None, body: None }
    }

    fn described(params: &DecodeParams, desc: &[u8]) -> Result<(PcmSpec, Coding, Option<Body>), DecodeError> {
        let (rate_hz, channels, coding) = description(desc)?;
        let spec = header::check(params, CONTAINER, rate_hz, channels)?;
        let body = match coding {
            Coding::Samples(kind) => Body::Pcm { reader: SampleReader::new(kind, spec.channels) },
            Coding::Alac => Body::Alac(Box::new(Packets::new(params.whole_file_bytes_max, desc))),
        };
        Ok((spec, coding, Some(body)))
    }

    /// A cookie must say what the description says.
    fn cookie(&mut self, cookie: &[u8]) -> Result<(), DecodeError> {
        let (Some((spec, Coding::Alac)), Some(Body::Alac(packets))) = (self.format, &mut self.body) else {
            return Ok(());
        };
        let (rate_hz, channels) = alac::rate_and_channels(alac::config(cookie)?);
        if (rate_hz, channels) != (spec.rate_hz, u32::from(spec.channels)) {
            return Err(malformed("its magic cookie contradicts its description"));
        }
        packets.open(cookie)
    }
}

impl Decoder for Caf {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        if let Some(Body::Alac(packets)) = &mut self.body
            && packets.drain(out)
        {
            return Ok(Step { consumed: 0, more: true });
        }
        let mut consumed = 0;
        loop {
            let (n, event) = self.walker.next(&input[consumed..])?;
            consumed += n;
            let held = matches!(event, Event::Held(_));
            match event {
                Event::Starved => break,
                Event::File => (self.format, self.body) = (None, None),
                Event::Chunk { id, body } if &id == b"desc" => {
                    let (spec, coding, body) = Self::described(&self.params, body)?;
                    (self.format, self.body) = (Some((spec, coding)), body);
                }
                Event::Chunk { body, .. } => {
                    // The body is the walker's own memory: what is made of it must not hold on to it.
                    let mut cookie = [0; BODY_BYTES_MAX];
                    let len = body.len();
                    cookie[..len].copy_from_slice(body);
                    self.cookie(&cookie[..len])?;
                }
                Event::Part(bytes) => {
                    if let Some(Body::Alac(packets)) = &mut self.body
                        && packets.table(bytes)?
                    {
                        return Ok(Step { consumed, more: true });
                    }
                }
                Event::DataStart { .. } => match &mut self.body {
                    Some(Body::Pcm { .. }) => {}
                    Some(Body::Alac(packets)) if packets.is_open() => {}
                    Some(Body::Alac(_)) => return Err(malformed("its magic cookie does not come before its data")),
                    None => return Err(malformed("its data comes before its description")),
                },
                Event::Data(bytes) | Event::Held(bytes) => {
                    let (Some((spec, _)), Some(body)) = (self.format, &mut self.body) else {
                        return Err(malformed("its data comes before its description"));
                    };
                    out.pcm.spec = spec;
                    let mut taken = 0;
                    // What was held back is a few bytes and must be taken whole.
                    while taken == 0 || (held && taken < bytes.len()) {
                        taken += match body {
                            Body::Pcm { reader } => reader.push(&bytes[taken..], &mut out.pcm.samples),
                            Body::Alac(packets) => packets.push(&bytes[taken..], out)?,
                        };
                    }
                    if !held {
                        self.walker.took(taken);
                        consumed += taken;
                        break;
                    }
                }
                Event::DataEnd => {
                    if let Some(Body::Pcm { reader }) = &mut self.body {
                        reader.drop_tail(&mut out.warnings);
                    }
                    break;
                }
            }
        }
        Ok(Step { consumed, more: false })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        let more = match &mut self.body {
            Some(Body::Pcm { reader }) => {
                if let Some((spec, _)) = self.format {
                    out.pcm.spec = spec;
                }
                // Less than a step takes.
                reader.push(self.walker.last_samples(), &mut out.pcm.samples);
                reader.drop_tail(&mut out.warnings);
                false
            }
            Some(Body::Alac(packets)) => {
                let mut last = self.walker.last_samples();
                while !last.is_empty() {
                    last = &last[packets.push(last, out)?..];
                }
                packets.finish(out)?
            }
            None => false,
        };
        if more {
            return Ok(true);
        }
        self.walker.finish(&mut out.warnings)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        let body = match &self.body {
            Some(Body::Pcm { reader }) => reader.carried(),
            Some(Body::Alac(packets)) => packets.pending(),
            None => 0,
        };
        self.walker.held() + body
    }
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { container: CONTAINER, what }
}

/// Rate, channels and coding of a `desc` chunk.
fn description(desc: &[u8]) -> Result<(u32, u32, Coding), DecodeError> {
    const FLOAT: u32 = 1;
    const LITTLE_ENDIAN: u32 = 2;
    let Some(d) = desc.first_chunk::<32>() else { return Err(malformed("its description is too short")) };
    let u32_at = |at: usize| u32::from_be_bytes([d[at], d[at + 1], d[at + 2], d[at + 3]]);
    let rate = f64::from_be_bytes([d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]);
    let id = [d[8], d[9], d[10], d[11]];
    let (flags, packet_bytes, channels, bits) = (u32_at(12), u32_at(16), u32_at(24), u32_at(28));
    // The bytes of a packet, one sample of each channel, count before the bits: those may be fewer.
    let bytes = match packet_bytes.checked_div(channels) {
        Some(bytes) if bytes > 0 && bytes * channels == packet_bytes => bytes as usize,
        _ => bits.div_ceil(8) as usize,
    };
    let big_endian = flags & LITTLE_ENDIAN == 0;
    let coding = match &id {
        b"lpcm" if flags & FLOAT != 0 => SampleKind::float(bytes, big_endian).map(Coding::Samples),
        b"lpcm" => SampleKind::int(bytes, big_endian).map(Coding::Samples),
        b"ulaw" => Some(Coding::Samples(SampleKind::Mulaw)),
        b"alaw" => Some(Coding::Samples(SampleKind::Alaw)),
        b"alac" => Some(Coding::Alac),
        _ => None,
    };
    let coding = coding.ok_or_else(|| DecodeError::Unsupported {
        container: CONTAINER,
        what: format!(
            "'{}' with {bits} bits (lpcm of 8 to 32 bits or float of 32 and 64, ulaw, alaw and alac can be taken)",
            id.escape_ascii()
        ),
    })?;
    // The cast saturates; what is no rate is out of range then.
    Ok((rate.round() as u32, channels, coding))
}

#[cfg(test)]
mod tests;
