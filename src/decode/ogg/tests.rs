use super::super::testing::*;
use super::page::checksum;
use super::*;
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec};
use crate::decode::codec::vorbis;

/// The largest page there is, and the largest packet kept besides.
const HELD_BYTES_MAX: usize = 65_307 + (1 << 20);

fn ogg() -> DecodeParams {
    native(Encoding::Ogg)
}

fn decode(bytes: &[u8]) -> Decoded {
    run(&ogg(), bytes, Cut::Whole)
}

fn undamaged(bytes: &[u8]) -> Decoded {
    let decoded = decode(bytes);
    assert_eq!((&decoded.error, &decoded.warnings[..]), (&None, &[][..]));
    decoded
}

const CONTINUED: u8 = 1;
const BEGINS: u8 = 2;
const ENDS: u8 = 4;

/// A page of whole packets.
fn page(flags: u8, granule: i64, serial: u32, sequence: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut lacing = Vec::new();
    for packet in packets {
        lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
        lacing.push((packet.len() % 255) as u8);
    }
    page_of(flags, granule, serial, sequence, &lacing, &packets.concat())
}

fn page_of(flags: u8, granule: i64, serial: u32, sequence: u32, lacing: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    page.push(lacing.len() as u8);
    page.extend_from_slice(lacing);
    page.extend_from_slice(body);
    let crc = checksum(&page);
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// The pages of an undamaged file.
fn pages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let lacing = &rest[27..27 + usize::from(rest[26])];
        let total = 27 + lacing.len() + lacing.iter().map(|&l| usize::from(l)).sum::<usize>();
        pages.push(rest[..total].to_vec());
        rest = &rest[total..];
    }
    pages
}

#[test]
fn recorders_and_files_are_decoded_as_ffmpeg_does() {
    for (path, frames) in [
        ("recorders/firefox-opus.ogg", 317_824),
        ("audio/live-opus.ogg", 72_000),
        ("audio/pages1s-opus.ogg", 72_000),
        ("audio/voip-opus.ogg", 72_000),
        ("audio/studio48-vorbis.ogg", 72_000),
    ] {
        let decoded = undamaged(&file(path));
        assert_eq!(decoded.frames(), frames, "{path}");
        let db = difference_s16_db(&decoded.samples, &floats(&expected(path.split('/').next_back().expect("a name"))));
        assert!(db < -100.0, "{path}: {db} dB");
    }
}

/// Ogg has them in the order of Vorbis; they come out in that of WAVE, as from ffmpeg.
#[test]
fn surround_comes_out_in_the_order_of_wave() {
    for (name, rate_hz, channels, frames, limit_db) in [
        ("surround-opus.ogg", 48_000, 6, 48_000, -80.0),
        ("surround-vorbis.ogg", 16_000, 6, 4_800, -100.0),
        ("surround48-vorbis.ogg", 48_000, 3, 14_400, -100.0),
        ("surround3-vorbis.ogg", 16_000, 3, 1_600, -100.0),
        ("surround5-vorbis.ogg", 16_000, 5, 1_600, -100.0),
        ("surround7-vorbis.ogg", 16_000, 7, 1_600, -100.0),
        ("surround8-vorbis.ogg", 16_000, 8, 1_600, -100.0),
    ] {
        let decoded = undamaged(&fixture(name));
        assert_eq!((decoded.spec(), decoded.frames()), (PcmSpec { rate_hz, channels }, frames), "{name}");
        assert_each_channel(&decoded.samples, &floats(&expected(name)), channels, limit_db);
    }
}

#[test]
fn cuts_change_nothing() {
    let (bytes, sizes) = recording("firefox-opus.ogg");
    assert_same_however_cut(&ogg(), &bytes);
    run(&ogg(), &bytes, Cut::Sizes(&sizes)).assert_same(&decode(&bytes), "as sent");
    for name in [
        "live-opus.ogg",
        "pages1s-opus.ogg",
        "voip-opus.ogg",
        "surround-opus.ogg",
        "studio48-vorbis.ogg",
        "surround-vorbis.ogg",
    ] {
        assert_same_however_cut(&ogg(), &fixture(name));
    }
}

