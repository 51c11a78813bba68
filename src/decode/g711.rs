//! G.711 (ITU-T, 11/1988): each code's value as a 16-bit sample over 32768, by table. Knows no stream.

/// Bias of the mu-law characteristic (table 2a/G.711), in 16-bit steps.
const MULAW_BIAS: i32 = 0x84;
/// Even bits are inverted on the line (section 3.2, A-law).
const ALAW_EVEN_BITS: u8 = 0x55;

/// Value of each mu-law code, full scale ±1.0.
pub(super) static MULAW: [f32; 256] = table(true);
/// Value of each A-law code, full scale ±1.0.
pub(super) static ALAW: [f32; 256] = table(false);

const fn table(mulaw: bool) -> [f32; 256] {
    let mut out = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let value = if mulaw { mulaw_value(code as u8) } else { alaw_value(code as u8) };
        out[code] = value as f32 / 32_768.0;
        code += 1;
    }
    out
}

/// All bits are inverted on the line; sign, three bits of segment, four of step.
const fn mulaw_value(code: u8) -> i32 {
    let code = !code;
    let magnitude = ((((code & 0x0f) as i32) << 3) + MULAW_BIAS) << ((code & 0x70) >> 4);
    if code & 0x80 != 0 { MULAW_BIAS - magnitude } else { magnitude - MULAW_BIAS }
}

const fn alaw_value(code: u8) -> i32 {
    let code = code ^ ALAW_EVEN_BITS;
    let step = ((code & 0x0f) as i32) << 4;
    let magnitude = match (code & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 2a/G.711 as a formula, on its 14-bit scale: y = ±((33 + 2·step)·2^segment − 33).
    #[test]
    fn every_mulaw_code_has_the_standards_value() {
        for code in 0..=255u8 {
            let word = 255 - i32::from(code);
            let (negative, segment, step) = (word >= 128, (word % 128) / 16, word % 16);
            let value = ((33 + 2 * step) * 2i32.pow(segment as u32) - 33) * 4;
            let value = if negative { -value } else { value };
            assert_eq!(MULAW[usize::from(code)] * 32_768.0, value as f32, "code {code:#04x}");
        }
        assert_eq!((MULAW[0x80] * 32_768.0, MULAW[0x00] * 32_768.0), (32_124.0, -32_124.0));
    }

    /// Table 1a/G.711 as a formula, on its 13-bit scale: y = ±(2·step + 1) in segment 0, else ±(2·step + 33)·2^(segment − 1).
    #[test]
    fn every_alaw_code_has_the_standards_value() {
        for code in 0..=255u8 {
            let word = i32::from(code ^ 0b0101_0101);
            let (positive, segment, step) = (word >= 128, (word % 128) / 16, word % 16);
            let value = 8 * if segment == 0 { 2 * step + 1 } else { (2 * step + 33) * 2i32.pow(segment as u32 - 1) };
            let value = if positive { value } else { -value };
            assert_eq!(ALAW[usize::from(code)] * 32_768.0, value as f32, "code {code:#04x}");
        }
        assert_eq!((ALAW[0xaa] * 32_768.0, ALAW[0x2a] * 32_768.0), (32_256.0, -32_256.0));
    }
}
