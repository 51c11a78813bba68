use super::super::DecodeWarning;
use super::super::testing::{Cut, assert_same_however_cut, decode, fixture, params, params_raw, s16, survive_damage};
use super::*;
use crate::audio::Encoding;

const STUDIO: PcmSpec = PcmSpec { rate_hz: 48_000, channels: 2 };

/// Offsets of a file's chunks and their lengths, header included.
fn chunks(bytes: &[u8]) -> Vec<([u8; 4], std::ops::Range<usize>)> {
    let mut out = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        let id = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let size = (CAFF.size)(&bytes[at..at + 12]) as usize;
        out.push((id, at..at + 12 + size));
        at += 12 + size;
    }
    out
}

/// The ALAC fixture as a recorder that knows its packets beforehand would write it.
fn table_first() -> Vec<u8> {
    let bytes = fixture("studio48-alac.caf");
    let chunks = chunks(&bytes);
    let of = |want: &[u8; 4]| {
        chunks
            .iter()
            .filter(|(id, _)| id == want)
            .flat_map(|(_, range)| bytes[range.clone()].to_vec())
            .collect::<Vec<u8>>()
    };
    [bytes[..8].to_vec(), of(b"desc"), of(b"kuki"), of(b"pakt"), of(b"data")].concat()
}

#[test]
fn every_fixture_is_the_same_bit_for_bit() {
    let want = s16(&fixture("stereo48.s16le"));
    for name in ["studio48.caf", "studio48-f32.caf", "studio48-alac.caf"] {
        let decoded = decode(&params(Encoding::Caf), &fixture(name), Cut::Random(4)).expect(name);
        assert_eq!(decoded.spec(), STUDIO, "{name}");
        assert!(decoded.s16() == want, "{name}: {} for {}", decoded.samples.len(), want.len());
        assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
    }
}

#[test]
fn cuts_never_change_the_samples() {
    assert_same_however_cut(&params(Encoding::Caf), &fixture("studio48.caf")[..20_001]);
    assert_same_however_cut(&params(Encoding::Caf), &fixture("studio48-f32.caf")[..20_003]);
    assert_same_however_cut(&params(Encoding::Caf), &fixture("studio48-alac.caf"));
    assert_same_however_cut(&params(Encoding::Caf), &table_first());
}

#[test]
fn alac_with_its_table_in_front_is_decoded_as_it_comes() {
    let decoded = decode(&params(Encoding::Caf), &table_first(), Cut::Every(500)).expect("decodes");
    assert!(decoded.s16() == s16(&fixture("stereo48.s16le")));
    assert!(decoded.pending_max < 17_000, "a packet at the most, not {} bytes", decoded.pending_max);
    let small = DecodeParams { whole_file_bytes_max: 1_000, ..params(Encoding::Caf) };
    assert!(decode(&small, &table_first(), Cut::Whole).is_ok());
}

#[test]
fn alac_with_its_table_behind_is_held_within_the_limit() {
    let small = DecodeParams { whole_file_bytes_max: 20_000, ..params(Encoding::Caf) };
    for cut in [Cut::Whole, Cut::Every(1_000)] {
        let error = decode(&small, &fixture("studio48-alac.caf"), cut).expect_err("over the limit");
        assert!(matches!(error, DecodeError::TooLarge { limit: 20_000, .. }), "{error}");
    }
    let bytes = fixture("studio48-alac.caf");
    let table = chunks(&bytes).last().expect("chunks").1.start;
    let error = decode(&params(Encoding::Caf), &bytes[..table], Cut::Whole).expect_err("no table");
    assert_eq!(error, DecodeError::Malformed { container: "caf", what: "its packet table is missing" });
}

#[test]
fn a_cut_off_file_gives_what_came() {
    let bytes = table_first();
    let decoded = decode(&params(Encoding::Caf), &bytes[..bytes.len() / 2], Cut::Whole).expect("decodes");
    let want = decode(&params(Encoding::Caf), &bytes, Cut::Whole).expect("decodes");
    assert!(want.samples.starts_with(&decoded.samples) && decoded.samples.len() > 50_000);
    assert!(
        matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "packet", .. }]),
        "{:?}",
        decoded.warnings
    );
}

#[test]
fn data_of_unknown_length_goes_on_to_the_end() {
    let mut bytes = fixture("studio48.caf");
    let data = chunks(&bytes).iter().find(|(id, _)| id == b"data").expect("data").1.start;
    bytes[data + 4..data + 12].fill(0xff);
    let decoded = decode(&params(Encoding::Caf), &bytes, Cut::Whole).expect("decodes");
    assert!(decoded.s16() == s16(&fixture("stereo48.s16le")));
}

#[test]
fn every_pcm_coding_has_its_samples() {
    let file = |id: &[u8; 4], flags: u32, bytes: u32, bits: u32, data: &[u8]| {
        let mut out = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
        out.extend(8_000f64.to_be_bytes());
        out.extend(id);
        for field in [flags, bytes, 1, 1, bits] {
            out.extend(field.to_be_bytes());
        }
        out.extend(b"data\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
        out.extend(data);
        out
    };
    for (flags, bits, data) in [
        (0, 8, &b"\x40\xc0"[..]),
        (0, 16, b"\x40\0\xc0\0"),
        (2, 16, b"\0\x40\0\xc0"),
        (0, 24, b"\x40\0\0\xc0\0\0"),
        (2, 24, b"\0\0\x40\0\0\xc0"),
        (2, 32, b"\0\0\0\x40\0\0\0\xc0"),
        (1, 32, b"\x3f\0\0\0\xbf\0\0\0"),
        (3, 32, b"\0\0\0\x3f\0\0\0\xbf"),
        (1, 64, b"\x3f\xe0\0\0\0\0\0\0\xbf\xe0\0\0\0\0\0\0"),
        (3, 64, b"\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xe0\xbf"),
    ] {
        let decoded = decode(&params(Encoding::Caf), &file(b"lpcm", flags, bits / 8, bits, data), Cut::Every(1))
            .expect("decodes");
        assert_eq!(decoded.samples, [0.5, -0.5], "flags {flags}, {bits} bits");
    }
    let decoded = decode(&params(Encoding::Caf), &file(b"ulaw", 0, 1, 8, b"\x80\0"), Cut::Whole).expect("decodes");
    assert_eq!(decoded.s16(), [32_124, -32_124]);
    let error = decode(&params(Encoding::Caf), &file(b"aac ", 0, 0, 0, b""), Cut::Whole).expect_err("AAC");
    assert!(
        error.is_unsupported() && error.to_string().contains("'aac '") && error.to_string().contains("alac"),
        "{error}"
    );
    let error = decode(&params_raw(Encoding::Caf, 48_000, 1), &file(b"lpcm", 0, 2, 16, b""), Cut::Whole)
        .expect_err("a contradiction");
    assert_eq!(error.to_string(), "format.sample_rate: 48000 was declared, the caf header says 8000");
}

#[test]
fn damage_never_panics() {
    for bytes in
        [fixture("studio48.caf")[..8_000].to_vec(), table_first()[..30_000].to_vec(), fixture("studio48-alac.caf")]
    {
        let alive = survive_damage(&params(Encoding::Caf), &bytes, 300);
        assert!(alive > 10, "{alive} of 300 still gave samples");
    }
}
