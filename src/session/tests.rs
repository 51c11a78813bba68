use super::*;
use crate::audio::Encoding;
use crate::audio::{OutputFormat, StreamFormat};
use crate::dialect::native::DecodeLimits;
use crate::protocol::Event;

fn session(query: StreamFormat) -> Session {
    Session::new(
        SessionLimits {
            streams_max: 2,
            conversations_max: 2,
            faults_max: 5,
            event_ring: 8,
            decode: DecodeLimits { json_depth: 16 },
        },
        StreamDefaults { format: query, output: OutputFormat::default() },
        Authentication::Known { identity: Arc::default(), expires_ms: None },
        Uuid::now_v7,
    )
}

fn text(s: &mut Session, message: &str) -> (Vec<Effect>, Vec<u8>) {
    let (mut fx, mut scratch) = (Vec::new(), Vec::new());
    s.handle_text(message, 0, &mut scratch, &mut fx);
    (fx, scratch)
}

fn error(fx: &[Effect]) -> &ProtocolError {
    match fx {
        [Effect::Send(Event::Error(e), _), ..] => e,
        other => panic!("no error: {other:?}"),
    }
}

fn stranger(now_ms: u64) -> Session {
    let mut s = session(StreamFormat::AUTO);
    s.access = Access::new(Authentication::Awaited { now_ms });
    s
}

fn at(s: &mut Session, now_ms: u64) -> (Vec<Effect>, Option<u64>) {
    let mut fx = Vec::new();
    let next = s.on_time(now_ms, &mut fx);
    (fx, next)
}

const START: &str =
    r#"{"type":"audio_start","stream_id":"a","format":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1}}"#;

#[test]
fn binary_goes_to_the_newest_raw_stream() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, START);
    text(&mut s, &START.replace("\"a\"", "\"b\""));
    assert!(matches!(s.route_binary(b"xy"), Route::Audio { index: 1, skip: 0 }));
    text(&mut s, r#"{"type":"audio_end","stream_id":"b"}"#);
    assert!(matches!(s.route_binary(b"xy"), Route::Audio { index: 0, skip: 0 }));
    assert!(matches!(s.route_binary(b""), Route::Empty));
    let (fx, _) = text(&mut s, &START.replace("\"a\"", "\"c\""));
    assert_eq!(error(&fx).code, ErrorCode::StreamLimit, "the ending stream still holds its place");
    s.closed(1);
    assert!(matches!(text(&mut s, &START.replace("\"a\"", "\"c\"")).0[..], [Effect::Open(_)]));
    assert_eq!(error(&text(&mut s, START).0).code, ErrorCode::StreamExists);
}

#[test]
fn tagged_frames_name_their_stream() {
    let mut s = session(StreamFormat::AUTO);
    for name in ["a", "b"] {
        let m =
            START.replace("\"a\"", &format!("\"{name}\"")).replace("\"format\"", "\"framing\":\"tagged\",\"format\"");
        text(&mut s, &m);
    }
    assert!(matches!(s.route_binary(&[1, 0, 0, 0, 9]), Route::Audio { index: 1, skip: 4 }));
    assert!(matches!(s.route_binary(&[0, 0, 0, 0, 9]), Route::Audio { index: 0, skip: 4 }));
    assert!(matches!(s.route_binary(&[7, 0, 0, 0, 9]), Route::Refuse(Some(_))));
    assert!(matches!(s.route_binary(&[7, 0]), Route::Refuse(None)), "told once");
}

#[test]
fn audio_before_any_start_opens_the_default_stream_once() {
    let query = StreamFormat::new(Encoding::Mulaw, Some(8_000), Some(1)).unwrap();
    let mut s = session(query);
    let Route::OpenFirst(open) = s.route_binary(b"xyz") else { panic!() };
    assert_eq!((open.format, open.implicit, open.index), (query, true, 0));
    s.closed(0);
    assert!(matches!(s.route_binary(b"xyz"), Route::Refuse(Some(e)) if e.code == ErrorCode::StreamNotFound));
    assert!(matches!(s.route_binary(b"xyz"), Route::Refuse(None)));
}

