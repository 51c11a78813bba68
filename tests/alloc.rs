//! A running stream does not allocate: once the buffers have grown to its frames and packets, the rest of it costs no allocation,
//! however it is cut. Nor does a broadcast, beyond its one encoding, once the receivers' queues have grown.

use std::path::Path;
use std::sync::Arc;

use voxgate::audio::{Encoding, OutputFormat, StreamFormat};
use voxgate::decode::{self, DecodeOut, DecodeParams, Decoder, WHOLE_FILE_BYTES_MAX};
use voxgate::dialect::native::{self, DecodeLimits, Envelope};
use voxgate::hub::{ConnectionMeta, Connections, Notice, OutboxLimits};
use voxgate::pipeline::{Chain, Scratch, StreamPipeline, StreamSettings};
use voxgate::protocol::{AudioReceived, Event, Json, Overflow};
use voxgate::session::{Authentication, Effect, Route, Session, SessionLimits, StreamDefaults};
use voxgate::sink::Sink;
use voxgate::sink::levels::LevelSink;
use voxgate::websocket::{Incoming, Limits, OpCode, Reader, Role, encode_masked};

/// Feeds `bytes` in pieces; `out` and the decoder keep their memory. Returns the samples that came.
fn feed(decoder: &mut dyn Decoder, bytes: &[u8], piece_bytes: usize, out: &mut DecodeOut) -> usize {
    let mut samples = 0;
    for mut piece in bytes.chunks(piece_bytes) {
        loop {
            out.clear();
            let step = decoder.decode(piece, out).expect("a good stream");
            samples += out.pcm.samples.len();
            piece = &piece[step.consumed..];
            if piece.is_empty() && !step.more {
                break;
            }
        }
    }
    samples
}

/// Allocations while the second half of a fixture is decoded.
fn allocations(path: &str, format: StreamFormat, piece_bytes: usize) -> u64 {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)).expect("a fixture");
    let params = DecodeParams { format, output: OutputFormat::default(), whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let mut decoder = decode::open(&params).expect("a decoder");
    let mut out = DecodeOut::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert!(feed(decoder.as_mut(), first, piece_bytes, &mut out) > 0, "{path}: nothing came of the first half");
    let mut samples = 0;
    let info = allocation_counter::measure(|| samples = feed(decoder.as_mut(), second, piece_bytes, &mut out));
    assert!(samples > 0, "{path}: nothing came of the second half");
    info.count_total
}

#[test]
fn raw_samples_cost_no_allocation() {
    for (path, encoding) in [
        ("audio/mono16.s16le", Encoding::PcmS16le),
        ("audio/mono16.s24le", Encoding::PcmS24le),
        ("audio/mono16.f32le", Encoding::PcmF32le),
        ("audio/phone8.mulaw", Encoding::Mulaw),
        ("audio/phone8.alaw", Encoding::Alaw),
    ] {
        let format = StreamFormat::new(encoding, Some(16_000), Some(1)).expect("a format");
        // A frame of 20 ms, and one that cuts samples.
        for piece_bytes in [640, 333] {
            assert_eq!(allocations(path, format, piece_bytes), 0, "{path} in pieces of {piece_bytes}");
        }
    }
}

/// Buffers that still grow in the second of two short halves: a packet or fragment header larger than all before it.
const GROWTHS_MAX: u64 = 2;

/// What rusty_aac allocates for one: its output and its work space.
const AAC_A_PACKET: u64 = 8;

