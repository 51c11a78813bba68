//! A connection's outbound queue: what others want it to be told. Messages and audio apart, both bounded.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use super::notice::Notice;
use crate::protocol::{CloseCode, Event, QueueInfo};

/// Bounds of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Messages that may wait; one more closes the connection with 4111 (policy: disconnect).
    pub messages: usize,
    /// Their bytes; one that goes beyond closes it too.
    pub message_bytes: usize,
    /// Bytes of listeners' audio that may wait; beyond it the oldest goes (policy: drop oldest).
    pub audio_bytes: usize,
}

/// What a connection's task takes out.
#[derive(Debug)]
pub enum OutboxItem {
    /// A message, and the `id` it answers.
    Notice(Notice, Option<Box<str>>),
    /// A whole WebSocket frame of audio, shared by all who get it.
    Audio(Bytes),
}

/// Why a connection closes: the code, and words for the reader of the close frame.
pub type Closing = (CloseCode, Cow<'static, str>);

#[derive(Debug, Default)]
struct Queue {
    notices: VecDeque<(Notice, Option<Box<str>>)>,
    notice_bytes: usize,
    audio: VecDeque<(u16, Bytes)>,
    audio_bytes: usize,
    /// Streams of which a frame was dropped since the last one that was sent.
    gaps: Vec<u16>,
    close: Option<Closing>,
    /// Session events that were thrown away before they were sent.
    lost: u64,
}

/// A connection's outbound queue and its wake-up.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    queue: Mutex<Queue>,
    /// Something waits: an item, a close, or a sink with room again.
    signal: AtomicBool,
    waker: AtomicWaker,
}

/// Offset of the flags in a listener's frame, from its end of the WebSocket header on (protocol section 5).
const FLAGS_AT: usize = 4;
/// Flag: audio was dropped just before this frame.
const FLAG_GAP: u8 = 1;

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: OutboxLimits) -> Self {
        Self { limits, queue: Mutex::default(), signal: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Calls the connection's task, for whatever reason.
    pub fn wake(&self) {
        if !self.signal.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether the task was called since [`Outbox::poll_signal`] last told so.
    pub fn is_signalled(&self) -> bool {
        self.signal.load(Ordering::Acquire)
    }

    /// Registers the task and tells whether it was called since the last time.
    pub fn poll_signal(&self, cx: &std::task::Context<'_>) -> bool {
        // Seldom set: looked at before it is written, for a write that is atomic costs ten times a look.
        if !self.signal.load(Ordering::Acquire) {
            self.waker.register(cx.waker());
        }
        self.signal.load(Ordering::Acquire) && self.signal.swap(false, Ordering::AcqRel)
    }

    /// Queues an event. Past a bound the connection is closed as a slow consumer.
    pub fn send(&self, event: &Event) {
        self.push(Notice::new(event), None);
    }

    /// Queues an answer. Past a bound the connection is closed as a slow consumer.
    pub fn reply(&self, event: &Event, reply_to: Option<&str>) {
        self.push(Notice::new(event), reply_to.map(Box::from));
    }

    /// Queues a message others may get too. Past a bound the connection is closed as a slow consumer. False where it is closing.
    pub fn share(&self, notice: &Notice) -> bool {
        self.push(notice.clone(), None)
    }

    fn push(&self, notice: Notice, reply_to: Option<Box<str>>) -> bool {
        let taken = {
            let mut q = self.lock();
            let bytes = q.notice_bytes + notice.len();
            if q.close.is_some() {
                q.lost += u64::from(notice.is_session_event());
                false
            } else if q.notices.len() >= self.limits.messages || bytes > self.limits.message_bytes {
                q.close = Some((CloseCode::SlowConsumer, "reads too slowly".into()));
                q.throw_away();
                q.lost += u64::from(notice.is_session_event());
                false
            } else {
                q.notice_bytes = bytes;
                q.notices.push_back((notice, reply_to));
                true
            }
        };
        self.wake();
        taken
    }

    /// Queues a listener's frame, made by [`listener_frame`](crate::sink::listeners::listener_frame), of the stream with that index; the oldest
    /// audio makes room.
    pub fn send_audio(&self, stream_index: u16, frame: Bytes) {
        {
            let mut q = self.lock();
            if q.close.is_some() {
                return;
            }
            q.audio_bytes += frame.len();
            q.audio.push_back((stream_index, frame));
            while q.audio_bytes > self.limits.audio_bytes && q.audio.len() > 1 {
                if let Some((index, old)) = q.audio.pop_front() {
                    q.audio_bytes -= old.len();
                    if !q.gaps.contains(&index) {
                        q.gaps.push(index);
                    }
                }
            }
        }
        self.wake();
    }

    /// Closes the connection; the first reason counts. False where it was closing already.
    pub fn close(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> bool {
        let first = {
            let mut q = self.lock();
            let first = q.close.is_none();
            q.close.get_or_insert_with(|| (code, reason.into()));
            first
        };
        self.wake();
        first
    }

    /// Whether it must close, and why.
    pub fn closing(&self) -> Option<Closing> {
        self.lock().close.clone()
    }

    /// The next item, messages first. After it may come more.
    pub fn pop(&self) -> Option<OutboxItem> {
        let mut q = self.lock();
        if let Some((notice, reply_to)) = q.notices.pop_front() {
            q.notice_bytes -= notice.len();
            return Some(OutboxItem::Notice(notice, reply_to));
        }
        let (index, frame) = q.audio.pop_front()?;
        q.audio_bytes -= frame.len();
        if q.audio.is_empty() {
            q.audio = VecDeque::new();
        }
        let Some(at) = q.gaps.iter().position(|&g| g == index) else { return Some(OutboxItem::Audio(frame)) };
        q.gaps.swap_remove(at);
        Some(OutboxItem::Audio(with_gap(&frame)))
    }

    /// Throws away what waits: messages, and listeners' audio. Returns how many messages went.
    pub fn clear(&self) -> usize {
        let mut q = self.lock();
        q.audio = VecDeque::new();
        q.audio_bytes = 0;
        q.throw_away()
    }

    /// The next message, for a connection without a socket: audio waits, the oldest of it makes room.
    pub fn pop_notice(&self) -> Option<(Notice, Option<Box<str>>)> {
        let mut q = self.lock();
        let popped = q.notices.pop_front();
        q.notice_bytes -= popped.as_ref().map_or(0, |(n, _)| n.len());
        popped
    }

    /// Takes messages again after a close that a client may come back from.
    pub fn reopen(&self) {
        self.lock().close = None;
    }

    /// Session events that were thrown away since the last time.
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().lost)
    }

    /// How full it is.
    pub fn info(&self) -> QueueInfo {
        let q = self.lock();
        QueueInfo { messages: q.notices.len(), bytes: q.notice_bytes + q.audio_bytes, limit: self.limits.messages }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Queue {
    /// Empties the messages. Returns how many they were.
    fn throw_away(&mut self) -> usize {
        let all = std::mem::take(&mut self.notices);
        self.notice_bytes = 0;
        self.lost += all.iter().filter(|(n, _)| n.is_session_event()).count() as u64;
        all.len()
    }
}

/// The same frame, saying that audio is missing before it.
fn with_gap(frame: &Bytes) -> Bytes {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    let mut copy = frame.to_vec();
    if let Some(flags) = copy.get_mut(header + FLAGS_AT) {
        *flags |= FLAG_GAP;
    }
    copy.into()
}