#[test]
fn speech_stays_in_its_place_at_every_output_rate() {
    let (channels, studio) = wav_samples("audio/studio48.wav");
    let studio = down_mix(&studio, channels);
    for name in ["live-opus.ogg", "pages1s-opus.ogg", "voip-opus.ogg"] {
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            let params = params_to(Encoding::Ogg, OutputFormat { rate_hz, channels: OutputChannels::Mono });
            let decoded = run(&params, &fixture(name), Cut::Whole);
            assert_eq!(
                (decoded.spec(), decoded.frames()),
                (PcmSpec { rate_hz, channels: 1 }, rate_hz as usize * 3 / 2)
            );
            let reference: Vec<f32> = studio.iter().copied().step_by(48_000 / rate_hz as usize).collect();
            // libopus' own resampling of SILK is up to 0.1 ms off.
            let tolerance = if rate_hz == 16_000 { 0 } else { rate_hz as isize / 10_000 };
            assert!(best_lag(&decoded.samples, &reference, 50).abs() <= tolerance, "{name} at {rate_hz}");
        }
    }
    let vorbis = undamaged(&fixture("studio48-vorbis.ogg"));
    assert_eq!(best_lag(&down_mix(&vorbis.samples, 2), &studio, 50), 0);
}

#[test]
fn chained_streams_go_on_on_the_same_timeline() {
    let (stereo, mono) = (fixture("live-opus.ogg"), fixture("voip-opus.ogg"));
    let (first, second) = (undamaged(&stereo), undamaged(&mono));
    let both = undamaged(&[&stereo[..], &mono].concat());
    assert!(both.samples == [&first.samples[..], &second.samples].concat());
    // A recorder that was stopped without an end, and another codec after it.
    let unended = pages(&stereo);
    let unended = unended[..unended.len() - 1].concat();
    let vorbis = fixture("studio48-vorbis.ogg");
    let both = undamaged(&[&unended[..], &vorbis].concat());
    assert!(both.samples.ends_with(&undamaged(&vorbis).samples));
    assert!(both.samples.starts_with(&undamaged(&unended).samples));
}

#[test]
fn other_logical_streams_are_passed_over() {
    let bytes = fixture("live-opus.ogg");
    let ours = pages(&bytes);
    let mut multiplexed = page(BEGINS, 0, 77, 0, &[b"\x80theora and more"]);
    multiplexed.extend_from_slice(&ours[0]);
    // A second stream that could be decoded; the first is taken.
    multiplexed.extend(page(BEGINS, 0, 78, 0, &[&ogg_packets(&bytes)[0]]));
    for (i, ours) in (1..).zip(&ours[1..]) {
        multiplexed.extend(page(0, i64::from(i), 77, i, &[&[0xAA; 3_000]]));
        multiplexed.extend_from_slice(ours);
    }
    assert!(undamaged(&multiplexed).samples == undamaged(&bytes).samples);
    assert_same_however_cut(&ogg(), &multiplexed);
}

#[test]
fn packets_and_comments_cross_pages() {
    let bytes = fixture("live-opus.ogg");
    let plain = undamaged(&bytes);
    let ours = ogg_packets(&bytes);
    let mut stream = page(BEGINS, 0, 5, 0, &[&ours[0]]);
    // Comments with a picture of 200 KB, which are not held.
    let mut comments = ours[1].clone();
    comments.resize(200_000, 7);
    let mut sequence = 1;
    for part in comments.chunks(255 * 255) {
        let mut lacing = vec![255; part.len() / 255];
        if part.len() % 255 > 0 {
            lacing.push((part.len() % 255) as u8);
        }
        let flags = if sequence > 1 { CONTINUED } else { 0 };
        stream.extend(page_of(flags, if lacing.len() == 255 { -1 } else { 0 }, 5, sequence, &lacing, part));
        sequence += 1;
    }
    // One long packet a page pair, cut in its middle: code 3 with padding makes it long enough to be cut.
    let mut granule = 0;
    for packet in &ours[2..] {
        granule += 960;
        let padded = padded(packet);
        stream.extend(page_of(0, -1, 5, sequence, &[255], &padded[..255]));
        let rest = &padded[255..];
        let mut lacing = vec![255; rest.len() / 255];
        lacing.push((rest.len() % 255) as u8);
        stream.extend(page_of(CONTINUED, granule, 5, sequence + 1, &lacing, rest));
        sequence += 2;
    }
    let decoded = undamaged(&stream);
    assert!(decoded.samples[..plain.samples.len()] == plain.samples, "all but the end, which is not marked here");
    assert_same_however_cut(&ogg(), &stream[..stream.len() / 3]);
    let held = run(&ogg(), &stream, Cut::Every(1_000)).pending_max;
    assert!(held < 70_000, "{held} bytes held");
}

