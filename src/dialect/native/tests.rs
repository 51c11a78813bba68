use super::*;
use crate::audio::{Encoding, OutputChannels};
use crate::protocol::{AudioReceived, Command, ErrorCode, Event, Framing, Overflow, ProtocolError};

const LIMITS: DecodeLimits = DecodeLimits { json_depth: 16 };

fn fails(text: &str) -> ProtocolError {
    decode(text, LIMITS).expect_err(text).1
}

#[test]
fn audio_start_is_read_whole() {
    let m = decode(
        r#"{"type":"audio_start","id":"1","stream_id":"mic","format":{"encoding":"pcm_s16le","sample_rate":48000,"channels":2},
        "output":{"sample_rate":8000,"channels":"source"},"ack_ms":20,"record":false,"framing":"tagged","overflow":"drop_oldest","new":[1]}"#,
        LIMITS,
    )
    .unwrap();
    assert_eq!(m.id.as_deref(), Some("1"));
    let Command::AudioStart(a) = m.command else { panic!() };
    assert_eq!(a.stream_id.as_deref(), Some("mic"));
    assert_eq!(a.format.unwrap().encoding, Encoding::PcmS16le);
    assert_eq!((a.output.rate_hz, a.output.channels), (Some(8_000), Some(OutputChannels::Source)));
    assert_eq!(
        (a.ack_interval_ms, a.record, a.framing, a.overflow),
        (20, false, Framing::Tagged, Overflow::DropOldest)
    );
}

#[test]
fn audio_data_borrows_what_it_can() {
    for text in [
        r#"{"type":"audio_data","data":"AAECAw==","offset":4,"id":"x"}"#,
        r#"{ "id":"x", "offset":4, "data":"AAECAw==", "type":"audio_data", "sample_rate":16000}"#,
    ] {
        let m = decode(text, LIMITS).unwrap();
        assert_eq!(m.id.as_deref(), Some("x"));
        let Command::AudioData(a) = m.command else { panic!() };
        assert_eq!(a.offset, Some(4));
        assert!(matches!(a.data, std::borrow::Cow::Borrowed("AAECAw==")));
    }
    let escaped = decode(r#"{"type":"audio_data","data":"AA\/+"}"#, LIMITS).unwrap();
    let Command::AudioData(a) = escaped.command else { panic!() };
    assert_eq!(a.data, "AA/+");
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(fails("{").code, ErrorCode::InvalidJson);
    assert_eq!(fails("[]").code, ErrorCode::InvalidMessage);
    assert_eq!(fails("{}").code, ErrorCode::InvalidMessage);
    let e = fails(r#"{"type":"audio_strat"}"#);
    assert_eq!(e.code, ErrorCode::UnknownMessageType);
    assert!(e.message.contains("audio_start"), "{}", e.message);
    assert_eq!(fails(r#"{"type":"audio_start","stream_id":"../x"}"#).code, ErrorCode::InvalidMessage);
    assert_eq!(fails(r#"{"type":"audio_start","ack_ms":7}"#).code, ErrorCode::InvalidMessage);
    assert_eq!(fails(r#"{"type":"audio_start","format":{"encoding":"pcm_s16le"}}"#).code, ErrorCode::FormatRequired);
    assert_eq!(fails(r#"{"type":"audio_start","format":{"encoding":"wma"}}"#).code, ErrorCode::UnsupportedFormat);
    assert_eq!(fails(r#"{"type":"audio_start","output":{"channels":2}}"#).code, ErrorCode::UnsupportedFormat);
    assert_eq!(
        fails(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(126))).code,
        ErrorCode::MessageTooLarge
    );
    assert_eq!(fails(&format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(65))).code, ErrorCode::MessageTooLarge);
    let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(20), "]".repeat(20));
    assert_eq!(fails(&deep).code, ErrorCode::InvalidJson);
    let quoted = format!(r#"{{"type":"ping","payload":"{}\"\\"}}"#, "[".repeat(20));
    assert!(decode(&quoted, LIMITS).is_ok());
}

#[test]
fn a_failed_message_keeps_its_id() {
    for text in [
        r#"{"id":"7","type":"listen_start"}"#,
        r#"{"id":"7"}"#,
        r#"{"id":"7","type":5}"#,
        r#"{"type":"audio_data","id":"7","data":5}"#,
    ] {
        assert_eq!(decode(text, LIMITS).unwrap_err().0.as_deref(), Some("7"), "{text}");
    }
    for text in [r#"{"id":7}"#, r#"{"id":"7""#, "7"] {
        assert_eq!(decode(text, LIMITS).unwrap_err().0, None, "{text}");
    }
}

#[test]
fn the_envelope_is_around_every_event() {
    let ack = AudioReceived {
        stream_id: "mic".into(),
        received_bytes: 192_000,
        received_frames: 50,
        decoded_ms: 1_000,
        output_samples: 16_000,
        buffered_ms: 0,
        dropped_ms: 0,
        processing_us: 412,
    };
    let envelope =
        Envelope { unix_ms: 1_767_323_045_678, reply_to: Some("a\"b"), seq: Some(18_446_744_073_709_551_615) };
    let mut by_hand = Vec::new();
    encode(&Event::AudioReceived(ack.clone()), envelope, &mut by_hand);
    let got: serde_json::Value = serde_json::from_slice(&by_hand).unwrap();
    let mut want = serde_json::to_value(&ack).unwrap();
    let o = want.as_object_mut().unwrap();
    o.insert("type".into(), "audio_received".into());
    o.insert("timestamp".into(), "2026-01-02T03:04:05.678Z".into());
    o.insert("reply_to".into(), "a\"b".into());
    o.insert("seq".into(), 18_446_744_073_709_551_615_u64.into());
    assert_eq!(got, want);

    let mut other = Vec::new();
    encode(&Event::Ping, Envelope { unix_ms: 0, reply_to: None, seq: None }, &mut other);
    assert_eq!(other, br#"{"type":"ping","timestamp":"1970-01-01T00:00:00.000Z"}"#);
}

#[test]
fn a_timestamp_written_within_the_same_second_is_the_one_written_anew() {
    let ping = |unix_ms| {
        let mut out = Vec::new();
        encode(&Event::Ping, Envelope { unix_ms, reply_to: None, seq: None }, &mut out);
        String::from_utf8(out).unwrap()
    };
    for unix_ms in [0, 1, 999, 1_000, 1_767_323_045_678, 1_767_323_045_009, 1_767_323_046_000, 253_402_300_799_999] {
        let text = format!("\"timestamp\":\"{}\"", crate::protocol::Timestamp(unix_ms));
        assert!(ping(unix_ms).contains(&text) && ping(unix_ms).contains(&text), "{text}");
    }
    assert_eq!(ping(u64::MAX - 1), ping(u64::MAX));
    assert!(ping(u64::MAX).contains("9999-12-31T23:59:59.999Z"));
}
