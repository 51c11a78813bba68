use super::super::testing::*;
use super::block::GROUP_EXTRA_BYTES_MAX;
use super::ebml::{children, id, read_header};
use super::*;
use crate::audio::{Encoding, OutputChannels, OutputFormat};

fn webm() -> DecodeParams {
    native(Encoding::Webm)
}

fn decode(bytes: &[u8]) -> Decoded {
    run(&webm(), bytes, Cut::Whole)
}

fn undamaged(bytes: &[u8]) -> Decoded {
    let decoded = decode(bytes);
    assert_eq!((&decoded.error, &decoded.warnings[..]), (&None, &[][..]));
    decoded
}

fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let mut bytes: Vec<u8> = id.into_iter().skip_while(|&b| b == 0).collect();
    bytes.extend((content.len() as u64 | 1 << 56).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn child(content: &[u8], wanted: u32) -> &[u8] {
    children(content).find(|&(id, _)| id == wanted).expect("the element").1
}

/// EBML header, `Tracks` element and the packets of a file whose sizes are known.
fn taken_apart(bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let Read::Whole(header) = read_header(bytes) else { panic!("no EBML header") };
    let ebml = bytes[..header.bytes + header.size.expect("a size") as usize].to_vec();
    let segment = child(bytes, id::SEGMENT);
    let tracks = element(id::TRACKS, child(segment, id::TRACKS));
    let mut packets = Vec::new();
    for (_, cluster) in children(segment).filter(|&(id, _)| id == id::CLUSTER) {
        for (id, content) in children(cluster) {
            let block = match id {
                id::SIMPLE_BLOCK => content,
                id::BLOCK_GROUP => child(content, id::BLOCK),
                _ => continue,
            };
            packets.push(block[4..].to_vec());
        }
    }
    assert!(packets.len() > 50);
    (ebml, tracks, packets)
}

fn simple_block(lacing_flags: u8, payload: &[u8]) -> Vec<u8> {
    element(id::SIMPLE_BLOCK, &[&[0x81, 0, 0, lacing_flags], payload].concat())
}

/// A live stream of the given blocks.
fn stream(ebml: &[u8], tracks: &[u8], blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = ebml.to_vec();
    bytes.extend([0x18, 0x53, 0x80, 0x67, 0xFF]);
    bytes.extend_from_slice(tracks);
    bytes.extend([0x1F, 0x43, 0xB6, 0x75, 0xFF, 0xE7, 0x81, 0]);
    bytes.extend(blocks.concat());
    bytes
}

#[test]
fn recorders_and_files_are_decoded_as_ffmpeg_does() {
    // No padding is marked in the Vorbis file, so that both keep the 64 frames its last block has beyond the source's end.
    for (path, frames) in [
        ("recorders/chromium-opus.webm", 302_400),
        ("recorders/firefox-opus.webm", 318_408),
        ("audio/live-opus.webm", 72_000),
        ("audio/file-opus.webm", 72_000),
        ("audio/studio48-vorbis.webm", 72_064),
        ("audio/surround-vorbis.webm", 5_120),
    ] {
        let decoded = undamaged(&file(path));
        assert_eq!(decoded.frames(), frames, "{path}");
        let db = difference_s16_db(&decoded.samples, &floats(&expected(path.split('/').next_back().expect("a name"))));
        assert!(db < -100.0, "{path}: {db} dB");
    }
}

#[test]
fn cuts_change_nothing() {
    for name in ["chromium-opus.webm", "firefox-opus.webm"] {
        let (bytes, sizes) = recording(name);
        assert_same_however_cut(&webm(), &bytes);
        run(&webm(), &bytes, Cut::Sizes(&sizes)).assert_same(&decode(&bytes), name);
    }
    for name in [
        "live-opus.webm",
        "file-opus.webm",
        "restarted-opus.webm",
        "studio48-pcm.mka",
        "studio48-vorbis.webm",
        "surround-vorbis.webm",
    ] {
        assert_same_however_cut(&webm(), &fixture(name));
    }
    let (pcm, sizes) = recording("chromium-pcm.webm");
    assert_same_however_cut(&webm(), &pcm[..100_000]);
    run(&webm(), &pcm[..100_000], Cut::Sizes(&sizes)).assert_same(&decode(&pcm[..100_000]), "as sent");
}

#[test]
fn audio_comes_with_the_chunk_that_brings_it() {
    let (bytes, sizes) = recording("chromium-opus.webm");
    let mut decoder = Webm::new(&webm());
    let mut out = DecodeOut::default();
    let mut frames = Vec::new();
    let mut at = 0;
    for size in sizes {
        let mut chunk = &bytes[at..at + size];
        at += size;
        let mut in_chunk = 0;
        while !chunk.is_empty() {
            out.clear();
            let step = decoder.decode(chunk, &mut out).expect("a good stream");
            in_chunk += out.pcm.frames();
            chunk = &chunk[step.consumed..];
        }
        frames.push(in_chunk);
        assert!(decoder.pending_bytes() < 700, "no more than a packet waits");
    }
    assert!(decoder.carry.capacity() <= 4_096, "{} bytes of memory", decoder.carry.capacity());
    // The first is a single byte; then 100 ms of audio in packets of 60 ms.
    assert_eq!(frames[0], 0);
    assert!(frames[1..].iter().all(|&n| n >= 2_880), "{frames:?}");
}

#[test]
fn pcm_comes_through_bit_for_bit() {
    let pcm = undamaged(&fixture("studio48-pcm.mka"));
    let (channels, wav) = wav_samples("audio/studio48.wav");
    assert_eq!(pcm.spec().channels, channels);
    assert!(pcm.samples == wav);
}

#[test]
fn a_recorder_of_pcm_keeps_the_speech() {
    let pcm = undamaged(&file("recorders/chromium-pcm.webm"));
    assert_eq!((pcm.spec().rate_hz, pcm.spec().channels, pcm.frames()), (48_000, 1, 303_840));
    let (_, speech) = wav_samples("recorders/speech48.wav");
    let db = difference_db(&pcm.samples[..speech.len()], &speech);
    assert!(db < -90.0, "{db} dB");
}

#[test]
fn speech_stays_in_its_place_at_every_output_rate() {
    let (channels, studio) = wav_samples("audio/studio48.wav");
    let studio = down_mix(&studio, channels);
    for name in ["live-opus.webm", "file-opus.webm"] {
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            let params = params_to(Encoding::Webm, OutputFormat { rate_hz, channels: OutputChannels::Mono });
            let decoded = run(&params, &fixture(name), Cut::Whole);
            assert_eq!(decoded.spec(), crate::audio::PcmSpec { rate_hz, channels: 1 });
            assert_eq!(decoded.frames(), rate_hz as usize * 3 / 2, "1.5 s");
            let reference: Vec<f32> = studio.iter().copied().step_by(48_000 / rate_hz as usize).collect();
            assert_eq!(best_lag(&decoded.samples, &reference, 50), 0, "{name} at {rate_hz}");
        }
    }
}

