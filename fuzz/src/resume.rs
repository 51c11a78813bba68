//! A session and the sockets it outlives, against a model of what is promised: every session event has a number, and a client that comes
//! back has seen each number or is told how many it missed; each byte that arrived is kept once; the stream goes on where the server
//! says it does; nothing is taken before a client has said who it is, and nothing after its time.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;
use voxgate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use voxgate::protocol::{ErrorCode, Event};
use voxgate::session::{Authentication, Effect, Route, Session, SessionLimits, StreamDefaults};

use crate::message::LIMITS;
use crate::script::Script;

/// Events kept for a client that was away: few, so that scripts reach the end.
const RING: usize = 6;
const STREAMS_MAX: usize = 3;
/// Protocol section 1: time to authenticate.
const AUTHENTICATE_WITHIN_MS: u64 = 5_000;

/// The byte at a position of a stream.
fn content(index: u32, at: u64) -> u8 {
    (at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ (u64::from(index) << 17)) >> 56) as u8
}

/// What both ends hold of a stream.
struct Stream {
    index: u32,
    tagged: bool,
    /// The server's recording, as it were: bytes handed on, checked one by one.
    kept_bytes: u64,
}

/// What the client has seen.
#[derive(Default)]
struct Seen {
    last_seq: u64,
    /// Numbers it saw, and those it was told to have missed.
    accounted: u64,
}

struct World {
    session: Session,
    scratch: Vec<u8>,
    effects: Vec<Effect>,
    known: bool,
    now_ms: u64,
    streams: Vec<Stream>,
    /// Numbers given out by the server, lost ones included.
    given: u64,
    seen: Seen,
    connected: bool,
}

/// Runs a script. Its first byte says whether the client is known from the start.
pub fn resume(data: &[u8]) {
    let mut script = Script(data);
    let known = script.below(4) != 0;
    let mut world = World::new(known);
    while let Some(op) = script.byte() {
        match op % 9 {
            0 => world.start(&mut script),
            1 | 2 => world.binary(&mut script),
            3 => world.base64(&mut script),
            4 => world.event(),
            5 => world.drop_socket(&mut script),
            6 => world.come_back(&mut script),
            7 => world.time_passes(&mut script),
            _ => world.lose(&mut script),
        }
        if !world.alive() {
            return;
        }
    }
    world.come_back_for(0);
    world.check_account();
}

impl World {
    fn new(known: bool) -> Self {
        let limits = SessionLimits {
            streams_max: STREAMS_MAX,
            conversations_max: 4,
            faults_max: u32::MAX,
            event_ring: RING,
            decode: LIMITS,
        };
        let defaults = StreamDefaults {
            format: StreamFormat { encoding: Encoding::Auto, sample_rate: None, channels: None },
            output: OutputFormat { rate_hz: 16_000, channels: OutputChannels::Mono },
        };
        let authentication = match known {
            true => Authentication::Known { identity: Arc::default(), expires_ms: None },
            false => Authentication::Awaited { now_ms: 0 },
        };
        Self {
            session: Session::new(limits, defaults, authentication, Uuid::new_v4),
            scratch: Vec::new(),
            effects: Vec::new(),
            known,
            now_ms: 0,
            streams: Vec::new(),
            given: 0,
            seen: Seen::default(),
            connected: true,
        }
    }

    /// One that never said who it was is closed in time.
    fn alive(&self) -> bool {
        self.known || self.now_ms < AUTHENTICATE_WITHIN_MS
    }

    fn say(&mut self, text: &str) {
        self.effects.clear();
        self.session.handle_text(text, self.now_ms, &mut self.scratch, &mut self.effects);
    }

    fn refused(&self) -> Option<ErrorCode> {
        self.effects.iter().find_map(|e| match e {
            Effect::Send(Event::Error(e), _) => Some(e.code),
            _ => None,
        })
    }

    /// As the server does: the event gets a number, its text is kept, and it is written where there is a socket.
    fn event(&mut self) {
        let seq = self.session.next_seq();
        self.given += 1;
        assert_eq!(seq, self.given, "numbers count up without holes");
        self.session.keep(seq.to_string().as_bytes());
        if self.connected {
            self.see(seq);
        }
    }

    fn see(&mut self, seq: u64) {
        assert!(seq > self.seen.last_seq, "{seq} was seen twice");
        self.seen.last_seq = seq;
        self.seen.accounted += 1;
    }

    /// Events that were thrown away before they had a number: a slow reader's.
    fn lose(&mut self, script: &mut Script<'_>) {
        if !self.connected {
            let lost = u64::from(script.below(4));
            self.session.lost(lost);
            self.given += lost;
        }
    }

    fn start(&mut self, script: &mut Script<'_>) {
        if !self.connected {
            return;
        }
        let tagged = script.below(2) == 1;
        // Both framings at once is allowed, but raw takes all binary then.
        if self.streams.iter().any(|s| s.tagged != tagged) {
            return;
        }
        let framing = if tagged { "tagged" } else { "raw" };
        self.say(&format!(
            "{{\"type\":\"audio_start\",\"format\":{{\"encoding\":\"webm\"}},\"framing\":\"{framing}\"}}"
        ));
        let opened = self.effects.iter().find_map(|e| match e {
            Effect::Open(open) => Some(open.index),
            _ => None,
        });
        match opened {
            Some(index) => {
                assert!(self.known && self.streams.len() < STREAMS_MAX);
                self.streams.push(Stream { index, tagged, kept_bytes: 0 });
                self.event();
            }
            None if !self.known => assert_eq!(self.refused(), Some(ErrorCode::Unauthenticated)),
            None => assert_eq!((self.refused(), self.streams.len()), (Some(ErrorCode::StreamLimit), STREAMS_MAX)),
        }
    }

