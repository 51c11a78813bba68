//! What every container's header is checked for: the ranges this server takes, and agreement with what the sender declared.

use super::{DecodeError, DecodeParams};
use crate::audio::{CHANNELS_MAX, PcmSpec, RATE_HZ_MAX, RATE_HZ_MIN};

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
    let declared = [
        ("sample_rate", params.format.sample_rate, rate_hz),
        ("channels", params.format.channels.map(u32::from), channels),
    ];
    for (field, declared, found) in declared {
        if let Some(declared) = declared
            && declared != found
        {
            return Err(DecodeError::Contradiction { field, declared, found, container });
        }
    }
    if !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate_hz) {
        let what = format!("a sample rate of {rate_hz} Hz (it is {RATE_HZ_MIN} to {RATE_HZ_MAX} that can be taken)");
        return Err(DecodeError::Unsupported { container, what });
    }
    match u16::try_from(channels) {
        Ok(channels) if (1..=CHANNELS_MAX).contains(&channels) => Ok(PcmSpec { rate_hz, channels }),
        _ => {
            let what = format!("a channel count of {channels} (it is 1 to {CHANNELS_MAX} that can be taken)");
            Err(DecodeError::Unsupported { container, what })
        }
    }
}
