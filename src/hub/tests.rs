use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::audio::{Encoding, OutputFormat};
use crate::protocol::{CloseCode, Event, Identity, ListenTarget};
use crate::sink::listeners::{Publish, listener_frame};

const LIMITS: OutboxLimits = OutboxLimits { messages: 3, message_bytes: 1_000, audio_bytes: 200 };
fn meta() -> ConnectionMeta {
    ConnectionMeta {
        id: Uuid::now_v7(),
        remote_addr: ([127, 0, 0, 1], 1).into(),
        user_agent: None,
        connected_unix_ms: 0,
        connected_ms: 0,
    }
}

fn connect(all: &Connections, client: &str, admin: bool) -> Arc<Connection> {
    let identity = Identity { admin, ..Identity::default() };
    all.insert(client.into(), meta(), Some(identity.into()), LIMITS).unwrap()
}

fn speak(d: &Directory, from: &Arc<Connection>, conversation: Option<&str>) -> Arc<LiveStream> {
    d.insert(LiveStreamMeta {
        uid: Uuid::now_v7(),
        stream_id: "mic".into(),
        connection: Arc::clone(from),
        conversation_id: conversation.map(Into::into),
        encoding: Encoding::PcmS16le,
        output: OutputFormat::default(),
        recording_id: None,
        started_unix_ms: 0,
    })
    .unwrap()
}

fn flags(frame: &Bytes) -> u8 {
    frame[2 + 4]
}

