//! The head of a recording's WAV file. Written by hand, not by `hound`, because one file must hold more than 4 GiB and stay playable:
//! room for a `ds64` chunk stands reserved (as `JUNK`) from the start, and a file that outgrows 32-bit sizes becomes RF64 in
//! place (EBU Tech 3306, section 5). `hound` can neither reserve that room nor write RF64; it also needs five system calls a header update.

use crate::audio::PcmSpec;

/// Bytes of a sample: recordings are 16-bit.
pub(super) const SAMPLE_BYTES: u64 = 2;
/// Largest size a 32-bit RIFF field holds; all ones means "see ds64".
pub(super) const RIFF_SIZE_MAX: u64 = u32::MAX as u64 - 1;
const DS64_BYTES: u32 = 28;
const FMT_PCM_BYTES: u32 = 16;
const FMT_EXTENSIBLE_BYTES: u32 = 40;
/// KSDATAFORMAT_SUBTYPE_PCM.
const SUBTYPE_PCM: [u8; 16] = [1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Bytes before the first sample.
pub(super) fn head_bytes(spec: PcmSpec) -> u64 {
    u64::from(12 + 8 + DS64_BYTES + 8 + fmt_bytes(spec) + 8)
}

/// Bytes of one sample of every channel.
pub(super) fn frame_bytes(spec: PcmSpec) -> u64 {
    SAMPLE_BYTES * u64::from(spec.channels.max(1))
}

// More than two channels need the extensible form (Microsoft, "Multiple Channel Audio Data and WAVE Files").
fn fmt_bytes(spec: PcmSpec) -> u32 {
    if spec.channels > 2 { FMT_EXTENSIBLE_BYTES } else { FMT_PCM_BYTES }
}

/// The head of a file with `data_bytes` of samples; RF64 where the file is larger than `riff_bytes_max`.
pub(super) fn head(spec: PcmSpec, data_bytes: u64, riff_bytes_max: u64) -> Vec<u8> {
    let riff_bytes = head_bytes(spec) - 8 + data_bytes;
    let large = riff_bytes > riff_bytes_max.min(RIFF_SIZE_MAX);
    let size32 = |n: u64| if large { u32::MAX } else { u32::try_from(n).unwrap_or(u32::MAX) };
    let mut h = Vec::with_capacity(head_bytes(spec) as usize);
    h.extend(if large { b"RF64" } else { b"RIFF" });
    h.extend(size32(riff_bytes).to_le_bytes());
    h.extend(b"WAVE");
    h.extend(if large { b"ds64" } else { b"JUNK" });
    h.extend(DS64_BYTES.to_le_bytes());
    let ds64 = if large { [riff_bytes, data_bytes, data_bytes / frame_bytes(spec)] } else { [0; 3] };
    for n in ds64 {
        h.extend(n.to_le_bytes());
    }
    h.extend(0_u32.to_le_bytes()); // no table of further chunk sizes
    h.extend(b"fmt ");
    h.extend(fmt_bytes(spec).to_le_bytes());
    let extensible = fmt_bytes(spec) == FMT_EXTENSIBLE_BYTES;
    h.extend(if extensible { 0xfffe_u16 } else { 1 }.to_le_bytes());
    h.extend(spec.channels.to_le_bytes());
    h.extend(spec.rate_hz.to_le_bytes());
    h.extend(((u64::from(spec.rate_hz) * frame_bytes(spec)) as u32).to_le_bytes());
    h.extend((frame_bytes(spec) as u16).to_le_bytes());
    h.extend(16_u16.to_le_bytes());
    if extensible {
        h.extend(22_u16.to_le_bytes());
        h.extend(16_u16.to_le_bytes());
        h.extend(((1_u32 << spec.channels.min(18)) - 1).to_le_bytes());
        h.extend(SUBTYPE_PCM);
    }
    h.extend(b"data");
    h.extend(size32(data_bytes).to_le_bytes());
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_as_long_as_promised_and_turns_rf64_in_place() {
        for channels in 1..=8 {
            let spec = PcmSpec { rate_hz: 16_000, channels };
            let small = head(spec, 4_000, RIFF_SIZE_MAX);
            let large = head(spec, 5 << 30, RIFF_SIZE_MAX);
            assert_eq!(small.len() as u64, head_bytes(spec));
            assert_eq!(large.len(), small.len());
            assert_eq!((&small[..4], &small[12..16]), (&b"RIFF"[..], &b"JUNK"[..]));
            assert_eq!((&large[..4], &large[12..16]), (&b"RF64"[..], &b"ds64"[..]));
            assert_eq!(large[28..36], (5_u64 << 30).to_le_bytes());
            assert_eq!(large[large.len() - 4..], [0xff; 4]);
        }
    }

    #[test]
    fn the_largest_riff_is_not_yet_rf64() {
        let spec = PcmSpec { rate_hz: 16_000, channels: 1 };
        let fits = RIFF_SIZE_MAX - head_bytes(spec) + 8;
        assert_eq!(&head(spec, fits, u64::MAX)[..4], b"RIFF");
        assert_eq!(&head(spec, fits + 1, u64::MAX)[..4], b"RF64");
    }
}