#[test]
fn mono_is_the_mean_of_the_channels() {
    let bytes = fixture("live-opus.webm");
    let mono = run(
        &params_to(Encoding::Webm, OutputFormat { rate_hz: 48_000, channels: OutputChannels::Mono }),
        &bytes,
        Cut::Whole,
    );
    let stereo = undamaged(&bytes);
    assert_eq!((mono.spec().channels, stereo.spec().channels), (1, 2));
    let db = difference_db(&mono.samples, &down_mix(&stereo.samples, 2));
    assert!(db < -70.0, "{db} dB");
}

#[test]
fn the_output_gain_is_applied() {
    let mut bytes = fixture("file-opus.webm");
    let plain = undamaged(&bytes);
    let head = memchr::memmem::find(&bytes, b"OpusHead").expect("a head");
    bytes[head + 16..head + 18].copy_from_slice(&(-1541i16).to_le_bytes());
    let halved: Vec<f32> = undamaged(&bytes).samples.iter().map(|&x| x * 2.0).collect();
    let db = difference_db(&halved, &plain.samples);
    assert!(db < -60.0, "{db} dB");
}

#[test]
fn a_recorder_that_begins_anew_goes_on_on_the_same_timeline() {
    let bytes = fixture("restarted-opus.webm");
    let second = memchr::memmem::rfind(&bytes, &id::EBML.to_be_bytes()).expect("a second beginning");
    let (first, second) = (undamaged(&bytes[..second]), undamaged(&bytes[second..]));
    let both = undamaged(&bytes);
    assert!(first.frames() > 30_000 && second.frames() > 30_000);
    assert!(both.samples == [first.samples, second.samples].concat());
}

