use super::*;

const LIMITS: Limits = Limits { message_bytes: 1 << 20, fragments: 16, assembly_ms: 1_000 };

#[derive(Debug, PartialEq, Eq, Clone)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

fn read(bytes: &[u8], cut: usize) -> (Vec<Got>, Result<(), WebSocketError>) {
    let mut reader = Reader::new(Role::Server, LIMITS);
    let mut got = Vec::new();
    for chunk in bytes.chunks(cut) {
        let mut chunk = chunk.to_vec();
        let done = reader.feed(&mut chunk, 0, &mut |m| {
            got.push(match m {
                Incoming::Text(t) => Got::Text(t.into()),
                Incoming::Binary(b) => Got::Binary(b.into()),
                Incoming::Ping(b) => Got::Ping(b.into()),
                Incoming::Pong(b) => Got::Pong(b.into()),
                Incoming::Close(c, r) => Got::Close(c, r.into()),
            });
        });
        if done.is_err() {
            return (got, done);
        }
    }
    (got, Ok(()))
}

fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked(&mut out, opcode, payload, [0x11, 0xf2, 0x33, 0x84]);
    out
}

/// One frame with any first byte, masked with zeros.
fn raw(b0: u8, payload: &[u8]) -> Vec<u8> {
    let mut f = vec![b0, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    f.extend_from_slice(payload);
    f
}

#[test]
fn messages_of_every_length_class_survive_any_cut() {
    let big: Vec<u8> = (0..70_000u32).map(|i| i as u8).collect();
    let mut bytes = Vec::new();
    let mut want = Vec::new();
    for n in [0usize, 1, 7, 125, 126, 127, 640, 65_535, 65_536, 70_000] {
        bytes.extend(masked(OpCode::Binary, &big[..n]));
        want.push(Got::Binary(big[..n].to_vec()));
        bytes.extend(masked(OpCode::Ping, b"hi"));
        want.push(Got::Ping(b"hi".to_vec()));
    }
    bytes.extend(masked(OpCode::Text, "żółw".as_bytes()));
    want.push(Got::Text("żółw".into()));
    bytes.extend(masked(OpCode::Close, &close_payload(1000, "done")));
    want.push(Got::Close(1000, "done".into()));
    for cut in [1, 2, 3, 5, 13, 641, 4_096, 65_536, bytes.len()] {
        assert_eq!(read(&bytes, cut), (want.clone(), Ok(())), "cut {cut}");
    }
}

#[test]
fn fragments_are_joined_and_control_frames_pass_between_them() {
    let mut bytes = raw(0x01, "h\u{e9}".as_bytes().split_at(2).0);
    bytes.extend(raw(0x89, b"p"));
    bytes.extend(raw(0x00, "h\u{e9}".as_bytes().split_at(2).1));
    bytes.extend(raw(0x80, b"!"));
    for cut in [1, 4, bytes.len()] {
        assert_eq!(read(&bytes, cut), (vec![Got::Ping(b"p".to_vec()), Got::Text("h\u{e9}!".into())], Ok(())));
    }
}

#[test]
fn each_broken_rule_has_its_close_code() {
    let unmasked = {
        let mut v = Vec::new();
        encode(&mut v, OpCode::Text, b"x");
        v
    };
    let huge = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let too_big = [0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let long_ping = {
        let mut v = vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0];
        v.extend([0; 126]);
        v
    };
    for (name, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("2^63 bytes", huge.to_vec(), 1002),
        ("2^63 - 1 bytes", too_big.to_vec(), 1009),
        ("reserved bit", raw(0xc2, b"x"), 1002),
        ("reserved opcode", raw(0x83, b"x"), 1002),
        ("fragmented ping", raw(0x09, b"x"), 1002),
        ("long ping", long_ping, 1002),
        ("continuation of nothing", raw(0x80, b"x"), 1002),
        ("message inside a message", [raw(0x02, b"x"), raw(0x82, b"y")].concat(), 1002),
        ("bad UTF-8", raw(0x81, &[0xc3, 0x28]), 1007),
        ("surrogate", raw(0x81, &[0xed, 0xa0, 0x80]), 1007),
        ("close of one byte", raw(0x88, &[3]), 1002),
        ("close 1005", raw(0x88, &1005u16.to_be_bytes()), 1002),
        ("close reason", raw(0x88, &[3, 232, 0xff]), 1007),
        ("fragments", [raw(0x02, b""), raw(0x00, b"").repeat(16)].concat(), 1008),
    ] {
        let (_, done) = read(&bytes, bytes.len());
        assert_eq!(done.expect_err(name).close_code(), code, "{name}");
    }
}

#[test]
fn an_empty_frame_is_handed_out_with_its_last_byte() {
    assert_eq!(read(&masked(OpCode::Ping, b""), 1), (vec![Got::Ping(vec![])], Ok(())));
}

#[test]
fn text_that_cannot_become_utf8_any_more_is_refused_at_its_fragment() {
    let begins = raw(0x01, "żó".as_bytes().split_last().unwrap().1); // ends in the middle of a character
    assert_eq!(read(&begins, 1).1, Ok(()));
    let goes_on = [begins.clone(), raw(0x00, &[0xb3, b'l'])].concat();
    assert_eq!(read(&goes_on, 3).1, Ok(()));
    let breaks = [begins, raw(0x00, b"xl")].concat();
    assert_eq!(read(&breaks, 3).1, Err(WebSocketError::Utf8), "though the message is not whole");
}

#[test]
fn a_claimed_size_allocates_nothing() {
    let mut reader = Reader::new(Role::Server, LIMITS);
    let mut header = [0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 1, 2, 3, 4];
    reader.feed(&mut header, 0, &mut |_| panic!("nothing is whole")).unwrap();
    assert_eq!(reader.held_bytes(), 14);
    assert!(reader.carry.capacity() < 64);
}

#[test]
fn a_message_assembled_too_slowly_is_refused() {
    let mut reader = Reader::new(Role::Server, LIMITS);
    reader.feed(&mut raw(0x01, b"a"), 0, &mut |_| ()).unwrap();
    reader.feed(&mut raw(0x00, b"b"), 1_000, &mut |_| ()).unwrap();
    let late = reader.feed(&mut raw(0x00, b"c"), 1_001, &mut |_| ());
    assert_eq!(late.unwrap_err().close_code(), 1008);
}

#[test]
fn the_accept_key_is_the_rfc_example() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(check_upgrade("keep-alive, Upgrade", "websocket", Some("13"), Some("dGhlIHNhbXBsZSBub25jZQ==")), Ok(()));
    assert_eq!(check_upgrade("upgrade", "", Some("13"), Some("x")), Err(HandshakeError::NotUpgrade));
    assert_eq!(check_upgrade("upgrade", "WebSocket", Some("8"), Some("x")), Err(HandshakeError::Version));
    assert_eq!(check_upgrade("upgrade", "websocket", Some("13"), Some("x")), Err(HandshakeError::Key));
}
