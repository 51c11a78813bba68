//! What the decoders of the symphonia crates have in common: opened by codec id and extra data, fed one packet, their buffers appended as interleaved
//! floats. Knows no container.

use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::BadPacket;
use crate::audio::{CHANNELS_MAX, PcmSpec};
use crate::decode::{DecodeError, DecodeOut};

/// Overshoot of lossy codecs fits well within; what is beyond is the work of a corrupt packet.
const SAMPLE_LIMIT: f32 = 8.0;

/// One symphonia decoder and the length of what it gave last.
pub(super) struct Symphonia {
    name: &'static str,
    decoder: Box<dyn AudioDecoder>,
    last: Option<(PcmSpec, usize)>,
}

impl Symphonia {
    /// Opens the decoder of `codec` with its extra data, in symphonia's layout of it.
    ///
    /// # Errors
    /// [`DecodeError`] where symphonia refuses the extra data.
    pub(super) fn open(name: &'static str, codec: AudioCodecId, extra: Option<&[u8]>) -> Result<Self, DecodeError> {
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec);
        if let Some(extra) = extra {
            params.with_extra_data(extra.into());
        }
        let options = AudioDecoderOptions::default();
        let decoder = symphonia::default::get_codecs().make_audio_decoder(&params, &options).map_err(|e| match e {
            Error::Unsupported(what) => DecodeError::Unsupported { container: name, what: what.to_owned() },
            _ => DecodeError::Malformed { container: name, what: "its set-up data is damaged" },
        })?;
        Ok(Self { name, decoder, last: None })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Decodes one packet, appending its samples, finite and within ±8.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        let buffer = self.decoder.decode_ref(&packet).map_err(|_| BadPacket)?;
        let channels = u16::try_from(buffer.num_planes()).map_err(|_| BadPacket)?;
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(BadPacket);
        }
        let spec = PcmSpec { rate_hz: buffer.spec().rate(), channels };
        let from = out.pcm.samples.len();
        out.pcm.samples.resize(from + buffer.samples_interleaved(), 0.0);
        let samples = &mut out.pcm.samples[from..];
        buffer.copy_to_slice_interleaved(&mut *samples);
        for x in samples {
            *x = if x.is_finite() { x.clamp(-SAMPLE_LIMIT, SAMPLE_LIMIT) } else { 0.0 };
        }
        out.pcm.spec = spec;
        self.last = Some((spec, buffer.frames()));
        Ok(())
    }

    /// Silence as long as the packet before.
    pub(super) fn silence(&self, out: &mut DecodeOut) {
        if let Some((spec, frames)) = self.last {
            out.pcm.spec = spec;
            let samples = out.pcm.samples.len() + frames * usize::from(spec.channels);
            out.pcm.samples.resize(samples, 0.0);
        }
    }
}
