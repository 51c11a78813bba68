use std::sync::{Arc, Mutex};

use super::*;
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat};
use crate::decode::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, Step, WHOLE_FILE_BYTES_MAX};
use crate::protocol::Overflow;
use crate::sink::{Block, Push, Sink, SinkEvent};

/// What a sink got, and how much more it takes.
#[derive(Debug, Default)]
struct Heard {
    samples: Vec<i16>,
    positions: Vec<u64>,
    gaps: usize,
    /// Blocks it still takes before it says `Full`.
    room: usize,
    finished: usize,
}

/// A sink that takes as many blocks as the test allows it.
#[derive(Clone, Debug)]
struct Gate(&'static str, Arc<Mutex<Heard>>);

impl Gate {
    fn new(name: &'static str, room: usize) -> Self {
        Self(name, Arc::new(Mutex::new(Heard { room, ..Heard::default() })))
    }

    fn open(&self, room: usize) {
        self.1.lock().unwrap().room = room;
    }

    fn samples(&self) -> Vec<i16> {
        self.1.lock().unwrap().samples.clone()
    }
}

impl Sink for Gate {
    fn name(&self) -> &'static str {
        self.0
    }

    fn push(&mut self, block: &Block<'_>, _: &mut Vec<SinkEvent>) -> Push {
        let mut h = self.1.lock().unwrap();
        if h.room == 0 {
            return Push::Full;
        }
        h.room -= 1;
        h.samples.extend_from_slice(block.s16);
        h.positions.push(block.position);
        h.gaps += usize::from(block.after_gap);
        Push::Taken
    }

    fn finish(&mut self, _: &mut Vec<SinkEvent>) {
        self.1.lock().unwrap().finished += 1;
    }
}

const OPEN: usize = usize::MAX;
/// Bytes of a 20 ms frame of the tests' stream, 16 kHz mono.
const FRAME: usize = 640;
const MUCH: usize = 1 << 30;

