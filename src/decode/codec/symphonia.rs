//! What the decoders of the symphonia crates have in common: opened by codec parameters, fed one packet, their planar buffers appended as
//! interleaved floats, silence as long as the packet before where one does not decode. Knows no container.

use symphonia::core::audio::{Audio as _, AudioBuffer, GenericAudioBufferRef};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::{BadPacket, PacketDecoder};
use crate::audio::convert::clean;
use crate::audio::{CHANNELS_MAX, PcmSpec};
use crate::decode::{DecodeError, DecodeOut};

/// One symphonia decoder and the length of what it gave last.
pub(super) struct Symphonia {
    name: &'static str,
    decoder: Box<dyn AudioDecoder>,
    last: Option<(PcmSpec, usize)>,
}

impl Symphonia {
    /// Opens the decoder `params` ask for; `name` is the codec's in messages.
    ///
    /// # Errors
    /// [`DecodeError`] where symphonia refuses the parameters.
    pub(super) fn open(name: &'static str, params: &AudioCodecParameters) -> Result<Self, DecodeError> {
        // Trimming is the containers' business; but the first packet of Vorbis, which has nothing to overlap with, gives nothing this way.
        let options = AudioDecoderOptions::default().gapless(true);
        let decoder = symphonia::default::get_codecs().make_audio_decoder(params, &options).map_err(|e| match e {
            Error::Unsupported(what) => DecodeError::Unsupported { container: name, what: what.to_owned() },
            _ => DecodeError::Malformed { container: name, what: "its set-up data is damaged" },
        })?;
        Ok(Self { name, decoder, last: None })
    }
}

impl PacketDecoder for Symphonia {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        let buffer = self.decoder.decode_ref(&packet).map_err(|_| BadPacket)?;
        let channels = u16::try_from(buffer.num_planes()).map_err(|_| BadPacket)?;
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(BadPacket);
        }
        let spec = PcmSpec { rate_hz: buffer.spec().rate(), channels };
        if buffer.frames() == 0 {
            // As from the first packet of Vorbis. Planes of more than two channels would be laid out from beyond the end of nothing.
            out.pcm.spec = spec;
            self.last = Some((spec, 0));
            return Ok(());
        }
        if let GenericAudioBufferRef::F32(buffer) = buffer {
            append(buffer, &mut out.pcm.samples);
        } else {
            // Integers cannot be beyond full scale.
            let from = out.pcm.samples.len();
            out.pcm.samples.resize(from + buffer.samples_interleaved(), 0.0);
            buffer.copy_to_slice_interleaved(&mut out.pcm.samples[from..]);
        }
        out.pcm.spec = spec;
        self.last = Some((spec, buffer.frames()));
        Ok(())
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        super::silence(self.last, out);
    }
}

/// Appends floats, interleaved. Mono and stereo have loops of their own: they are nearly all there is.
fn append(buffer: &AudioBuffer<f32>, samples: &mut Vec<f32>) {
    let channels = buffer.num_planes();
    match (buffer.plane(0), buffer.plane(1)) {
        (Some(mono), None) => samples.extend(mono.iter().map(|&s| clean(s))),
        (Some(left), Some(right)) if channels == 2 => {
            let from = samples.len();
            samples.resize(from + 2 * buffer.frames(), 0.0);
            let (pairs, _) = samples[from..].as_chunks_mut::<2>();
            for (pair, (&l, &r)) in pairs.iter_mut().zip(left.iter().zip(right)) {
                *pair = [clean(l), clean(r)];
            }
        }
        _ => {
            let from = samples.len();
            samples.resize(from + buffer.frames() * channels, 0.0);
            for (channel, plane) in buffer.iter_planes().enumerate() {
                for (slot, &sample) in samples[from + channel..].iter_mut().step_by(channels).zip(plane) {
                    *slot = clean(sample);
                }
            }
        }
    }
}