#[test]
fn laced_frames_are_the_frames() {
    let (ebml, tracks, packets) = taken_apart(&fixture("file-opus.webm"));
    let plain: Vec<_> = packets.iter().map(|p| simple_block(0, p)).collect();
    let plain = undamaged(&stream(&ebml, &tracks, &plain));
    let xiph: Vec<_> = packets
        .chunks(3)
        .map(|three| {
            let mut payload = vec![three.len() as u8 - 1];
            for packet in &three[..three.len() - 1] {
                payload.extend(std::iter::repeat_n(255, packet.len() / 255));
                payload.push((packet.len() % 255) as u8);
            }
            payload.extend(three.concat());
            simple_block(0x02, &payload)
        })
        .collect();
    let xiph = stream(&ebml, &tracks, &xiph);
    assert!(undamaged(&xiph).samples == plain.samples);
    assert_same_however_cut(&webm(), &xiph);
    let ebml_laced: Vec<_> = packets
        .chunks(4)
        .map(|four| {
            let mut payload = vec![four.len() as u8 - 1];
            let mut before = None;
            for packet in &four[..four.len() - 1] {
                let len = packet.len() as i64;
                let value = before.map_or(len, |before: i64| len - before + ((1 << 13) - 1));
                payload.extend((value as u16 | 0x4000).to_be_bytes());
                before = Some(len);
            }
            payload.extend(four.concat());
            simple_block(0x06, &payload)
        })
        .collect();
    assert!(undamaged(&stream(&ebml, &tracks, &ebml_laced)).samples == plain.samples);
}

#[test]
fn other_tracks_and_other_elements_are_passed_over() {
    let (ebml, tracks, packets) = taken_apart(&fixture("file-opus.webm"));
    let plain: Vec<_> = packets.iter().map(|p| simple_block(0, p)).collect();
    let alone = undamaged(&stream(&ebml, &tracks, &plain));
    let picture = vec![0x1F; 70_000];
    let mut with_others = Vec::new();
    for block in plain {
        with_others.push(element(id::SIMPLE_BLOCK, &[&[0x82, 0, 0, 0][..], &picture].concat()));
        with_others.push(element(id::VOID, &picture));
        let of_another = element(id::BLOCK, &[&[0x82, 0, 0, 0][..], &picture].concat());
        with_others.push(element(id::BLOCK_GROUP, &of_another));
        with_others.push(element(id::TAGS, &picture));
        with_others.push(block);
    }
    let decoded = undamaged(&stream(&ebml, &tracks, &with_others));
    assert!(decoded.samples == alone.samples);
    let cut = run(&webm(), &stream(&ebml, &tracks, &with_others[..50]), Cut::Every(1_000));
    assert!(cut.pending_max < 2_000, "what is passed over is not held");
}

#[test]
fn padding_is_left_out_at_the_end_of_its_block() {
    let (ebml, tracks, packets) = taken_apart(&fixture("file-opus.webm"));
    let mut blocks: Vec<_> = packets[..9].iter().map(|p| simple_block(0, p)).collect();
    let whole = undamaged(&stream(&ebml, &tracks, &blocks));
    let block = element(id::BLOCK, &[&[0x81, 0, 0, 0][..], &packets[8]].concat());
    let padding = element(id::DISCARD_PADDING, &5_000_000i32.to_be_bytes());
    *blocks.last_mut().expect("blocks") = element(id::BLOCK_GROUP, &[block, padding].concat());
    let padded = undamaged(&stream(&ebml, &tracks, &blocks));
    assert_eq!(padded.frames() + 240, whole.frames());
    assert!(padded.samples == whole.samples[..padded.samples.len()]);
}

#[test]
fn a_declaration_that_the_header_contradicts_is_refused() {
    let bytes = fixture("file-opus.webm");
    let with = |rate, channels| {
        let mut params = webm();
        (params.format.sample_rate, params.format.channels) = (rate, channels);
        run(&params, &bytes, Cut::Whole).error
    };
    assert_eq!(with(Some(48_000), Some(2)), None);
    let contradiction =
        |field, declared, found| DecodeError::Contradiction { field, declared, found, container: "WebM" };
    assert_eq!(with(Some(44_100), None), Some(contradiction("sample_rate", 44_100, 48_000)));
    assert_eq!(with(None, Some(1)), Some(contradiction("channels", 1, 2)));
}

#[test]
fn what_is_no_webm_or_has_no_sound_says_so() {
    let error = |bytes: &[u8]| decode(bytes).error;
    assert!(matches!(error(b"OggS is not WebM, and long enough to see"), Some(DecodeError::Malformed { .. })));
    let bytes = fixture("file-opus.webm");
    assert!(matches!(error(&bytes[..100]), Some(DecodeError::Malformed { .. })), "ends before the tracks");
    assert_eq!(error(b""), None);
    let mut other = bytes;
    let at = memchr::memmem::find(&other, b"A_OPUS").expect("a codec");
    other[at..at + 6].copy_from_slice(b"A_AC-3");
    assert!(matches!(error(&other), Some(DecodeError::Unsupported { what, .. }) if what.contains("A_AC-3")));
}

