//! The session's bookkeeping of bytes, against a model: whatever a client sends in which order, repeated, overlapping or with holes,
//! each stream gets its own bytes exactly once and in order, and everything else is refused by the right error.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use voxgate::audio::Encoding;
use voxgate::protocol::{ErrorCode, Event};
use voxgate::session::{Effect, OpenStream, Route, Session};

use crate::message::session_of;
use crate::script::Script;

/// Streams open at once.
const STREAMS_MAX: usize = 3;
/// Faults in a row that close the connection.
const FAULTS_MAX: u32 = 5;

/// The client's names for its streams.
const NAMES: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// A stream as the client believes it to be.
#[derive(Debug)]
struct Stream {
    index: u32,
    /// Its client's name, or none: such a one is only ever meant as "the newest".
    name: Option<&'static str>,
    tagged: bool,
    opus: bool,
    gap: bool,
    ending: bool,
    received_bytes: u64,
}

/// The byte at a position of a stream: one that is lost, doubled, moved or of another stream is told by its value.
fn content(index: u32, at: u64) -> u8 {
    (at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ u64::from(index).wrapping_mul(0xD1B5_4A32_D192_ED03))
        >> 56) as u8
}

struct World {
    session: Session,
    scratch: Vec<u8>,
    effects: Vec<Effect>,
    streams: Vec<Stream>,
    next_index: u32,
    any_started: bool,
    faults: u32,
}

/// Runs a script.
pub fn session(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World {
        session: session_of(STREAMS_MAX, FAULTS_MAX),
        scratch: Vec::new(),
        effects: Vec::new(),
        streams: Vec::new(),
        next_index: 0,
        any_started: false,
        faults: 0,
    };
    while let Some(op) = script.byte() {
        match op % 8 {
            0 => world.audio_start(&mut script),
            1 | 2 => world.audio_data(&mut script),
            3 => world.raw_binary(&mut script),
            4 => world.tagged_binary(&mut script),
            5 => world.end(&mut script),
            6 => world.closed(&mut script),
            _ => world.invalid_base64(&mut script),
        }
        assert_eq!(world.session.faults_in_a_row(), world.faults);
        assert!(world.streams.len() <= STREAMS_MAX);
    }
}

impl World {
    fn say(&mut self, text: &str) {
        self.effects.clear();
        self.session.handle_text(text, 0, &mut self.scratch, &mut self.effects);
    }