#[test]
fn a_slow_listener_loses_its_oldest_audio_and_is_told() {
    let all = Connections::default();
    let c = connect(&all, "a", false);
    for i in 0..10 {
        send(&c, &listener_frame(7, i, false, false, &[i as i16; 20])); // 58 bytes each, three fit
    }
    c.outbox.send(&Event::Ping);
    assert!(
        matches!(c.outbox.pop(), Some(OutboxItem::Notice(..))),
        "messages go before audio and are never lost to it"
    );
    let frames: Vec<Bytes> = std::iter::from_fn(|| c.outbox.pop())
        .map(|i| match i {
            OutboxItem::Audio(b) => b,
            OutboxItem::Notice(..) => panic!(),
        })
        .collect();
    assert_eq!(frames.iter().map(|f| f[2 + 8]).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(frames.iter().map(flags).collect::<Vec<_>>(), [1, 0, 0]);
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_is_called_once_for_all_that_waits_and_again_after_it_took_it() {
    let all = Connections::default();
    let c = connect(&all, "a", false);
    let calls = Arc::new(Calls::default());
    let waker = Arc::clone(&calls).into();
    let cx = Context::from_waker(&waker);
    let mut items = Vec::new();
    assert!(c.outbox.poll_take(&cx, 1_000, &mut items).is_none());
    for round in 1..=3 {
        send(&c, &listener_frame(7, 0, false, false, &[1; 20]));
        send(&c, &listener_frame(7, 20, false, false, &[2; 20]));
        assert_eq!(calls.0.load(Ordering::Relaxed), round);
        let left = c.outbox.poll_take(&cx, 1_000, &mut items).unwrap();
        assert!(!left.more && !left.closing && !left.woken);
        assert!(c.outbox.poll_take(&cx, 1_000, &mut items).is_none());
    }
    let positions = items.iter().map(|i| match i {
        OutboxItem::Audio(f) => f[2 + 8],
        OutboxItem::Notice(..) => panic!(),
    });
    assert_eq!(positions.collect::<Vec<_>>(), [0, 20, 0, 20, 0, 20]);
}

#[test]
fn a_single_frame_lets_messages_and_a_close_pass() {
    let all = Connections::default();
    let c = connect(&all, "a", false);
    let cx = Context::from_waker(Waker::noop());
    let mut items = Vec::new();
    send(&c, &listener_frame(7, 0, false, false, &[1; 20]));
    c.outbox.send(&Event::Ping);
    let left = c.outbox.poll_take(&cx, 1, &mut items).unwrap();
    assert!(left.more && matches!(items[..], [OutboxItem::Notice(..)]), "{left:?}");
    c.outbox.close(CloseCode::Idle, "x");
    c.outbox.wake();
    let left = c.outbox.poll_take(&cx, 0, &mut items).unwrap();
    assert!(left.more && left.closing && left.woken && items.len() == 1);
    c.outbox.wake();
    let left = c.outbox.poll_take(&cx, 1, &mut items).unwrap();
    assert!(!left.more && matches!(items[1..], [OutboxItem::Audio(_)]), "{left:?}");
}

#[test]
fn too_many_waiting_messages_close_the_connection() {
    let all = Connections::default();
    let c = connect(&all, "a", false);
    for _ in 0..9 {
        c.outbox.send(&Event::Ping);
    }
    while c.outbox.pop().is_some() {}
    c.outbox.set_blocked(true);
    for _ in 0..3 {
        c.outbox.send(&Event::Ping);
    }
    assert_eq!(c.outbox.closing(), None, "many at once are no fault of a reader's");
    c.outbox.send(&Event::Ping);
    assert_eq!(c.outbox.closing().unwrap().0, CloseCode::SlowConsumer);
    assert!(c.outbox.pop().is_none(), "what it held is released");
}

#[test]
fn one_listens_to_ones_own_to_ones_conversation_and_as_admin_to_all() {
    let all = Connections::default();
    let d = Directory::new(4);
    let speaker = connect(&all, "s", false);
    let member = connect(&all, "m", false);
    let stranger = connect(&all, "x", false);
    let admin = connect(&all, "r", true);
    let stream = speak(&d, &speaker, Some("room"));
    let uid = ListenTarget::Stream(stream.meta.uid.to_string());
    let no_name = |_: &str| None;
    assert!(d.listen(&stranger, &uid, no_name, |_| false).is_none());
    assert!(d.listen(&stranger, &ListenTarget::Conversation("room".into()), no_name, |_| false).is_none());
    assert!(d.listen(&member, &uid, no_name, |c| c == "room").is_some());
    assert!(d.listen(&admin, &uid, no_name, |_| false).is_some());
    assert!(d.listen(&speaker, &ListenTarget::Stream("mic".into()), |_| Some(stream.meta.uid), |_| false).is_some());
    assert_eq!(stream.info().listeners, 3);
}

#[test]
fn a_conversations_listener_hears_streams_that_come_later() {
    let all = Connections::default();
    let d = Directory::new(4);
    let speaker = connect(&all, "s", false);
    let member = connect(&all, "m", false);
    let l = d.listen(&member, &ListenTarget::Conversation("room".into()), |_| None, |_| true).unwrap();
    assert!(l.streams.is_empty());
    let stream = speak(&d, &speaker, Some("room"));
    assert!(stream.is_heard());
    d.remove(&stream);
    let changes: Vec<_> = std::iter::from_fn(|| member.outbox.pop()).collect();
    assert_eq!(changes.len(), 2);
    assert!(d.stop_listening(l.listener_id) && !d.stop_listening(l.listener_id));
    assert!(!speak(&d, &speaker, Some("room")).is_heard());
}

/// Sends a frame from this thread and tells how many bytes of it went at once.
fn send(c: &Connection, frame: &Bytes) -> usize {
    let before = c.outbox.bytes_out.load(Ordering::Relaxed);
    c.outbox.send_audio(7, frame, std::thread::current().id());
    (c.outbox.bytes_out.load(Ordering::Relaxed) - before) as usize
}

#[test]
fn a_lent_socket_takes_frames_by_itself_until_it_is_full_and_nothing_overtakes_what_it_took_in_part() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let all = Connections::default();
    let c = connect(&all, "a", false);
    c.outbox.set_shortcut(Some(socket));
    // Frames larger than a socket's room grows by: the last that goes goes in part.
    let frame = |n: u64| listener_frame(1, n, false, false, &[n as i16; 200_000]);
    let len = frame(0).len();
    let full = (0..).find(|&n| send(&c, &frame(n)) < len).expect("a socket has an end");
    assert!(c.outbox.is_blocked(), "the task is to write the rest");
    let cut = c.outbox.take_cut();
    assert!(!cut.is_empty() && cut.len() < len);
    // Who is behind gets nothing past what waits.
    assert_eq!(send(&c, &frame(full + 1)), 0);
    let mut written = vec![0; (full as usize + 1) * len - cut.len()];
    client.read_exact(&mut written).unwrap();
    written.extend_from_slice(&cut);
    let waiting = std::iter::from_fn(|| c.outbox.pop());
    written.extend(waiting.flat_map(|item| match item {
        OutboxItem::Audio(frame) => frame.to_vec(),
        OutboxItem::Notice(..) => panic!("nobody said anything"),
    }));
    assert!(written == (0..=full + 1).flat_map(frame).collect::<Vec<u8>>());
    // Another thread may not write while the task does, and messages are not overtaken.
    c.outbox.set_blocked(false);
    std::thread::scope(|s| assert_eq!(s.spawn(|| send(&c, &frame(5))).join().unwrap(), 0));
    assert!(matches!(c.outbox.pop(), Some(OutboxItem::Audio(_))));
    c.outbox.send(&Event::Ping);
    assert_eq!(send(&c, &frame(6)), 0);
}

#[test]
fn every_listener_hears_every_frame_in_order_though_they_come_and_go_while_it_is_handed_on() {
    let all = Connections::default();
    let d = Directory::new(1);
    let stream = speak(&d, &connect(&all, "s", false), Some("room"));
    let hear = |n: usize| {
        let c = connect(&all, &format!("l{n}"), false);
        let l = d.listen(&c, &ListenTarget::Conversation("room".into()), |_| None, |_| true).unwrap();
        (c, l.listener_id)
    };
    let heard = |c: &Connection| {
        std::iter::from_fn(|| c.outbox.pop())
            .filter_map(|item| match item {
                OutboxItem::Audio(frame) => Some(frame[2 + 8]), // the position's lowest byte
                OutboxItem::Notice(..) => None,
            })
            .collect::<Vec<_>>()
    };
    let say = |position| stream.publish(listener_frame(stream.listen_index, position, false, false, &[]));
    let mut listeners: Vec<_> = (0..300).map(hear).collect();
    say(1);
    assert!(stream.is_handing_on());
    let got = listeners.iter().filter(|(c, _)| !c.outbox.info().bytes.eq(&0)).count();
    assert!((1..300).contains(&got), "{got}");
    // One who has it and one who has not leave; another comes.
    let late = hear(300);
    say(2);
    for gone in [299, 3] {
        assert!(d.stop_listening(listeners.remove(gone).1));
    }
    while stream.is_handing_on() {
        stream.hand_on();
    }
    say(3);
    d.remove(&stream); // nobody calls `hand_on` any more
    for (c, _) in &listeners {
        assert_eq!(heard(c), [1, 2, 3], "{}", c.client_id());
    }
    assert_eq!(heard(&late.0), [2, 3]);
}

#[test]
fn listen_indices_are_unique_and_come_back_late() {
    let all = Connections::default();
    let d = Directory::new(3);
    let c = connect(&all, "s", false);
    let (a, b) = (speak(&d, &c, None), speak(&d, &c, None));
    d.remove(&a);
    let e = speak(&d, &c, None);
    assert_eq!((a.listen_index, b.listen_index, e.listen_index), (0, 1, 2));
    assert_eq!(speak(&d, &c, None).listen_index, 0);
    assert!(d.is_full());
}
