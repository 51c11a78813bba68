//! Fragment headers and sample tables, written by hand where no muxer here writes them so.

use super::*;
use crate::decode::mp4::{Sample, SampleRun};

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], &body].concat()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn read_fragment(trafs: &[Vec<u8>], defaults: SampleDefaults) -> Result<Vec<Sample>, DecodeError> {
    let mut runs = VecDeque::new();
    fragment::read(&trafs.concat(), 1_000, 7, defaults, &mut runs)?;
    let expand = |SampleRun { first, count }: SampleRun| {
        (0..count).map(move |i| Sample { offset: first.offset + u64::from(i * first.bytes), ..first })
    };
    Ok(runs.into_iter().flat_map(expand).collect())
}

fn sample(offset: u64, bytes: u32, duration: u32) -> Sample {
    Sample { offset, bytes, duration }
}

#[test]
fn tracks_without_a_base_follow_each_other() {
    // Track 9, then ours in two runs: the second without an offset goes on where the first ended.
    let other =
        boxed(b"traf", &[&boxed(b"tfhd", &[&words(&[0x10, 9, 50])]), &boxed(b"trun", &[&words(&[0x1, 3, 200])])]);
    let ours = boxed(
        b"traf",
        &[
            &boxed(b"tfhd", &[&words(&[0x8, 7, 960])]),
            &boxed(b"trun", &[&words(&[0x200, 2, 11, 12])]),
            &boxed(b"trun", &[&words(&[0x300, 1, 480, 13])]),
        ],
    );
    let samples = read_fragment(&[other, ours], SampleDefaults { duration: 1, size: 2 }).expect("a fragment");
    assert_eq!(samples, [sample(1_350, 11, 960), sample(1_361, 12, 960), sample(1_373, 13, 480)]);
}

#[test]
fn bases_are_the_file_the_moof_or_the_data_before() {
    let explicit = [0x1, 7, 0, 5_000];
    let moof = [0x02_0000, 7];
    for (tfhd, base) in [(&explicit[..], 5_000), (&moof[..], 1_000)] {
        let traf = boxed(
            b"traf",
            &[&boxed(b"tfhd", &[&words(tfhd)]), &boxed(b"trun", &[&words(&[0x205, 1, 0xffff_fff8, 0, 40])])],
        );
        let samples = read_fragment(&[traf], SampleDefaults { duration: 1_024, size: 2 }).expect("a fragment");
        assert_eq!(samples, [sample(base - 8, 40, 1_024)]);
    }
}

#[test]
fn defaults_fill_what_a_run_leaves_out_and_claims_are_bounded() {
    let run = |count: u32| {
        let tfhd = boxed(b"tfhd", &[&words(&[0x02_0000, 7])]);
        vec![boxed(b"traf", &[&tfhd, &boxed(b"trun", &[&words(&[0x1, count, 100])])])]
    };
    let defaults = SampleDefaults { duration: 20, size: 3 };
    assert_eq!(read_fragment(&run(2), defaults), Ok(vec![sample(1_100, 3, 20), sample(1_103, 3, 20)]));
    assert!(matches!(read_fragment(&run(u32::MAX), defaults), Err(DecodeError::TooLarge { .. })));
    let cut = boxed(b"traf", &[&boxed(b"tfhd", &[&words(&[0, 7])]), &boxed(b"trun", &[&words(&[0x200, 9, 1])])]);
    assert!(matches!(read_fragment(&[cut], defaults), Err(DecodeError::Malformed { .. })));
}

fn moov(tables: &[Vec<u8>]) -> Vec<u8> {
    let stbl = boxed(b"stbl", &[&tables.concat()]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"soun"]);
    boxed(b"trak", &[&boxed(b"mdia", &[&hdlr, &boxed(b"minf", &[&stbl])])])
}

fn read_table(tables: &[Vec<u8>]) -> Vec<Sample> {
    let mut table = SampleTable::read(moov(tables)).expect("tables").expect("samples");
    std::iter::from_fn(|| table.next()).take(1_000).collect()
}

#[test]
fn samples_follow_chunks_of_changing_length() {
    let tables = [
        boxed(b"stts", &[&words(&[0, 2, 4, 960, 1, 120])]),
        boxed(b"stsc", &[&words(&[0, 2, 1, 2, 1, 2, 1, 1])]),
        boxed(b"stsz", &[&words(&[0, 0, 5, 10, 20, 30, 40, 50])]),
        boxed(b"co64", &[&words(&[0, 4, 0, 100, 0, 200, 1, 0, 1, 900])]),
    ];
    let far = 1 << 32;
    let expected = [
        sample(100, 10, 960),
        sample(110, 20, 960),
        sample(200, 30, 960),
        sample(far, 40, 960),
        sample(far + 900, 50, 120),
    ];
    assert_eq!(read_table(&tables), expected);
}