    /// The code of the one error that was told.
    fn error(&self) -> Option<ErrorCode> {
        let mut errors = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(Event::Error(e), _) => Some(e.code),
            _ => None,
        });
        let error = errors.next();
        assert!(errors.next().is_none(), "two errors for one message");
        error
    }

    fn opened(&self) -> Option<&OpenStream> {
        self.effects.iter().find_map(|effect| if let Effect::Open(open) = effect { Some(open.as_ref()) } else { None })
    }

    /// The newest open stream, of that name where there is one.
    fn find(&self, name: Option<&str>) -> Option<usize> {
        self.streams.iter().rposition(|s| !s.ending && (name.is_none() || s.name == name))
    }

    fn push(&mut self, open: (u32, Encoding), name: Option<&'static str>, tagged: bool) {
        assert_eq!(open.0, self.next_index);
        self.next_index += 1;
        self.any_started = true;
        let opus = open.1 == Encoding::Opus;
        self.streams.push(Stream { index: open.0, name, tagged, opus, gap: false, ending: false, received_bytes: 0 });
    }

    fn audio_start(&mut self, script: &mut Script<'_>) {
        let choice = script.below(32);
        let name = (choice & 16 == 0).then(|| NAMES[usize::from(choice & 3)]);
        let (tagged, opus) = (choice & 4 != 0, choice & 8 != 0);
        let name_field = name.map(|n| format!("\"stream_id\":\"{n}\",")).unwrap_or_default();
        let framing = if tagged { "tagged" } else { "raw" };
        let format = if opus {
            "{\"encoding\":\"opus\",\"sample_rate\":48000,\"channels\":1}"
        } else {
            "{\"encoding\":\"webm\"}"
        };
        self.say(&format!("{{\"type\":\"audio_start\",{name_field}\"format\":{format},\"framing\":\"{framing}\"}}"));
        let taken = name.is_some() && self.streams.iter().any(|s| s.name == name);
        let expected = if taken {
            Some(ErrorCode::StreamExists)
        } else if self.streams.len() == STREAMS_MAX {
            Some(ErrorCode::StreamLimit)
        } else {
            None
        };
        assert_eq!(self.error(), expected);
        let opened = self.opened().map(|open| (open.index, open.format.encoding));
        assert_eq!(opened.is_some(), expected.is_none());
        if let Some(open) = opened {
            self.faults = 0;
            self.push(open, name, tagged);
        }
    }

    fn audio_data(&mut self, script: &mut Script<'_>) {
        let choice = script.below(16);
        let name = (choice & 8 == 0).then(|| NAMES[usize::from(choice & 3)]);
        let target = self.find(name);
        let (index, received) =
            target.map_or((self.next_index, 0), |i| (self.streams[i].index, self.streams[i].received_bytes));
        // Around the edge between what came and what is missing, or where the stream is.
        let shift = script.byte().unwrap_or(0);
        let offset = (shift < 200).then(|| (received + u64::from(shift % 64)).saturating_sub(32));
        let from = offset.unwrap_or(received);
        let sent: Vec<u8> = (0..u64::from(script.below(80))).map(|i| content(index, from + i)).collect();
        let data = if choice & 4 == 0 { STANDARD.encode(&sent) } else { STANDARD_NO_PAD.encode(&sent) };
        let name_field = name.map(|n| format!(",\"stream_id\":\"{n}\"")).unwrap_or_default();
        let offset_field = offset.map(|o| format!(",\"offset\":{o}")).unwrap_or_default();
        // The fast path knows this very beginning; the other order takes the slow one.
        self.say(&if shift & 1 == 0 {
            format!("{{\"type\":\"audio_data\",\"data\":\"{data}\"{name_field}{offset_field}}}")
        } else {
            format!("{{\"data\":\"{data}\"{name_field}{offset_field},\"type\":\"audio_data\"}}")
        });
        let target = match target {
            Some(i) => i,
            None => match self.opens_by_audio(name) {
                Some(i) => i,
                None => return,
            },
        };
        self.check_accepted(target, offset, &sent);
    }

    /// `audio_data` met no open stream: the session opens one, or says why not.
    fn opens_by_audio(&mut self, name: Option<&'static str>) -> Option<usize> {
        let ending = name.is_some() && self.streams.iter().any(|s| s.name == name);
        let expected = if self.any_started && (name.is_none() || ending) {
            Some(ErrorCode::StreamNotFound)
        } else if self.streams.len() == STREAMS_MAX {
            Some(ErrorCode::StreamLimit)
        } else {
            None
        };
        let opened = self.opened().map(|open| (open.index, open.format.encoding, open.implicit));
        if let Some(code) = expected {
            assert_eq!(self.error(), Some(code));
            assert!(opened.is_none() && !self.audio_handed_on());
            return None;
        }
        let (index, encoding, implicit) = opened.expect("a stream opens by itself");
        assert!(implicit);
        self.push((index, encoding), name, false);
        Some(self.streams.len() - 1)
    }

    fn audio_handed_on(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Audio { .. }))
    }

    /// Compares what the session did with base64 of a known stream to what it should.
    fn check_accepted(&mut self, target: usize, offset: Option<u64>, sent: &[u8]) {
        let stream = &mut self.streams[target];
        let hole = offset.map_or(stream.gap, |o| o > stream.received_bytes);
        let known = offset.map_or(0, |o| stream.received_bytes.saturating_sub(o)).min(sent.len() as u64);
        let in_part = stream.opus && known > 0 && known < sent.len() as u64;
        let audio = self.effects.iter().find_map(|effect| match effect {
            Effect::Audio { index, skip, .. } => Some((*index, *skip)),
            _ => None,
        });
        if hole || in_part {
            stream.gap = hole;
            assert_eq!(audio, None, "audio beyond a hole was taken");
            assert_eq!(self.error(), Some(ErrorCode::AudioGap));
            return;
        }
        stream.gap = false;
        let (index, skip) = audio.expect("audio is handed on");
        assert_eq!(index, stream.index);
        for &byte in &self.scratch[skip..] {
            assert_eq!(byte, content(index, stream.received_bytes), "stream {index} at {}", stream.received_bytes);
            stream.received_bytes += 1;
        }
        let reached = offset.map(|o| o + sent.len() as u64);
        assert!(reached.is_none_or(|r| stream.received_bytes >= r), "bytes were lost");
        assert_eq!(self.error(), None);
        self.faults = 0;
    }

    fn raw_binary(&mut self, script: &mut Script<'_>) {
        let raw = self.streams.iter().rposition(|s| !s.tagged && !s.ending);
        let (index, received) =
            raw.map_or((self.next_index, 0), |i| (self.streams[i].index, self.streams[i].received_bytes));
        let payload: Vec<u8> = (0..u64::from(script.below(40))).map(|i| content(index, received + i)).collect();
        if raw.is_none() && self.streams.iter().any(|s| s.tagged) {
            return; // it would be read as a tag
        }
        let n = payload.len() as u64;
        let full = self.streams.len() == STREAMS_MAX;
        match (self.session.route_binary(&payload), raw) {
            (Route::Empty, _) => assert!(payload.is_empty()),
            (Route::Audio { index, skip: 0 }, Some(i)) => {
                assert_eq!(index, self.streams[i].index);
                self.streams[i].received_bytes += n;
                self.faults = 0;
            }
            (Route::OpenFirst(open), None) => {
                assert!(!self.any_started && !full, "audio opened a stream after another had begun");
                self.push((open.index, open.format.encoding), None, false);
                self.streams.last_mut().expect("it was pushed").received_bytes = n;
                self.faults = 0;
            }
            (Route::Refuse(_), None) => assert!(self.any_started || full),
            (route, raw) => panic!("{route:?} where the newest raw stream is {raw:?}"),
        }
    }

    fn tagged_binary(&mut self, script: &mut Script<'_>) {
        if self.streams.iter().any(|s| !s.tagged && !s.ending) || !self.streams.iter().any(|s| s.tagged) {
            return; // no tag would be read
        }
        let index = u32::from(script.below(24));
        let target = self.streams.iter().position(|s| s.index == index && s.tagged && !s.ending);
        let received = target.map_or(0, |i| self.streams[i].received_bytes);
        let mut payload = index.to_le_bytes().to_vec();
        payload.extend((0..u64::from(script.below(40))).map(|i| content(index, received + i)));
        payload.truncate(payload.len() - usize::from(script.below(16) == 0 && payload.len() == 4));
        match (self.session.route_binary(&payload), target) {
            (Route::Empty, Some(_)) => assert_eq!(payload.len(), 4),
            (Route::Audio { index: at, skip }, Some(i)) => {
                assert_eq!(at, index);
                for &byte in &payload[skip..] {
                    assert_eq!(byte, content(index, self.streams[i].received_bytes));
                    self.streams[i].received_bytes += 1;
                }
                self.faults = 0;
            }
            (Route::Refuse(_), target) => assert!(target.is_none() || payload.len() < 4),
            (route, target) => panic!("{route:?} for tagged stream {target:?}"),
        }
    }

    fn end(&mut self, script: &mut Script<'_>) {
        let choice = script.below(16);
        let name = (choice & 8 == 0).then(|| NAMES[usize::from(choice & 3)]);
        let kind = if choice & 4 == 0 { "audio_end" } else { "audio_cancel" };
        let name_field = name.map(|n| format!(",\"stream_id\":\"{n}\"")).unwrap_or_default();
        self.say(&format!("{{\"type\":\"{kind}\"{name_field}}}"));
        let told = self.effects.iter().find_map(|effect| match effect {
            Effect::End(index, _) | Effect::Cancel(index, _) => Some(*index),
            _ => None,
        });
        let target = self.find(name);
        assert_eq!(told, target.map(|i| self.streams[i].index));
        match target {
            Some(i) => {
                self.streams[i].ending = true;
                self.faults = 0;
            }
            None => assert_eq!(self.error(), Some(ErrorCode::StreamNotFound)),
        }
    }

    /// The runtime reports that a stream that was to end is gone.
    fn closed(&mut self, script: &mut Script<'_>) {
        let skip = usize::from(script.below(4));
        let Some(index) = self.streams.iter().filter(|s| s.ending).map(|s| s.index).nth(skip) else { return };
        self.session.closed(index);
        self.streams.retain(|s| s.index != index);
    }

    /// Not base64: nothing may change but the count of faults.
    fn invalid_base64(&mut self, script: &mut Script<'_>) {
        if self.faults == FAULTS_MAX {
            return; // the connection would be closed by now
        }
        let data = ["A", "AAA*", "=AAA", "AA=A", "AB==\\u0000"][usize::from(script.below(5))];
        self.say(&format!("{{\"type\":\"audio_data\",\"data\":\"{data}\"}}"));
        assert_eq!(self.error(), Some(ErrorCode::InvalidBase64));
        assert!(self.opened().is_none() && !self.audio_handed_on());
        self.faults += 1;
        let closes = self.effects.iter().any(|effect| matches!(effect, Effect::Close(..)));
        assert_eq!(closes, self.faults == FAULTS_MAX);
    }
}