#[test]
fn containers_and_packets_cost_no_allocation() {
    for (path, allowed) in [
        ("audio/studio48.wav", 0),
        ("audio/studio48.aiff", 0),
        ("audio/studio48.flac", 0),
        ("audio/studio48.mp3", 0),
        ("audio/studio48.aac", 36 * AAC_A_PACKET),
        ("audio/live-opus.ogg", 0),
        ("audio/live-opus.webm", GROWTHS_MAX),
        ("audio/file-opus.webm", 0),
        ("audio/studio48-vorbis.webm", 0),
        ("audio/frag-opus.mp4", GROWTHS_MAX),
        ("audio/frag-aac.mp4", 36 * AAC_A_PACKET + GROWTHS_MAX),
        ("recorders/chromium-opus.webm", 0),
        ("recorders/firefox-opus.webm", 0),
        ("recorders/firefox-opus.ogg", 0),
        ("recorders/chromium-opus.mp4", 0),
        ("recorders/chromium-pcm.webm", 0),
    ] {
        for piece_bytes in [1_000, 4_096] {
            let count = allocations(path, StreamFormat::AUTO, piece_bytes);
            assert!(count <= allowed, "{path} in pieces of {piece_bytes}: {count} allocations");
        }
    }
}

/// A running WebM stream of Opus: the rest of what it may hold is libopus' own, some 27 KB in stereo, which is allocated in C.
#[test]
fn a_webm_stream_holds_little() {
    const BYTES_MAX: u64 = 33 << 10;
    for path in ["recorders/chromium-opus.webm", "audio/live-opus.webm"] {
        let mut count = 0;
        let info = allocation_counter::measure(|| count = allocations(path, StreamFormat::AUTO, 4_096));
        let file =
            std::fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)).expect("a fixture");
        let peak = info.bytes_max - file.len();
        assert!(peak <= BYTES_MAX, "{path}: {peak} bytes at the peak");
    }
}

/// Everything a frame meets between the socket's bytes and the acknowledgement's: framing, session, base64, queue, decoder, down-mix,
/// resampler, meter, sink, encoding.
struct WholePath {
    reader: Reader,
    session: Session,
    pipeline: StreamPipeline,
    scratch: Scratch,
    base64: Vec<u8>,
    effects: Vec<Effect>,
    out: Vec<u8>,
    acks: usize,
}

impl WholePath {
    fn new(rate_hz: u32, channels: u32) -> Self {
        let format = StreamFormat::new(Encoding::PcmS16le, Some(rate_hz), Some(channels)).expect("a format");
        let output = OutputFormat::default();
        let known = Authentication::Known { identity: Arc::default(), expires_ms: None };
        let limits = SessionLimits {
            streams_max: 1,
            conversations_max: 1,
            faults_max: 5,
            event_ring: 8,
            decode: DecodeLimits { json_depth: 16 },
        };
        let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
        let settings = StreamSettings { format, overflow: Overflow::Block, queue_ms: 1_000, ack_interval_ms: 20 };
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(LevelSink::new())];
        let read = Limits { message_bytes: 1 << 20, fragments: 16, assembly_ms: 1_000 };
        Self {
            reader: Reader::new(Role::Server, read),
            session: Session::new(limits, StreamDefaults { format, output }, known, uuid::Uuid::now_v7),
            pipeline: StreamPipeline::new(settings, Chain::open(&params).expect("a decoder"), sinks),
            scratch: Scratch::default(),
            base64: Vec::new(),
            effects: Vec::new(),
            out: Vec::new(),
            acks: 0,
        }
    }

    fn take(&mut self, mut wire: Vec<u8>, stream_id: &Arc<str>) {
        let Self { reader, session, pipeline, scratch, base64, effects, out, acks } = self;
        let mut offer = |frame: &[u8]| {
            let mut budget = usize::MAX;
            pipeline.offer(frame, 0, scratch, &mut budget).expect("good audio");
            pipeline.sink_events.clear();
        };
        let read = reader.feed(&mut wire, 0, &mut |message| match message {
            Incoming::Binary(frame) => match session.route_binary(frame) {
                Route::Audio { skip, .. } => offer(&frame[skip..]),
                Route::OpenFirst(_) => offer(frame),
                Route::Refuse(_) | Route::Empty => panic!("refused"),
            },
            Incoming::Text(text) => {
                effects.clear();
                session.handle_text(text, 0, base64, effects);
                assert!(matches!(effects.last(), Some(Effect::Audio { skip: 0, .. })), "{effects:?}");
                offer(base64);
            }
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(..) => panic!("neither was sent"),
        });
        read.expect("good framing");
        while let Some(p) = pipeline.take_due_ack() {
            out.clear();
            let ack = AudioReceived {
                stream_id: Arc::clone(stream_id),
                received_bytes: p.received_bytes,
                received_frames: p.received_frames,
                decoded_ms: p.decoded_ms,
                output_samples: p.output_samples,
                buffered_ms: p.buffered_ms,
                dropped_ms: p.dropped_ms,
                processing_us: 0,
            };
            native::encode_audio_received(&ack, Envelope { unix_ms: 1, reply_to: None, seq: None }, out);
            *acks += 1;
        }
    }
}