#[test]
fn offsets_make_base64_idempotent() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, START);
    let data = |d: &str, offset: u64| format!(r#"{{"type":"audio_data","data":"{d}","offset":{offset}}}"#);
    let (fx, bytes) = text(&mut s, &data("AAECAw==", 0));
    assert!(matches!(fx[..], [Effect::Audio { index: 0, skip: 0, .. }]));
    assert_eq!(bytes, [0, 1, 2, 3]);
    assert!(matches!(text(&mut s, &data("AAECAw==", 0)).0[..], [Effect::Audio { skip: 4, .. }]));
    assert!(matches!(text(&mut s, &data("AgMEBQ", 2)).0[..], [Effect::Audio { skip: 2, .. }]), "padding is optional");
    let (fx, _) = text(&mut s, &data("AAAA", 9));
    assert_eq!((error(&fx).code, error(&fx).details["expected_offset"].as_u64()), (ErrorCode::AudioGap, Some(6)));
    let (fx, _) = text(&mut s, r#"{"type":"audio_data","data":"AAAA"}"#);
    assert_eq!(error(&fx).code, ErrorCode::AudioGap, "nothing is accepted until the hole is filled");
    assert!(matches!(text(&mut s, &data("AAAA", 6)).0[..], [Effect::Audio { skip: 0, .. }]));
    assert!(matches!(text(&mut s, r#"{"type":"audio_data","data":"AAAA"}"#).0[..], [Effect::Audio { skip: 0, .. }]));
}

#[test]
fn base64_faults_name_the_place() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, START);
    for (bad, at) in [("AAAA AAA", "4"), ("AA_-", "2"), ("AAAAA\\n", "5")] {
        let (fx, _) = text(&mut s, &format!(r#"{{"type":"audio_data","data":"{bad}"}}"#));
        let e = error(&fx);
        assert_eq!(e.code, ErrorCode::InvalidBase64);
        assert!(e.message.contains(&format!("at {at}")), "{}", e.message);
        text(&mut s, r#"{"type":"pong"}"#);
    }
}

#[test]
fn five_faults_in_a_row_close_and_a_good_message_resets() {
    let mut s = session(StreamFormat::AUTO);
    for _ in 0..4 {
        assert!(!matches!(text(&mut s, "{").0.last(), Some(Effect::Close(CloseCode::TooManyFaults, _))));
    }
    text(&mut s, r#"{"type":"ping"}"#);
    for _ in 0..4 {
        text(&mut s, r#"{"type":"nonsense"}"#);
    }
    text(&mut s, r#"{"type":"audio_end"}"#); // STREAM_NOT_FOUND neither counts nor resets
    assert!(matches!(text(&mut s, "nonsense").0.last(), Some(Effect::Close(CloseCode::TooManyFaults, _))));
}

#[test]
fn a_repeated_audio_start_gets_the_same_answer() {
    let mut s = session(StreamFormat::AUTO);
    let m = START.replace("\"stream_id\"", "\"id\":\"1\",\"stream_id\"");
    assert!(matches!(text(&mut s, &m).0[..], [Effect::Open(_)]));
    s.opened(Some("1"), &Event::Ping);
    assert!(matches!(&text(&mut s, &m).0[..], [Effect::Send(Event::Ping, Some(id))] if id == "1"));
}

#[test]
fn a_format_that_contradicts_the_open_stream_is_refused() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, START);
    let (fx, _) = text(
        &mut s,
        r#"{"type":"audio_data","data":"AAAA","format":{"encoding":"pcm_s16le","sample_rate":8000,"channels":1}}"#,
    );
    assert_eq!(error(&fx).code, ErrorCode::InvalidMessage);
    let (fx, _) = text(
        &mut s,
        r#"{"type":"audio_data","data":"AAAA","format":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1}}"#,
    );
    assert!(matches!(fx[..], [Effect::Audio { .. }]));
}

#[test]
fn admin_topics_are_denied_to_others() {
    let mut s = session(StreamFormat::AUTO);
    let (fx, _) = text(&mut s, r#"{"type":"subscribe_events","events":["speech","metrics","weather"]}"#);
    let [Effect::Subscriptions(set), Effect::Send(Event::SubscriptionUpdated { denied, .. }, _)] = &fx[..] else {
        panic!()
    };
    assert!(set.has(Topic::Speech) && !set.has(Topic::Metrics));
    assert_eq!(denied, &["metrics", "weather"]);
}

/// Failures.md row 4, without the wait.
#[test]
fn a_stranger_has_five_seconds() {
    let mut s = stranger(1_000);
    let (fx, _) = text(&mut s, r#"{"type":"ping"}"#);
    assert_eq!(error(&fx).code, ErrorCode::Unauthenticated);
    assert!(matches!(at(&mut s, 5_999), (fx, Some(6_000)) if fx.is_empty()));
    assert!(matches!(at(&mut s, 6_000).0[..], [Effect::Close(CloseCode::Unauthenticated, _)]));
    let mut s = stranger(1_000);
    assert!(matches!(text(&mut s, r#"{"type":"authenticate","token":"t"}"#).0[..], [Effect::Authenticate(..)]));
    s.authenticated(Arc::default(), None, None, &mut Vec::new());
    assert!(matches!(at(&mut s, 60_000), (fx, None) if fx.is_empty()));
}

/// Failures.md row 21: a warning, then 25 s in which a fresh token is taken, then the end.
#[test]
fn an_expired_token_holds_for_its_grace_and_no_longer() {
    let ann = Arc::new(Identity { user_id: Some("ann".into()), ..Identity::default() });
    let mut s = session(StreamFormat::AUTO);
    s.access = Access::new(Authentication::Known { identity: Arc::clone(&ann), expires_ms: Some(10_000) });
    assert!(matches!(at(&mut s, 9_999), (fx, Some(10_000)) if fx.is_empty()));
    let (fx, next) = at(&mut s, 10_000);
    assert_eq!((error(&fx).code, error(&fx).details["grace_ms"].as_u64()), (ErrorCode::TokenExpired, Some(25_000)));
    assert_eq!(next, Some(35_000));
    assert!(matches!(text(&mut s, r#"{"type":"ping"}"#).0[..], [Effect::Send(Event::Pong { .. }, _)]));
    assert!(at(&mut s, 34_999).0.is_empty(), "told once");
    assert!(matches!(at(&mut s, 35_000).0[..], [Effect::Close(CloseCode::Unauthenticated, _)]));
    s.authenticated(ann, Some(99_000), None, &mut Vec::new());
    assert!(matches!(at(&mut s, 35_001), (fx, Some(99_000)) if fx.is_empty()), "a fresh token begins anew");
}

#[test]
fn typing_ends_six_seconds_after_it_was_last_said() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, r#"{"type":"join_conversation","conversation_id":"hall"}"#);
    let types = |s: &mut Session, now_ms: u64, active: bool| {
        let mut fx = Vec::new();
        let m = format!(r#"{{"type":"typing","conversation_id":"hall","active":{active}}}"#);
        s.handle_text(&m, now_ms, &mut Vec::new(), &mut fx);
        fx
    };
    let told = |fx: &[Effect], expected: bool| matches!(fx, [Effect::People(PeopleAct::Typing { active, .. }, None)] if *active == expected);
    assert!(types(&mut s, 0, false).is_empty(), "he did not type");
    assert!(told(&types(&mut s, 0, true), true));
    assert!(types(&mut s, 4_000, true).is_empty(), "it goes on: nobody is told again");
    assert!(matches!(at(&mut s, 6_000), (fx, Some(10_000)) if fx.is_empty()));
    let (fx, next) = at(&mut s, 10_000);
    assert!(told(&fx, false) && next.is_none());
    assert!(told(&types(&mut s, 11_000, true), true));
    assert!(told(&types(&mut s, 12_000, false), false));
    assert!(at(&mut s, 60_000).0.is_empty());
}

#[test]
fn leaving_a_conversation_ends_the_streams_into_it() {
    let mut s = session(StreamFormat::AUTO);
    text(&mut s, r#"{"type":"join_conversation","conversation_id":"hall"}"#);
    text(&mut s, &START.replace("\"a\"", "\"a\",\"conversation_id\":\"hall\""));
    text(&mut s, &START.replace("\"a\"", "\"b\""));
    let (fx, _) = text(&mut s, r#"{"type":"leave_conversation","conversation_id":"hall"}"#);
    assert!(matches!(fx[..], [Effect::End(0, None), Effect::People(PeopleAct::Leave(_), None)]), "{fx:?}");
    assert!(matches!(s.route_binary(b"xy"), Route::Audio { index: 1, skip: 0 }));
    let (fx, _) = text(&mut s, &START.replace("\"a\"", "\"c\",\"conversation_id\":\"hall\""));
    assert_eq!(error(&fx).code, ErrorCode::Forbidden);
}