#[test]
fn a_stream_of_which_nothing_decodes_is_an_error() {
    let (ebml, tracks, packets) = taken_apart(&fixture("file-opus.webm"));
    let spoiled: Vec<_> = packets.iter().map(|p| simple_block(0, &vec![0xFF; p.len()])).collect();
    let error = decode(&stream(&ebml, &tracks, &spoiled)).error;
    assert!(matches!(error, Some(DecodeError::Malformed { container: "WebM", .. })), "{error:?}");
}

#[test]
fn damage_is_told_and_the_stream_goes_on() {
    // A packet's own bytes: its time is kept.
    let (ebml, tracks, mut packets) = taken_apart(&fixture("file-opus.webm"));
    let blocks = |packets: &[Vec<u8>]| packets.iter().map(|p| simple_block(0, p)).collect::<Vec<_>>();
    let whole = undamaged(&stream(&ebml, &tracks, &blocks(&packets)));
    packets[30].fill(0xFF);
    packets[40].clear();
    let decoded = decode(&stream(&ebml, &tracks, &blocks(&packets)));
    assert_eq!((&decoded.error, decoded.samples.len()), (&None, whole.samples.len()));
    assert_eq!(decoded.warnings, vec![DecodeWarning::PacketConcealed { codec: "Opus" }; 2]);
    let before = 2 * (30 * 960 - 312);
    assert!(decoded.samples[..before] == whole.samples[..before] && decoded.samples != whole.samples);
    // An element's header: the stream is found again at the next cluster, here the second beginning.
    let mut restarted = fixture("restarted-opus.webm");
    let second = memchr::memmem::rfind(&restarted, &id::EBML.to_be_bytes()).expect("a second beginning");
    let after = undamaged(&restarted[second..]);
    restarted[second - 500..second].fill(0);
    let decoded = decode(&restarted);
    assert_eq!(decoded.error, None);
    assert!(decoded.warnings.iter().any(|w| matches!(w, DecodeWarning::Resynced { container: "WebM", .. })));
    assert!(decoded.samples.ends_with(&after.samples));
}

#[test]
fn a_block_shorter_than_its_header_is_damage() {
    // What follows the element would complete the header, and the payload would begin beyond the block's end.
    for name in ["file-opus.webm", "studio48-pcm.mka"] {
        let (ebml, tracks, packets) = taken_apart(&fixture(name));
        let blocks: Vec<_> = packets[..6].iter().map(|p| simple_block(0, p)).collect();
        let whole = undamaged(&stream(&ebml, &tracks, &blocks));
        for bytes in 0..4 {
            let short = element(id::SIMPLE_BLOCK, &[0x81, 0, 0][..bytes]);
            let cluster = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
            let spoiled = [&blocks[..3], &[short, cluster], &blocks[3..]].concat();
            let spoiled = stream(&ebml, &tracks, &spoiled);
            let decoded = decode(&spoiled);
            assert_eq!(decoded.error, None);
            // The identifier, the size in eight bytes and the content are passed over.
            let resynced = DecodeWarning::Resynced { container: "WebM", bytes: 9 + bytes as u64 };
            assert_eq!(decoded.warnings, [resynced], "{name}, {bytes} bytes");
            assert!(decoded.samples == whole.samples, "{name}, {bytes} bytes");
            assert_same_however_cut(&webm(), &spoiled);
        }
    }
}

#[test]
fn an_end_inside_a_block_is_told() {
    let bytes = file("recorders/chromium-opus.webm");
    let decoded = decode(&bytes[..bytes.len() - 5]);
    assert_eq!(decoded.error, None);
    assert!(matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "element", .. }]));
}

#[test]
fn damaged_and_random_bytes_do_no_harm() {
    let held_max = (BLOCK_BYTES_MAX + GROUP_EXTRA_BYTES_MAX) as usize + HEADER_BYTES_MAX;
    for path in ["restarted-opus.webm", "file-opus.webm", "studio48-vorbis.webm"] {
        survive_damage(&webm(), &fixture(path), 80, held_max);
    }
    survive_damage(&webm(), &file("recorders/chromium-pcm.webm")[..60_000], 50, held_max);
    let mut random = Random(7);
    let ebml = &fixture("live-opus.webm")[..400];
    for _ in 0..50 {
        let noise: Vec<u8> = (0..5_000).map(|_| random.next() as u8).collect();
        survive_damage(&webm(), &[ebml, &noise].concat(), 3, held_max);
    }
}