#[test]
fn compact_and_constant_sizes_are_read() {
    let stts = boxed(b"stts", &[&words(&[0, 1, 3, 7])]);
    let stsc = boxed(b"stsc", &[&words(&[0, 1, 1, 3, 1])]);
    let stco = boxed(b"stco", &[&words(&[0, 1, 500])]);
    for (sizes, expected) in [
        (boxed(b"stsz", &[&words(&[0, 6, 3])]), [6, 6, 6]),
        (boxed(b"stz2", &[&words(&[0, 4, 3]), &[0x12, 0x30]]), [1, 2, 3]),
        (boxed(b"stz2", &[&words(&[0, 8, 3]), &[1, 2, 200]]), [1, 2, 200]),
        (boxed(b"stz2", &[&words(&[0, 16, 3]), &[1, 0, 0, 2, 0, 3]]), [256, 2, 3]),
    ] {
        let samples = read_table(&[stts.clone(), stsc.clone(), sizes, stco.clone()]);
        assert_eq!(samples.iter().map(|s| s.bytes).collect::<Vec<_>>(), expected);
        assert_eq!(samples[2].offset, 500 + u64::from(expected[0] + expected[1]));
    }
}

#[test]
fn tables_shorter_than_their_counts_are_damage() {
    let stsz = boxed(b"stsz", &[&words(&[0, 0, 1_000_000, 1])]);
    assert!(matches!(SampleTable::read(moov(&[stsz])), Err(DecodeError::Malformed { .. })));
    let stco = boxed(b"stco", &[&words(&[0, 0x4000_0001, 1])]);
    assert!(matches!(SampleTable::read(moov(&[stco])), Err(DecodeError::Malformed { .. })));
    // A constant size claims any number of samples at no cost: they end with the chunks.
    let tables = [
        boxed(b"stsc", &[&words(&[0, 1, 1, 2, 1])]),
        boxed(b"stsz", &[&words(&[0, 6, u32::MAX])]),
        boxed(b"stco", &[&words(&[0, 1, 500])]),
    ];
    assert_eq!(read_table(&tables).len(), 2);
}

/// AAC at 48 kHz in a `moov` with this edit list and movie timescale.
fn movie_with(edts: &[u8], movie_timescale: u32) -> movie::AudioTrack {
    let entry = &FASTSTART[433..539];
    let mdhd = boxed(b"mdhd", &[&words(&[0, 0, 0, 48_000, 0, 0])]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"soun"]);
    let stbl = boxed(b"stbl", &[entry]);
    let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &boxed(b"minf", &[&stbl])]);
    let tkhd = boxed(b"tkhd", &[&words(&[0, 0, 0, 5])]);
    let mvhd = boxed(b"mvhd", &[&words(&[0, 0, 0, movie_timescale])]);
    movie::read(&[mvhd, boxed(b"trak", &[&tkhd, edts, &mdia])].concat()).expect("a movie")
}

#[test]
fn edit_lists_tell_priming_and_length() {
    let edts = |words_of: &[u32]| boxed(b"edts", &[&boxed(b"elst", &[&words(words_of)])]);
    let presentation = |edts: &[u8], timescale| {
        let track = movie_with(edts, timescale);
        assert_eq!(track.id, 5);
        (track.presentation.skip_ticks, track.presentation.length_ticks)
    };
    assert_eq!(presentation(&[], 1_000), (0, None));
    // Milliseconds: up to one more than told, for rounding. In the track's own units: to the sample.
    assert_eq!(presentation(&edts(&[0, 1, 1_500, 1_024, 0x1_0000]), 1_000), (1_024, Some(72_048)));
    assert_eq!(presentation(&edts(&[0, 1, 72_000, 2_112, 0x1_0000]), 48_000), (2_112, Some(72_000)));
    // An empty edit first, 64 bits wide; then several parts.
    let wide = [0x0100_0000, 2, 0, 300, u32::MAX, u32::MAX, 0x1_0000, 0, 1_500, 0, 64, 0x1_0000];
    assert_eq!(presentation(&edts(&wide), 48_000), (64, Some(1_500)));
    assert_eq!(presentation(&edts(&[0, 2, 10, 5, 0x1_0000, 10, 90, 0x1_0000]), 48_000), (5, None));
    // A count no table follows.
    assert_eq!(presentation(&edts(&[0, u32::MAX, 10, 5, 0x1_0000]), 48_000), (5, Some(10)));
}