#[test]
fn a_running_stream_costs_no_allocation_from_the_socket_to_the_acknowledgement() {
    use base64::Engine;
    for (rate_hz, channels, text) in [(16_000, 1, false), (48_000, 2, false), (16_000, 1, true)] {
        let mut path = WholePath::new(rate_hz, channels);
        let frame: Vec<u8> = (0..rate_hz as usize / 50 * channels as usize * 2).map(|i| (i * 31) as u8).collect();
        let mut wire = Vec::new();
        if text {
            let data = base64::engine::general_purpose::STANDARD.encode(&frame);
            let message = format!(r#"{{"type":"audio_data","data":"{data}"}}"#);
            encode_masked(&mut wire, OpCode::Text, message.as_bytes(), [1, 2, 3, 4]);
        } else {
            encode_masked(&mut wire, OpCode::Binary, &frame, [1, 2, 3, 4]);
        }
        let stream_id: Arc<str> = "mic".into();
        let copies: Vec<Vec<u8>> = vec![wire; 150];
        let mut copies = copies.into_iter();
        for wire in copies.by_ref().take(50) {
            path.take(wire, &stream_id);
        }
        path.acks = 0;
        let info = allocation_counter::measure(|| copies.for_each(|wire| path.take(wire, &stream_id)));
        assert_eq!((info.count_total, path.acks), (0, 100), "{rate_hz} Hz, {channels} channels, base64: {text}");
    }
}

#[test]
fn a_broadcast_to_ten_thousand_is_encoded_once_and_costs_each_a_queue_slot() {
    const RECEIVERS: usize = 10_000;
    let all = Connections::default();
    let limits = OutboxLimits { messages: 100, message_bytes: 1 << 20, audio_bytes: 1 << 16 };
    let connect = |n: usize| {
        let meta = ConnectionMeta {
            id: uuid::Uuid::now_v7(),
            remote_addr: ([127, 0, 0, 1], 1).into(),
            user_agent: None,
            connected_unix_ms: 0,
            connected_ms: 0,
        };
        all.insert(format!("client-{n}"), meta, Some(Arc::default()), limits).expect("no limit")
    };
    let receivers: Vec<_> = (0..RECEIVERS).map(connect).collect();
    let content = Json::parse(format!("\"{}\"", "x".repeat(16_000))).expect("a string");
    let event = Event::Broadcast { from: receivers[0].speaker(), content };
    let broadcast = || {
        let notice = Notice::new(&event);
        let mut delivered = 0;
        all.for_each(|c| delivered += usize::from(c.outbox.share(&notice)));
        assert_eq!(delivered, RECEIVERS);
    };
    let first = allocation_counter::measure(broadcast);
    assert!(first.count_total <= RECEIVERS as u64 + 32, "a queue each at the most: {}", first.count_total);
    assert!(first.bytes_total < RECEIVERS as u64 * 512, "no copy each: {} bytes", first.bytes_total);
    receivers.iter().for_each(|r| while r.outbox.pop().is_some() {});
    let later = allocation_counter::measure(broadcast);
    assert!(later.count_total <= 32, "only the encoding: {}", later.count_total);
}