/// The same Opus frame in a packet of code 3 with 508 bytes of padding (RFC 6716 section 3.2.5).
fn padded(packet: &[u8]) -> Vec<u8> {
    assert_eq!(packet[0] & 3, 0, "one frame");
    let mut long = vec![packet[0] | 3, 0x41, 255, 254];
    long.extend_from_slice(&packet[1..]);
    long.extend([0; 254 + 254]);
    long
}

#[test]
fn a_stream_cut_at_its_front_is_trimmed_right_at_its_end() {
    let bytes = fixture("live-opus.ogg");
    let ours = pages(&bytes);
    let whole = undamaged(&bytes);
    // Headers, then from the middle on: the first page's granule position is far from zero.
    let cut = [&ours[0], &ours[1], &ours[40..].concat()].map(|p| &p[..]).concat();
    let decoded = decode(&cut);
    assert_eq!(decoded.error, None);
    let pages_left_out = (40 - 2) * 960;
    assert_eq!(decoded.frames(), whole.frames() - pages_left_out, "pre-skip and end are taken off as ever");
}

#[test]
fn an_end_before_the_end_of_the_packets_is_kept_to() {
    let bytes = fixture("live-opus.ogg");
    let ours = ogg_packets(&bytes);
    let audio: Vec<&[u8]> = ours[2..12].iter().map(Vec::as_slice).collect();
    let stream = |granule| {
        [page(BEGINS, 0, 5, 0, &[&ours[0]]), page(0, 0, 5, 1, &[&ours[1]]), page(ENDS, granule, 5, 2, &audio)].concat()
    };
    // A single page of audio: less than it holds means its end, never its beginning (RFC 7845 section 4.5).
    for (granule, frames) in [(9_600, 9_288), (5_000, 4_688), (312, 0), (100, 0)] {
        let decoded = undamaged(&stream(granule));
        assert_eq!(decoded.frames(), frames, "granule {granule}");
        assert_same_however_cut(&ogg(), &stream(granule));
    }
    assert_eq!(undamaged(&stream(5_000)).samples[..], undamaged(&stream(9_600)).samples[..4_688 * 2]);
}

/// A file with a page for each of its packets.
fn one_packet_a_page(name: &str) -> Vec<Vec<u8>> {
    let ours = ogg_packets(&fixture(name));
    let is_vorbis = name.contains("vorbis");
    let headers = if is_vorbis { 3 } else { 2 };
    let mut times = is_vorbis.then(|| vorbis::Headers::parse(&ours[0], &ours[2]).expect("headers").times);
    let mut granule = 0;
    let pages = (0..).zip(&ours).map(|(i, packet)| {
        if i >= headers {
            granule += times.as_mut().map_or(960, |times| times.next(packet).expect("a time") as i64);
        }
        page(if i == 0 { BEGINS } else { 0 }, granule, 5, i as u32, &[packet])
    });
    pages.collect()
}

#[test]
fn lost_pages_are_filled_so_that_the_rest_stays_in_its_place() {
    for (name, codec) in [("live-opus.ogg", "Opus"), ("studio48-vorbis.ogg", "Vorbis")] {
        let pages = one_packet_a_page(name);
        let whole = undamaged(&pages.concat());
        let lost = pages.len() / 2..pages.len() / 2 + 3;
        let without = [&pages[..lost.start], &pages[lost.end..]].concat().concat();
        let decoded = decode(&without);
        assert_eq!((&decoded.error, decoded.samples.len()), (&None, whole.samples.len()), "{name}");
        assert!(decoded.warnings.len() <= 12 && decoded.warnings.contains(&DecodeWarning::PacketConcealed { codec }));
        let tail = whole.samples.len() - 20_000;
        let db = difference_db(&decoded.samples[tail..], &whole.samples[tail..]);
        assert!(db < -30.0, "{name}: {db} dB");
    }
}

#[test]
fn damage_is_told_and_the_stream_goes_on() {
    for name in ["live-opus.ogg", "studio48-vorbis.ogg"] {
        let pages = one_packet_a_page(name);
        let bytes = pages.concat();
        let whole = undamaged(&bytes);
        let mut damaged = bytes.clone();
        let at = bytes.len() / 2;
        damaged[at..at + 40].fill(0x55);
        let decoded = decode(&damaged);
        assert_eq!(decoded.error, None);
        assert!(
            decoded.warnings.iter().any(|w| matches!(w, DecodeWarning::Resynced { container: "Ogg", .. })),
            "{name}"
        );
        assert_eq!(decoded.samples.len(), whole.samples.len(), "{name}: the lost page's time is kept");
        assert_same_however_cut(&ogg(), &damaged);
    }
}

