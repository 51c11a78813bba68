//! A connection's outbound queue: what others want it to be told. Messages and audio apart, both bounded.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};

use bytes::Bytes;

use super::notice::Notice;
use super::shortcut::Shortcut;
use crate::protocol::{CloseCode, Event, QueueInfo};

/// Bounds of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Messages that may wait for a reader who takes nothing; one more closes the connection with 4111 (policy: disconnect). What comes
    /// in one go, as from a group of writes, may be more: only who is behind is slow.
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

impl OutboxItem {
    fn len(&self) -> usize {
        match self {
            Self::Notice(notice, _) => notice.len(),
            Self::Audio(frame) => frame.len(),
        }
    }
}

/// Why a connection closes: the code, and words for the reader of the close frame.
pub type Closing = (CloseCode, Cow<'static, str>);

/// Everything but the one frame an undisturbed listener has waiting.
#[derive(Debug, Default)]
struct Rest {
    notices: VecDeque<(Notice, Option<Box<str>>)>,
    notice_bytes: usize,
    audio: VecDeque<(u16, Bytes)>,
    audio_bytes: usize,
    /// Streams of which a frame was dropped since the last one that was sent.
    gaps: Vec<u16>,
    /// The end of a frame of which the socket took a part: it goes before all else.
    cut: Bytes,
    close: Option<Closing>,
    /// Session events that were thrown away before they were sent.
    lost: u64,
}

/// With a thousand listeners a frame costs as much as it touches memory that has left the cache: what a frame needs that goes directly
/// stands first, in one line with the flags of [`Outbox`], then what one needs that is queued.
#[derive(Debug, Default)]
#[repr(C)]
struct Queue {
    shortcut: Option<Shortcut>,
    /// Something is in here that a frame may not pass by.
    occupied: bool,
    /// The only frame there is, and its stream; empty where there is none, or more than that.
    frame: Bytes,
    frame_index: u16,
    /// `rest` has to be looked at.
    more: bool,
    /// The task is to look at what is not in here.
    woken: bool,
    /// The connection's task, once it has looked here. It stays for life: a call lends it instead of taking it, so that a listener need
    /// not leave it anew for each frame.
    task: Option<Waker>,
    rest: Rest,
}

/// A connection's outbound queue and its wake-up.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Outbox {
    /// Something waits: an item, a close, or a sink with room again. Written with the queue locked, read by the task on every look without.
    signal: AtomicBool,
    /// Whether the queue knows whom to call.
    known: AtomicBool,
    /// The socket does not take what it was given last.
    blocked: AtomicBool,
    /// Bytes the socket took, whoever wrote them.
    pub bytes_out: AtomicU64,
    queue: Mutex<Queue>,
    limits: OutboxLimits,
}

/// What [`Outbox::poll_take`] leaves.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// There are more items than it was to take.
    pub more: bool,
    /// [`Outbox::closing`] has a reason.
    pub closing: bool,
    /// The call was (also) for something that is not in the queue: [`Outbox::wake`].
    pub woken: bool,
}