    /// Binary at the place where both ends believe the stream to be.
    fn binary(&mut self, script: &mut Script<'_>) {
        let (pick, n) = (script.below(8), u64::from(script.below(60)));
        if !self.connected || self.streams.is_empty() {
            return;
        }
        let tagged = self.streams[0].tagged;
        let at = if tagged { usize::from(pick) % self.streams.len() } else { self.streams.len() - 1 };
        let stream = &mut self.streams[at];
        let mut payload = if tagged { stream.index.to_le_bytes().to_vec() } else { Vec::new() };
        payload.extend((0..n).map(|i| content(stream.index, stream.kept_bytes + i)));
        match self.session.route_binary(&payload) {
            Route::Audio { index, skip } => {
                assert_eq!(index, stream.index);
                for &byte in &payload[skip..] {
                    assert_eq!(byte, content(index, stream.kept_bytes));
                    stream.kept_bytes += 1;
                }
            }
            Route::Empty => assert_eq!(n, 0),
            other => panic!("{other:?}"),
        }
    }

    /// Base64 from around the place: what is known is skipped, a hole is refused.
    fn base64(&mut self, script: &mut Script<'_>) {
        let (pick, shift, n) = (script.below(8), script.below(64), u64::from(script.below(60)));
        if !self.connected || self.streams.is_empty() {
            return;
        }
        let at = usize::from(pick) % self.streams.len();
        let Stream { index, kept_bytes, .. } = self.streams[at];
        let offset = (kept_bytes + u64::from(shift)).saturating_sub(32);
        let data: Vec<u8> = (0..n).map(|i| content(index, offset + i)).collect();
        let name = self.session.resumable()[at].stream_id.clone();
        let data = STANDARD.encode(data);
        self.say(&format!(
            "{{\"type\":\"audio_data\",\"stream_id\":\"{name}\",\"offset\":{offset},\"data\":\"{data}\"}}"
        ));
        let taken = self.effects.iter().find_map(|e| match e {
            Effect::Audio { index, skip, .. } => Some((*index, *skip)),
            _ => None,
        });
        let stream = &mut self.streams[at];
        let Some((to, skip)) = taken else {
            assert!(offset > kept_bytes);
            assert_eq!(self.refused(), Some(ErrorCode::AudioGap));
            return;
        };
        assert!(to == index && offset <= kept_bytes);
        for &byte in &self.scratch[skip..] {
            assert_eq!(byte, content(index, stream.kept_bytes), "lost, doubled or moved at {}", stream.kept_bytes);
            stream.kept_bytes += 1;
        }
        assert_eq!(stream.kept_bytes, kept_bytes.max(offset + n));
    }

    /// The socket drops. The last events written to it may not have arrived.
    fn drop_socket(&mut self, script: &mut Script<'_>) {
        let unread = u64::from(script.below(5)).min(self.seen.last_seq);
        if !self.connected || !self.known {
            return;
        }
        self.connected = false;
        // Only such as were seen one after the other: others are accounted for as missed.
        let unread = unread.min(self.seen.accounted);
        self.seen.last_seq -= unread;
        self.seen.accounted -= unread;
    }

    fn come_back(&mut self, script: &mut Script<'_>) {
        let doubt = script.below(8);
        self.come_back_for(doubt);
    }

    /// `resume`: the streams go on at the server's byte, and each event is seen again or counted as missed.
    fn come_back_for(&mut self, doubt: u8) {
        if self.connected || !self.known {
            return;
        }
        let resumable = self.session.resumable();
        assert_eq!(resumable.len(), self.streams.len(), "no open stream was forgotten");
        for (told, stream) in resumable.iter().zip(&self.streams) {
            assert_eq!((told.stream_index, told.received_bytes), (stream.index, stream.kept_bytes));
        }
        if doubt == 7 {
            let silent = self.session.replay(None);
            assert!(silent.events.is_empty() && silent.missed == 0, "who asks for nothing gets nothing");
        }
        let replay = self.session.replay(Some(self.seen.last_seq));
        let seqs: Vec<u64> =
            replay.events.iter().map(|text| std::str::from_utf8(text).unwrap().parse().unwrap()).collect();
        let missed = replay.missed;
        assert!(seqs.len() <= RING);
        for seq in seqs {
            self.see(seq);
        }
        self.seen.accounted += missed;
        self.check_account();
        // Lost numbers may be the newest: the client goes on from what the server has given out.
        self.seen.last_seq = self.given;
        self.connected = true;
        self.effects.clear();
        self.session.resumed(Arc::default(), None, &mut self.effects);
    }

    /// Every number was seen or told as missed, none twice.
    fn check_account(&self) {
        if self.known {
            assert_eq!(self.seen.accounted, self.given);
        }
    }

    fn time_passes(&mut self, script: &mut Script<'_>) {
        self.now_ms += u64::from(script.below(200)) * 20;
        self.effects.clear();
        self.session.on_time(self.now_ms, &mut self.effects);
        let closes = self.effects.iter().any(|e| matches!(e, Effect::Close(..)));
        assert_eq!(closes, !self.alive(), "at {} ms", self.now_ms);
    }
}