/// 16 kHz mono PCM in and out, a queue of a tenth of a second.
fn stream(overflow: Overflow, sinks: &[&Gate]) -> StreamPipeline {
    let format = StreamFormat::new(Encoding::PcmS16le, Some(16_000), Some(1)).unwrap();
    let params = DecodeParams { format, output: OutputFormat::default(), whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    with_chain(format, overflow, Chain::open(&params).unwrap(), sinks)
}

fn with_chain(format: StreamFormat, overflow: Overflow, chain: Chain, sinks: &[&Gate]) -> StreamPipeline {
    let settings = StreamSettings { format, overflow, queue_ms: 100, ack_interval_ms: 20 };
    let sinks = sinks.iter().map(|&g| Box::new(g.clone()) as Box<dyn Sink>).collect();
    StreamPipeline::new(settings, chain, sinks)
}

/// The `n`th frame, each sample another.
fn frame(n: usize) -> Vec<u8> {
    (n * FRAME / 2..(n + 1) * FRAME / 2).flat_map(|i| (i as i16).to_le_bytes()).collect()
}

fn counting(samples: usize) -> Vec<i16> {
    (0..samples).map(|i| i as i16).collect()
}

fn offer(s: &mut StreamPipeline, frame: &[u8]) {
    s.offer(frame, 0, &mut Scratch::default(), &mut MUCH.clone()).unwrap();
}

fn run(s: &mut StreamPipeline) -> RunState {
    s.run(&mut Scratch::default(), &mut MUCH.clone()).unwrap()
}

#[test]
fn the_queue_gives_frames_back_in_order_and_its_memory_when_empty() {
    let mut q = AudioQueue::default();
    for round in 0..3u64 {
        for n in 0..100 {
            q.push(&frame(n), round * 100 + n as u64);
        }
        assert_eq!(q.len_bytes(), 100 * FRAME);
        for n in 0..100 {
            assert_eq!(q.front().unwrap(), frame(n));
            q.consume(100);
            assert_eq!(q.front().unwrap(), &frame(n)[100..]);
            q.consume(FRAME); // no more than there is of this frame
            assert!(q.front().unwrap().is_empty());
            assert_eq!(q.len_bytes(), (99 - n) * FRAME);
            assert_eq!(q.pop(), Some(round * 100 + n as u64));
        }
        assert!(q.is_empty() && q.front().is_none() && q.pop().is_none());
    }
}

#[test]
fn a_queue_that_is_never_empty_does_not_grow() {
    let mut q = AudioQueue::default();
    q.push(&frame(0), 0);
    for n in 1..10_000 {
        q.push(&frame(n % 50), n as u64);
        q.consume(FRAME);
        q.pop();
        assert_eq!(q.front().unwrap(), frame(n % 50));
        assert_eq!(q.len_bytes(), FRAME);
    }
}

#[test]
fn the_budget_is_never_exceeded_and_comes_back() {
    let budget = MemoryBudget::new(1_000);
    let mut a = budget.reserve(400).unwrap();
    let b = budget.reserve(400).unwrap();
    assert!(budget.reserve(201).is_none() && budget.is_exhausted(201) && !budget.is_exhausted(200));
    assert!(a.grow_to(600) && !a.grow_to(601));
    assert!(a.grow_to(10), "it never shrinks");
    assert_eq!(budget.used_bytes(), 1_000);
    assert!(budget.is_exhausted(u64::MAX) && !a.grow_to(u64::MAX));
    drop((a, b));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_stream_that_flows_hands_everything_on_and_says_so() {
    let gate = Gate::new("a", OPEN);
    let mut s = stream(Overflow::Block, &[&gate]);
    for n in 0..10 {
        offer(&mut s, &frame(n));
        let p = s.take_due_ack().expect("an acknowledgement each 20 ms");
        assert_eq!((p.received_frames, p.received_bytes), (n as u64 + 1, (n as u64 + 1) * FRAME as u64));
        assert!(s.take_due_ack().is_none(), "and only one");
    }
    assert!(s.is_drained());
    s.end();
    assert_eq!(run(&mut s), RunState::Finished);
    assert_eq!(gate.samples(), counting(3_200));
    let r = s.report();
    assert_eq!((r.progress.output_samples, r.duration_ms, r.arrived_bytes, r.warnings), (3_200, 200, 6_400, 0));
    assert_eq!(gate.1.lock().unwrap().finished, 1);
}

/// Failures.md row 16: the sender goes on, the sink stands still.
#[test]
fn a_full_sink_fills_the_queue_and_nothing_is_lost_or_promised_before_it_is_handed_on() {
    let (slow, quick) = (Gate::new("slow", 3), Gate::new("quick", OPEN));
    let mut s = stream(Overflow::Block, &[&slow, &quick]);
    let mut sent = 0;
    while !s.is_full() {
        offer(&mut s, &frame(sent));
        sent += 1;
        assert!(sent < 20, "full after a tenth of a second");
    }
    let p = s.progress();
    assert_eq!((p.received_frames, p.received_bytes, p.decoded_ms, p.output_samples), (3, 3 * FRAME as u64, 60, 960));
    assert_eq!(p.buffered_ms as usize, (sent - 3) * 20);
    assert_eq!(s.take_due_ack().unwrap().received_bytes, 3 * FRAME as u64);
    assert!(s.take_due_ack().is_none() && !s.is_drained());
    assert_eq!(run(&mut s), RunState::Blocked);
    assert!(s.held_bytes() < 10 * FRAME, "{} bytes", s.held_bytes());
    assert_eq!(quick.samples().len(), 4 * 320, "another sink has the block already, once");

    slow.open(1);
    assert_eq!(run(&mut s), RunState::Blocked);
    assert_eq!(s.take_due_ack().unwrap().received_frames, 4);
    slow.open(OPEN);
    assert_eq!(run(&mut s), RunState::Idle);
    assert_eq!(s.take_due_ack().unwrap().received_frames, sent as u64);
    assert!(!s.is_full() && s.is_drained());
    assert_eq!(slow.samples(), counting(sent * 320));
    assert_eq!(quick.samples(), counting(sent * 320));
    assert_eq!(slow.1.lock().unwrap().positions, (0..sent as u64).map(|n| n * 320).collect::<Vec<_>>());
}

#[test]
fn a_sink_added_or_removed_while_another_is_full_changes_nothing_for_the_rest() {
    let (a, full, c, late) =
        (Gate::new("a", OPEN), Gate::new("full", 1), Gate::new("c", OPEN), Gate::new("late", OPEN));
    let mut s = stream(Overflow::Block, &[&a, &full, &c]);
    for n in 0..3 {
        offer(&mut s, &frame(n));
    }
    s.remove_sink("a");
    s.add_sink(Box::new(late.clone()));
    s.add_sink(Box::new(late.clone())); // a second of its name is not taken
    full.open(OPEN);
    assert_eq!(run(&mut s), RunState::Idle);
    assert_eq!(a.samples(), counting(640), "two blocks before it left");
    assert_eq!(a.1.lock().unwrap().finished, 1);
    assert_eq!((full.samples(), c.samples()), (counting(960), counting(960)));
    assert_eq!(late.samples(), counting(960)[320..], "from the block on that still waited");
}

#[test]
fn work_is_done_in_steps_of_the_budget() {
    let gate = Gate::new("a", OPEN);
    let mut s = stream(Overflow::Block, &[&gate]);
    let all: Vec<u8> = (0..100).flat_map(frame).collect();
    s.offer(&all, 7, &mut Scratch::default(), &mut 5_000).unwrap();
    let first = gate.samples().len();
    assert!((5_000..5_000 + 4_097).contains(&first), "{first} samples");
    assert_eq!(s.progress().received_frames, 0, "the frame is not done");
    let mut steps = 0;
    while s.run(&mut Scratch::default(), &mut 5_000).unwrap() == RunState::More {
        steps += 1;
    }
    assert!(steps >= 2, "{steps}");
    assert_eq!((s.progress().received_frames, s.progress().newest_arrival_us), (1, 7));
    assert_eq!(gate.samples(), counting(32_000));
}

#[test]
fn drop_oldest_keeps_the_timeline_and_says_what_is_missing() {
    let gate = Gate::new("slow", 2);
    let mut s = stream(Overflow::DropOldest, &[&gate]);
    for n in 0..50 {
        offer(&mut s, &frame(n));
        assert!(s.held_bytes() <= 3_200 + 320 * 6, "{} bytes held", s.held_bytes());
    }
    assert!(!s.is_full(), "the socket is read on");
    let dropped_ms = s.progress().dropped_ms;
    assert_eq!(dropped_ms, 42 * 20, "all but two heard, one refused and the queue's five");
    let told: Vec<(u64, u64)> = s
        .sink_events
        .iter()
        .map(|e| match e {
            SinkEvent::Dropped { from_ms, dropped_ms } => (*from_ms, *dropped_ms),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told[0].0, 60, "right after the block that waits");
    assert!(told.windows(2).all(|w| w[0].0 + w[0].1 == w[1].0), "one hole, told as it grows");
    assert_eq!(told.iter().map(|t| t.1).sum::<u64>(), dropped_ms);

    gate.open(OPEN);
    s.end();
    assert_eq!(run(&mut s), RunState::Finished);
    let heard = gate.samples();
    let mut wanted = counting(50 * 320);
    wanted[3 * 320..45 * 320].fill(0);
    assert_eq!(heard.len(), wanted.len());
    assert!(heard == wanted, "silence in the place of what was dropped, everything else in its own");
    assert!(gate.1.lock().unwrap().gaps > 0);
    assert_eq!(s.report().progress.output_samples, 50 * 320);
}

#[test]
fn an_abandoned_stream_closes_its_sinks_once_without_what_waits() {
    let gate = Gate::new("slow", 1);
    let mut s = stream(Overflow::Block, &[&gate]);
    for n in 0..4 {
        offer(&mut s, &frame(n));
    }
    s.abandon();
    assert!(s.is_ending());
    s.abandon();
    assert_eq!((gate.samples(), gate.1.lock().unwrap().finished), (counting(320), 1));
    assert_eq!(s.progress().received_bytes, FRAME as u64);
}

#[test]
fn a_full_sink_holds_up_the_end_and_the_tail_is_not_lost() {
    let gate = Gate::new("slow", OPEN);
    let format = StreamFormat::new(Encoding::PcmS16le, Some(48_000), Some(2)).unwrap();
    let params = DecodeParams { format, output: OutputFormat::default(), whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let mut s = with_chain(format, Overflow::Block, Chain::open(&params).unwrap(), &[&gate]);
    offer(&mut s, &vec![1; 48_000 / 100 * 4 * 33 + 3]); // 330 ms and a part of a frame
    gate.open(0);
    s.end();
    assert_eq!(run(&mut s), RunState::Blocked, "the resampler's tail");
    assert_eq!(gate.1.lock().unwrap().finished, 0);
    gate.open(OPEN);
    assert_eq!(run(&mut s), RunState::Finished);
    let report = s.report();
    assert_eq!((report.progress.output_samples, report.duration_ms, report.warnings), (5_280, 330, 1));
    assert_eq!(gate.samples().len(), 5_280);
    assert!(matches!(s.damage, Some((DecodeWarning::TruncatedTail { what: _, bytes: 3 }, 1))), "{:?}", s.damage);
}

/// Gives one constant frame a byte, each byte its own format: the value is the number of channels.
struct Odd {
    panics_at: Option<u8>,
}

impl Decoder for Odd {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let Some(&byte) = input.first() else { return Ok(Step { consumed: 0, more: false }) };
        assert_ne!(Some(byte), self.panics_at, "a decoder's mistake");
        out.pcm.spec = PcmSpec { rate_hz: 16_000, channels: u16::from(byte) };
        out.pcm.samples.extend((0..byte).map(|c| f32::from(c) / 64.0));
        Ok(Step { consumed: 1, more: false })
    }

    fn finish(&mut self, _: &mut DecodeOut) -> Result<bool, DecodeError> {
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}

fn odd(panics_at: Option<u8>, channels: OutputChannels, gate: &Gate) -> StreamPipeline {
    let chain = Chain::with_decoder(Box::new(Odd { panics_at }), OutputFormat { rate_hz: 16_000, channels });
    let format = StreamFormat::new(Encoding::Flac, None, None).unwrap();
    with_chain(format, Overflow::Block, chain, &[gate])
}

/// Failures.md row 15.
#[test]
fn a_panic_in_a_decoder_ends_its_stream_alone() {
    let gate = Gate::new("a", OPEN);
    let mut s = odd(Some(9), OutputChannels::Mono, &gate);
    let mut scratch = Scratch::default();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    s.guarded(|p| p.offer(&[2, 2], 0, &mut scratch, &mut MUCH.clone())).unwrap();
    let failed = s.guarded(|p| p.offer(&[2, 9, 2], 0, &mut scratch, &mut MUCH.clone()));
    std::panic::set_hook(quiet);
    assert!(matches!(failed, Err(StreamError::Panicked)), "{failed:?}");
    s.abandon();
    assert_eq!(gate.samples(), [256, 256, 256], "the mean of 0 and 1/64");
    assert_eq!(gate.1.lock().unwrap().finished, 1);
    // The buffers serve the thread's next stream.
    let (next, other) = (Gate::new("a", OPEN), [4u8]);
    let mut s = odd(None, OutputChannels::Mono, &next);
    s.offer(&other, 0, &mut scratch, &mut MUCH.clone()).unwrap();
    assert_eq!(next.samples(), [768]);
}

#[test]
fn the_output_keeps_its_channels_when_the_source_changes_them() {
    let gate = Gate::new("a", OPEN);
    let mut s = odd(None, OutputChannels::Source, &gate);
    offer(&mut s, &[2, 3, 1, 2]);
    assert_eq!(s.spec(), PcmSpec { rate_hz: 16_000, channels: 2 });
    assert_eq!(
        gate.samples(),
        [0, 512, 512, 512, 0, 0, 0, 512],
        "the mean on both where there is no telling which is which"
    );
}

/// Failures.md row 14: much more sound than any honest encoding has in so few bytes.
#[test]
fn a_decoder_bomb_ends_the_stream() {
    struct Bomb;
    impl Decoder for Bomb {
        fn decode(&mut self, _: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
            out.pcm.spec = PcmSpec { rate_hz: 16_000, channels: 8 };
            out.pcm.samples.resize(8 * 65_535, 0.0);
            Ok(Step { consumed: 0, more: true })
        }
        fn finish(&mut self, _: &mut DecodeOut) -> Result<bool, DecodeError> {
            Ok(false)
        }
        fn pending_bytes(&self) -> usize {
            0
        }
    }
    let mut chain = Chain::with_decoder(Box::new(Bomb), OutputFormat::default());
    let mut scratch = Scratch::default();
    let failed = (0..100).find_map(|_| chain.step(&[0; 100], &mut scratch).err());
    assert!(matches!(failed, Some(DecodeError::TooLarge { .. })), "{failed:?}");
}