/// Offset of the flags in a listener's frame, from its end of the WebSocket header on (protocol section 5).
const FLAGS_AT: usize = 4;
/// Flag: audio was dropped just before this frame.
const FLAG_GAP: u8 = 1;

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: OutboxLimits) -> Self {
        let no = || AtomicBool::new(false);
        Self { signal: no(), known: no(), blocked: no(), bytes_out: AtomicU64::new(0), queue: Mutex::default(), limits }
    }

    /// The task tells whether the socket takes what it is given.
    pub fn set_blocked(&self, blocked: bool) {
        if self.blocked.load(Ordering::Relaxed) != blocked {
            self.blocked.store(blocked, Ordering::Relaxed);
        }
    }

    /// Whether the socket did not take all that it was given.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The task, which runs on this thread, lends its socket, which never blocks, to speakers of the same thread, or takes it back.
    pub fn set_shortcut(&self, socket: Option<TcpStream>) {
        self.lock().shortcut = socket.map(|socket| Shortcut { thread: thread::current().id(), socket });
    }

    /// The end of a frame that was written in part without the task: to be written before anything else.
    pub fn take_cut(&self) -> Bytes {
        std::mem::take(&mut self.lock().rest.cut)
    }

    /// Calls the connection's task, for whatever reason.
    pub fn wake(&self) {
        let mut q = self.lock();
        q.woken = true;
        self.call(&q);
    }

    /// Calls it where it was not called since it last took what there is.
    fn call(&self, queue: &Queue) {
        if !self.signal.load(Ordering::Relaxed) {
            self.signal.store(true, Ordering::Release);
            if let Some(task) = &queue.task {
                task.wake_by_ref();
            }
        }
    }

    /// Registers the task, the same at every call, and tells whether it was called since the last time. Where it was, items are moved
    /// out, messages first, until they have `bytes_max`: with 0, none.
    pub fn poll_take(&self, cx: &Context<'_>, bytes_max: usize, into: &mut Vec<OutboxItem>) -> Option<Left> {
        // Seldom set, and looked at with every frame of a speaker: the lock is for the first look and for news.
        if self.known.load(Ordering::Acquire) && !self.signal.load(Ordering::Acquire) {
            return None;
        }
        let mut q = self.lock();
        if !q.task.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            q.task = Some(cx.waker().clone());
            self.known.store(true, Ordering::Release);
        }
        if !self.signal.load(Ordering::Relaxed) {
            return None;
        }
        self.signal.store(false, Ordering::Relaxed);
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(item) = q.pop()
        {
            bytes += item.len();
            into.push(item);
        }
        Some(Left {
            more: q.holds_items(),
            closing: q.more && q.rest.close.is_some(),
            woken: std::mem::take(&mut q.woken),
        })
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
        let mut q = self.lock();
        let rest = q.rest();
        let bytes = rest.notice_bytes + notice.len();
        let taken = if rest.close.is_some() {
            rest.lost += u64::from(notice.is_session_event());
            false
        } else if (rest.notices.len() >= self.limits.messages && self.blocked.load(Ordering::Relaxed))
            || bytes > self.limits.message_bytes
        {
            rest.close = Some((CloseCode::SlowConsumer, "reads too slowly".into()));
            rest.throw_away();
            rest.lost += u64::from(notice.is_session_event());
            false
        } else {
            rest.notice_bytes = bytes;
            rest.notices.push_back((notice, reply_to));
            true
        };
        self.call(&q);
        taken
    }

    /// Sends a listener's frame, made by [`listener_frame`](crate::sink::listeners::listener_frame), of the stream with that index: where
    /// nothing waits, through the shortcut of a task of this thread, `here`; else it is queued, and the oldest audio makes room.
    pub fn send_audio(&self, stream_index: u16, frame: &Bytes, here: ThreadId) {
        let mut q = self.lock();
        if q.occupied {
            return self.queue_audio(&mut q, stream_index, frame.clone());
        }
        let sent = match &q.shortcut {
            Some(s) if s.thread == here && !self.is_blocked() => s.try_write(frame),
            _ => 0,
        };
        if sent > 0 {
            self.bytes_out.fetch_add(sent as u64, Ordering::Relaxed);
            if sent < frame.len() {
                q.rest.cut = frame.slice(sent..);
                self.set_blocked(true);
                self.call(&q);
            }
        } else {
            (q.frame, q.frame_index, q.occupied) = (frame.clone(), stream_index, true);
            self.call(&q);
        }
    }

    fn queue_audio(&self, queue: &mut Queue, stream_index: u16, frame: Bytes) {
        let rest = queue.rest();
        if rest.close.is_some() {
            return;
        }
        rest.audio_bytes += frame.len();
        rest.audio.push_back((stream_index, frame));
        while rest.audio_bytes > self.limits.audio_bytes && rest.audio.len() > 1 {
            if let Some((index, old)) = rest.audio.pop_front() {
                rest.audio_bytes -= old.len();
                if !rest.gaps.contains(&index) {
                    rest.gaps.push(index);
                }
            }
        }
        self.call(queue);
    }

    /// Closes the connection; the first reason counts. False where it was closing already.
    pub fn close(&self, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> bool {
        let mut q = self.lock();
        let rest = q.rest();
        let first = rest.close.is_none();
        rest.close.get_or_insert_with(|| (code, reason.into()));
        self.call(&q);
        first
    }

    /// Whether it must close, and why.
    pub fn closing(&self) -> Option<Closing> {
        self.lock().rest.close.clone()
    }

    /// The next item, messages first. After it may come more.
    pub fn pop(&self) -> Option<OutboxItem> {
        self.lock().pop()
    }

    /// Throws away what waits: messages, and listeners' audio. Returns how many messages went.
    pub fn clear(&self) -> usize {
        let mut q = self.lock();
        let rest = q.rest();
        rest.audio = VecDeque::new();
        rest.audio_bytes = 0;
        rest.throw_away()
    }

    /// The next message, for a connection without a socket: audio waits, the oldest of it makes room.
    pub fn pop_notice(&self) -> Option<(Notice, Option<Box<str>>)> {
        let mut q = self.lock();
        let popped = q.rest.notices.pop_front();
        q.rest.notice_bytes -= popped.as_ref().map_or(0, |(n, _)| n.len());
        popped
    }

    /// Takes messages again after a close that a client may come back from.
    pub fn reopen(&self) {
        self.lock().rest.close = None;
    }

    /// Session events that were thrown away since the last time.
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().rest.lost)
    }

    /// How full it is.
    pub fn info(&self) -> QueueInfo {
        let mut q = self.lock();
        let rest = q.rest();
        QueueInfo {
            messages: rest.notices.len(),
            bytes: rest.notice_bytes + rest.audio_bytes,
            limit: self.limits.messages,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Queue {
    /// The long way: the frame joins the rest.
    fn rest(&mut self) -> &mut Rest {
        (self.more, self.occupied) = (true, true);
        let frame = std::mem::take(&mut self.frame);
        if !frame.is_empty() {
            self.rest.audio_bytes += frame.len();
            self.rest.audio.push_front((self.frame_index, frame));
        }
        &mut self.rest
    }

    fn pop(&mut self) -> Option<OutboxItem> {
        if !self.more {
            let frame = std::mem::take(&mut self.frame);
            self.occupied = false;
            return (!frame.is_empty()).then_some(OutboxItem::Audio(frame));
        }
        let item = self.rest().pop();
        self.more = self.rest.is_needed();
        self.occupied = self.more;
        item
    }

    fn holds_items(&self) -> bool {
        !self.frame.is_empty() || self.more && !(self.rest.notices.is_empty() && self.rest.audio.is_empty())
    }
}

impl Rest {
    fn pop(&mut self) -> Option<OutboxItem> {
        if let Some((notice, reply_to)) = self.notices.pop_front() {
            self.notice_bytes -= notice.len();
            return Some(OutboxItem::Notice(notice, reply_to));
        }
        let (index, frame) = self.audio.pop_front()?;
        self.audio_bytes -= frame.len();
        if self.audio.is_empty() {
            self.audio = VecDeque::new();
        }
        let Some(at) = self.gaps.iter().position(|&g| g == index) else { return Some(OutboxItem::Audio(frame)) };
        self.gaps.swap_remove(at);
        Some(OutboxItem::Audio(with_gap(&frame)))
    }

    /// Whether a frame that comes may not pass it by.
    fn is_needed(&self) -> bool {
        !self.notices.is_empty() || !self.audio.is_empty() || !self.gaps.is_empty() || self.close.is_some()
    }

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
