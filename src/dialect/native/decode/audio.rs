//! The messages that carry audio or open a stream for it.

use std::borrow::Cow;

use super::{ID_CHARS_MAX, invalid, name, parse};
use crate::audio::{Encoding, FormatError, OutputChannels, StreamFormat};
use crate::dialect::native::types;
use crate::protocol::{
    AudioData, AudioStart, Command, Envelope, ErrorCode, Framing, OutputRequest, Overflow, ProtocolError,
};

/// Bounds of `ack_ms`, but for 0.
const ACK_INTERVAL_MS: std::ops::RangeInclusive<u32> = 20..=5_000;
/// `ack_ms` where none is given: few enough answers that the kernel's cost of them is small.
const ACK_INTERVAL_MS_DEFAULT: u32 = 200;

fn format(f: types::Format<'_>) -> Result<StreamFormat, ProtocolError> {
    let encoding = match f.encoding {
        Some(e) => e.parse::<Encoding>()?,
        None => Encoding::Auto,
    };
    Ok(StreamFormat::new(encoding, f.sample_rate, f.channels)?)
}

fn output(o: types::Output) -> Result<OutputRequest, ProtocolError> {
    let channels = match o.channels {
        None => None,
        Some(types::Channels::Count(1)) => Some(OutputChannels::Mono),
        Some(types::Channels::Name(n)) if n == "source" => Some(OutputChannels::Source),
        Some(other) => {
            let got = match other {
                types::Channels::Count(n) => n.to_string(),
                types::Channels::Name(n) => n.chars().take(32).collect(),
            };
            return Err(FormatError::OutputChannels { got }.into());
        }
    };
    if let Some(got) = o.sample_rate
        && !crate::audio::OUTPUT_RATES_HZ.contains(&got)
    {
        return Err(FormatError::OutputRate { got }.into());
    }
    Ok(OutputRequest { rate_hz: o.sample_rate, channels })
}

pub(super) fn audio_start(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::AudioStart<'_> = parse(text)?;
    let ack_interval_ms = m.ack_ms.unwrap_or(ACK_INTERVAL_MS_DEFAULT);
    if ack_interval_ms != 0 && !ACK_INTERVAL_MS.contains(&ack_interval_ms) {
        return Err(invalid(format!("ack_ms: {ack_interval_ms} is neither 0 nor 20 to 5000")));
    }
    let framing = match m.framing.as_deref() {
        None | Some("raw") => Framing::Raw,
        Some("tagged") => Framing::Tagged,
        Some(_) => return Err(invalid("framing must be \"raw\" or \"tagged\"")),
    };
    let overflow = match m.overflow.as_deref() {
        None | Some("block") => Overflow::Block,
        Some("drop_oldest") => Overflow::DropOldest,
        Some(_) => return Err(invalid("overflow must be \"block\" or \"drop_oldest\"")),
    };
    Ok(Command::AudioStart(AudioStart {
        stream_id: name("stream_id", m.stream_id)?,
        format: m.format.map(format).transpose()?,
        output: output(m.output.unwrap_or_default())?,
        ack_interval_ms,
        record: m.record.unwrap_or(true),
        framing,
        overflow,
        conversation_id: name("conversation_id", m.conversation_id)?,
    }))
}

pub(super) fn audio_data(text: &str) -> Result<Envelope<'_>, ProtocolError> {
    let m: types::AudioData<'_> = parse(text)?;
    if m.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
        return Err(ProtocolError::new(ErrorCode::MessageTooLarge, format!("id may have {ID_CHARS_MAX} characters")));
    }
    let format = m.format.map(format).transpose()?;
    let command = Command::AudioData(AudioData { data: m.data, stream_id: m.stream_id, offset: m.offset, format });
    Ok(Envelope { id: m.id.map(Cow::into_owned), command })
}
