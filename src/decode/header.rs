//! What every container's and stream's header is checked for: the ranges this server takes, and agreement with what the sender declared.

use super::{DecodeError, DecodeParams};
use crate::audio::{CHANNELS_MAX, PcmSpec, RATE_HZ_MAX, RATE_HZ_MIN, StreamFormat};

/// Checks a header's rate and channel count.
///
/// # Errors
/// [`DecodeError::Contradiction`] where the sender declared another, [`DecodeError::Unsupported`] where it is out of range.
pub(crate) fn check(
    params: &DecodeParams,
    container: &'static str,
    rate_hz: u32,
    channels: u32,
) -> Result<PcmSpec, DecodeError> {
    check_declared(&params.format, container, &[rate_hz], &[channels])?;
    check_range(container, rate_hz, channels)
}

/// Checks a header's rate and channel count, which the sender need not have declared.
///
/// # Errors
/// [`DecodeError::Unsupported`] where it is out of range.
pub(crate) fn check_range(container: &'static str, rate_hz: u32, channels: u32) -> Result<PcmSpec, DecodeError> {
    if !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate_hz) {
        let what = format!("a sample rate of {rate_hz} Hz ({RATE_HZ_MIN} to {RATE_HZ_MAX} are decoded)");
        return Err(DecodeError::Unsupported { container, what });
    }
    match u16::try_from(channels) {
        Ok(channels) if (1..=CHANNELS_MAX).contains(&channels) => Ok(PcmSpec { rate_hz, channels }),
        Ok(_) | Err(_) => {
            let what = format!("{channels} channels (1 to {CHANNELS_MAX} are decoded)");
            Err(DecodeError::Unsupported { container, what })
        }
    }
}

/// Compares what the sender declared to a header. `rates_hz` are all that may truly have been said of the stream, the one to name first
/// in front; a rate of 0 is one that the header does not give. `channels` likewise; none where the header gives none.
///
/// # Errors
/// [`DecodeError::Contradiction`] where they differ.
pub(crate) fn check_declared(
    declared: &StreamFormat,
    container: &'static str,
    rates_hz: &[u32],
    channels: &[u32],
) -> Result<(), DecodeError> {
    let contradiction = |field, declared, found| Err(DecodeError::Contradiction { field, declared, found, container });
    if let (Some(rate_hz), Some(&found)) = (declared.sample_rate, rates_hz.first())
        && !rates_hz.contains(&rate_hz)
    {
        return contradiction("sample_rate", rate_hz, found);
    }
    if let (Some(count), Some(&found)) = (declared.channels.map(u32::from), channels.first())
        && !channels.contains(&count)
    {
        return contradiction("channels", count, found);
    }
    Ok(())
}