#[test]
fn vorbis_that_begins_before_its_first_granule_is_cut_at_its_front() {
    // The first page of audio claims less than its packets hold and is not the last (Vorbis I section A.2).
    let ours = ogg_packets(&fixture("studio48-vorbis.ogg"));
    let mut times = vorbis::Headers::parse(&ours[0], &ours[2]).expect("headers").times;
    let audio: Vec<&[u8]> = ours[3..23].iter().map(Vec::as_slice).collect();
    let held: u64 = audio[..10].iter().map(|p| times.next(p).expect("a time")).sum();
    let rest: u64 = audio[10..].iter().map(|p| times.next(p).expect("a time")).sum();
    let stream = |granule: u64| {
        let headers = [page(BEGINS, 0, 5, 0, &[&ours[0]]), page(0, 0, 5, 1, &[&ours[1], &ours[2]])].concat();
        let first = page(0, granule as i64, 5, 2, &audio[..10]);
        // The end is cut by 64 frames.
        let last = page(ENDS, (granule + rest - 64) as i64, 5, 3, &audio[10..]);
        undamaged(&[headers, first, last].concat())
    };
    let (plain, cut, late) = (stream(held), stream(held - 500), stream(held + 1_000_000));
    assert_eq!(plain.frames() as u64, held + rest - 64);
    assert!(cut.samples == plain.samples[500 * 2..]);
    assert!(late.samples == plain.samples);
}

#[test]
fn a_declaration_that_the_header_contradicts_is_refused() {
    let with = |name: &str, rate, channels| {
        let mut params = ogg();
        (params.format.sample_rate, params.format.channels) = (rate, channels);
        run(&params, &fixture(name), Cut::Whole).error
    };
    let contradiction =
        |field, declared, found| Some(DecodeError::Contradiction { field, declared, found, container: "Ogg" });
    assert_eq!(with("live-opus.ogg", Some(48_000), Some(2)), None);
    assert_eq!(with("live-opus.ogg", Some(44_100), None), contradiction("sample_rate", 44_100, 48_000));
    assert_eq!(with("live-opus.ogg", None, Some(1)), contradiction("channels", 1, 2));
    assert_eq!(with("studio48-vorbis.ogg", Some(16_000), None), contradiction("sample_rate", 16_000, 48_000));
}

#[test]
fn what_is_no_ogg_or_has_no_known_codec_says_so() {
    assert!(matches!(decode(b"RIFF and what belongs to it").error, Some(DecodeError::Malformed { .. })));
    assert!(matches!(decode(&vec![b'O'; 2 << 20]).error, Some(DecodeError::Malformed { .. })));
    assert_eq!(decode(b"").error, None);
    let speex = [page(BEGINS, 0, 1, 0, &[b"Speex   1.2 and more"]), page(0, 0, 1, 1, &[b"comments"])].concat();
    assert!(matches!(decode(&speex).error, Some(DecodeError::Unsupported { what, .. }) if what.contains("Speex")));
    let headless = pages(&fixture("live-opus.ogg"))[2..].concat();
    assert!(matches!(decode(&headless).error, Some(DecodeError::Malformed { .. })));
}

#[test]
fn an_end_inside_a_page_is_told() {
    let bytes = file("recorders/firefox-opus.ogg");
    let decoded = decode(&bytes[..bytes.len() - 5]);
    assert_eq!(decoded.error, None);
    assert!(matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "page", .. }]));
}

#[test]
fn damaged_and_random_bytes_do_no_harm() {
    for name in ["live-opus.ogg", "surround-opus.ogg", "studio48-vorbis.ogg", "surround-vorbis.ogg"] {
        let bytes = fixture(name);
        survive_damage(&ogg(), &bytes, 40, HELD_BYTES_MAX);
        // Damage behind a checksum that fits: what the codecs and the headers see.
        for seed in 0..60 {
            let mut random = Random(seed);
            let damaged: Vec<u8> = pages(&bytes)
                .into_iter()
                .flat_map(|mut page| {
                    let body = 27 + usize::from(page[26]);
                    if body < page.len() && random.below(6) == 0 {
                        let changed = mutate(&page[body..], &mut random);
                        let end = page.len();
                        page[body..end].iter_mut().zip(&changed).for_each(|(to, &from)| *to = from);
                    }
                    if random.below(12) == 0 {
                        page[5 + random.below(20)] = random.next() as u8;
                    }
                    let crc = checksum(&page);
                    page[22..26].copy_from_slice(&crc.to_le_bytes());
                    page
                })
                .collect();
            let decoded = decode(&damaged);
            assert!(decoded.pending_max <= HELD_BYTES_MAX);
        }
    }
}
