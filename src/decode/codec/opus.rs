//! Opus packets (RFC 6716) by libopus, decoded straight to the output rate.
//!
//! Knows no container: the pre-skip of the identification header is the container's business to take off.

use opus::{Channels, Decoder, MSDecoder};

use super::order::wave_from_vorbis;
use super::{BadPacket, PacketDecoder};
use crate::audio::convert::clean;
use crate::audio::{CHANNELS_MAX, OutputChannels, OutputFormat, PcmSpec};
use crate::decode::{DecodeError, DecodeOut};

const NAME: &str = "Opus";

/// The rate Opus counts time in, whatever it is decoded to (RFC 7845 section 4).
pub(crate) const OPUS_RATE_HZ: u32 = 48_000;

/// Rates Opus can be decoded to.
pub(crate) const OPUS_RATES_HZ: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

/// Packets a second at the longest duration a packet may have, 120 ms (RFC 6716 section 3.2.5), times three.
const LONGEST_PACKETS_PER_3_S: usize = 25;

/// Bytes of the identification header before the channel mapping table.
const HEAD_BYTES: usize = 19;

/// The identification header (RFC 7845 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpusHead {
    /// Channels after decoding.
    pub(crate) channels: u8,
    /// Frames at 48 kHz to leave out at the start.
    pub(crate) pre_skip: u16,
    /// Rate of the encoder's input in hertz, 0 if not given. For information only.
    pub(crate) input_rate_hz: u32,
    gain_q8_db: i16,
    streams: u8,
    coupled: u8,
    /// For each channel, in the order of WAVE where the header's is known, where it is decoded.
    mapping: [u8; CHANNELS_MAX as usize],
}

impl OpusHead {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] or [`DecodeError::Unsupported`].
    pub(crate) fn parse(head: &[u8]) -> Result<Self, DecodeError> {
        let malformed = |what| DecodeError::Malformed { container: NAME, what };
        let unsupported = |what| DecodeError::Unsupported { container: NAME, what };
        if head.len() < HEAD_BYTES || !head.starts_with(b"OpusHead") {
            return Err(malformed("the identification header is not one"));
        }
        // Minor versions, the lower four bits, are backwards compatible.
        if head[8] >> 4 != 0 {
            return Err(unsupported(format!("version {} of the mapping (version 1 is decoded)", head[8])));
        }
        let (channels, family) = (head[9], head[18]);
        if channels == 0 {
            return Err(malformed("the identification header has no channel"));
        }
        let mut parsed = Self {
            channels,
            pre_skip: u16::from_le_bytes([head[10], head[11]]),
            input_rate_hz: u32::from_le_bytes([head[12], head[13], head[14], head[15]]),
            gain_q8_db: i16::from_le_bytes([head[16], head[17]]),
            streams: 1,
            coupled: channels - 1,
            mapping: [0, 1, 0, 0, 0, 0, 0, 0],
        };
        match family {
            0 if channels <= 2 => {}
            0 => return Err(malformed("more than two channels in mapping family 0")),
            1 | 255 => {
                let count = usize::from(channels);
                if u16::from(channels) > CHANNELS_MAX {
                    return Err(unsupported(format!("{channels} channels (1 to {CHANNELS_MAX} are decoded)")));
                }
                let table = head.get(HEAD_BYTES..HEAD_BYTES + 2 + count);
                let table = table.ok_or(malformed("the channel mapping table is cut off"))?;
                (parsed.streams, parsed.coupled) = (table[0], table[1]);
                // A stream no channel comes from would be memory and time for nothing.
                if parsed.streams == 0 || parsed.streams > channels || parsed.coupled > parsed.streams {
                    return Err(malformed("the channel mapping table contradicts the channel count"));
                }
                parsed.mapping[..count].copy_from_slice(&table[2..]);
                if family == 1 {
                    for (mapped, &place) in parsed.mapping.iter_mut().zip(wave_from_vorbis(channels.into())) {
                        *mapped = table[2 + usize::from(place)];
                    }
                }
                let decoded = parsed.streams + parsed.coupled;
                if table[2..].iter().any(|&m| m != 255 && m >= decoded) {
                    return Err(malformed("the channel mapping table points outside the streams"));
                }
            }
            family => return Err(unsupported(format!("channel mapping family {family} (0, 1 and 255 are decoded)"))),
        }
        Ok(parsed)
    }

    fn mapping(&self) -> &[u8] {
        &self.mapping[..usize::from(self.channels).min(self.mapping.len())]
    }

    /// One stream whose channels come out as they are.
    fn is_plain(&self) -> bool {
        self.streams == 1
            && self.mapping() == &[0, 1][..self.mapping().len().min(2)]
            && self.coupled == self.channels - 1
    }
}

/// Frames at 48 kHz that a packet decodes to, told from its first two bytes; `None` if it is no Opus packet.
pub(crate) fn packet_frames_48k(packet: &[u8]) -> Option<u64> {
    let frames = opus::packet::get_nb_samples(packet.get(..packet.len().min(2))?, OPUS_RATE_HZ).ok()?;
    Some(frames as u64)
}

enum Inner {
    Plain(Decoder),
    Multi(MSDecoder),
}

/// One Opus stream's decoder.
pub(crate) struct Opus {
    inner: Inner,
    spec: PcmSpec,
    frames_before: usize,
}

impl Opus {
    /// A decoder for what an identification header describes. Mono output of a stereo stream is libopus' own down-mix, the mean.
    ///
    /// # Errors
    /// As [`OpusHead::parse`].
    pub(crate) fn new(head: &[u8], output: OutputFormat) -> Result<Self, DecodeError> {
        let head = OpusHead::parse(head)?;
        let gain = i32::from(head.gain_q8_db);
        if head.is_plain() {
            let mut opus = Self::plain(head.channels, output)?;
            if let Inner::Plain(decoder) = &mut opus.inner {
                decoder.set_gain(gain).map_err(|_| refused())?;
            }
            return Ok(opus);
        }
        let mut decoder =
            MSDecoder::new(output.rate_hz, head.streams, head.coupled, head.mapping()).map_err(|_| refused())?;
        decoder.set_gain(gain).map_err(|_| refused())?;
        let spec = PcmSpec { rate_hz: output.rate_hz, channels: u16::from(head.channels) };
        Ok(Self { inner: Inner::Multi(decoder), spec, frames_before: 0 })
    }

    /// A decoder for one stream of one or two channels, without gain.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where libopus takes neither.
    pub(crate) fn plain(channels: u8, output: OutputFormat) -> Result<Self, DecodeError> {
        let (layout, channels) = match (channels, output.channels) {
            (1, _) | (_, OutputChannels::Mono) => (Channels::Mono, 1),
            (_, OutputChannels::Source) => (Channels::Stereo, 2),
        };
        let mut decoder = Decoder::new(output.rate_hz, layout).map_err(|_| refused())?;
        // A mono decoder leaves inverted channels upright by default (RFC 8251 section 10); what comes out is louder than the
        // mean of the channels in those bands, and further from the source's.
        decoder.set_phase_inversion_disabled(false).map_err(|_| refused())?;
        Ok(Self { inner: Inner::Plain(decoder), spec: PcmSpec { rate_hz: output.rate_hz, channels }, frames_before: 0 })
    }

    /// `packet` empty: concealment of exactly `frames`.
    fn run(&mut self, packet: &[u8], frames: usize, out: &mut DecodeOut) -> Result<(), BadPacket> {
        let from = out.pcm.samples.len();
        out.pcm.samples.resize(from + frames * usize::from(self.spec.channels), 0.0);
        let room = &mut out.pcm.samples[from..];
        let decoded = match &mut self.inner {
            Inner::Plain(decoder) => decoder.decode_float(packet, room, false),
            Inner::Multi(decoder) => decoder.decode_float(packet, room, false),
        };
        let Ok(decoded) = decoded else {
            out.pcm.samples.truncate(from);
            return Err(BadPacket);
        };
        out.pcm.samples.truncate(from + decoded * usize::from(self.spec.channels));
        out.pcm.spec = self.spec;
        for sample in &mut out.pcm.samples[from..] {
            *sample = clean(*sample);
        }
        Ok(())
    }
}

fn refused() -> DecodeError {
    DecodeError::Malformed { container: NAME, what: "libopus refuses the identification header" }
}

impl PacketDecoder for Opus {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        if packet.is_empty() {
            return Err(BadPacket);
        }
        let frames = opus::packet::get_nb_samples(packet, self.spec.rate_hz).map_err(|_| BadPacket)?;
        if frames == 0 || frames * LONGEST_PACKETS_PER_3_S > self.spec.rate_hz as usize * 3 {
            return Err(BadPacket);
        }
        self.run(packet, frames, out)?;
        self.frames_before = frames;
        Ok(())
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        if self.frames_before > 0 && self.run(&[], self.frames_before, out).is_err() {
            let from = out.pcm.samples.len();
            out.pcm.samples.resize(from + self.frames_before * usize::from(self.spec.channels), 0.0);
            out.pcm.spec = self.spec;
        }
    }
}
