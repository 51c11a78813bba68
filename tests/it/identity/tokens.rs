//! Where tokens come from, which are refused, how they end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use voxgate::clock::unix_s;
use voxgate::config::OnDuplicate;

use crate::support::jwt::{SECRET, admin_token, bearer, jwt, token, token_with};
use crate::support::{TestServer, http};

#[tokio::test]
async fn a_token_is_found_in_header_subprotocol_query_and_message() {
    let server = TestServer::with_tokens();
    let t = token_with("ann", |t| t.roles = vec!["speaker".into()]);
    let item = format!("voxgate.v1, bearer.{t}");
    let by_query = format!("/ws?token={t}");
    let bearer = format!("Bearer {t}");
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Option<&'a str>);
    let cases: [Case<'_>; 4] = [
        ("/ws", &[("Authorization", &bearer)], None),
        ("/ws", &[("Sec-WebSocket-Protocol", &item)], Some("voxgate.v1")),
        (&by_query, &[], None),
        (&by_query, &[("Sec-WebSocket-Protocol", "voxgate.v1")], Some("voxgate.v1")),
    ];
    for (path, headers, subprotocol) in cases {
        let mut c = server.upgrade(path, headers).await.unwrap();
        assert_eq!(
            (&c.hello["user_id"], &c.hello["roles"]),
            (&json!("ann"), &json!(["speaker"])),
            "{path} {headers:?}"
        );
        assert_eq!(c.subprotocol.as_deref(), subprotocol, "the token is never echoed");
        let info = c.ask(json!({"type": "connection_info_request"})).await;
        assert_eq!(info["user_id"], "ann");
    }
    let mut c = server.connect().await;
    assert_eq!((&c.hello["user_id"], &c.hello["roles"]), (&json!(null), &json!([])));
    for request in [json!({"type": "ping"}), json!({"type": "join_conversation", "conversation_id": "x"})] {
        assert_eq!(c.ask(request).await["code"], "UNAUTHENTICATED");
    }
    c.send_binary(&[0; 100]).await;
    c.expect_error("UNAUTHENTICATED").await;
    let refused = c.ask(json!({"type": "authenticate", "token": "nonsense"})).await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("TOKEN_INVALID"), &json!("the token was not accepted"))
    );
    let told = c.ask(json!({"type": "authenticate", "token": t})).await;
    assert_eq!(
        (&told["type"], &told["user_id"], &told["roles"]),
        (&json!("authenticated"), &json!("ann"), &json!(["speaker"]))
    );
    assert!(told["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong");
    // A stranger's messages are small; who is known sends those of the configuration.
    c.send(json!({"type": "ping", "ignored": "x".repeat(100_000)})).await;
    c.expect("pong").await;
    // A message cannot make one user of another.
    let other = c.ask(json!({"type": "authenticate", "token": token("bob")})).await;
    assert_eq!(other["code"], "FORBIDDEN");
    assert_eq!(c.ask(json!({"type": "connection_info_request"})).await["user_id"], "ann");
}

/// Nothing of what others say reaches someone who has not said who he is, and the conversation in the address waits for that.
#[tokio::test]
async fn a_stranger_hears_nothing_and_joins_when_he_is_known() {
    let server = TestServer::with_tokens();
    let admin = admin_token("root");
    let mut root = server.connect_as("/ws?conversation_id=team-1", &admin).await;
    root.told().await;
    let only_team = token_with("ann", |t| t.conversations = Some(vec!["team-1".into()]));
    for (conversation, joins) in [("team-1", true), ("hall", false)] {
        let mut c = server.connect_to(&format!("/ws?conversation_id={conversation}")).await;
        let id = &c.hello["connection_id"];
        for request in [
            json!({"type": "broadcast_request", "content": 1}),
            json!({"type": "broadcast_request", "content": 1, "target": {"connection_ids": [id]}}),
            json!({"type": "message", "conversation_id": "team-1", "content": 1}),
        ] {
            let told = root.ask(request).await;
            assert!(told["delivered"].is_null() || told["delivered"] == 0, "{told}");
        }
        let alert = root.ask(json!({"type": "broadcast_admin_message", "content": 1, "severity": "info"})).await;
        assert_eq!(alert["data"]["delivered"], 1, "the administrator alone: {alert}");
        root.told().await;
        c.send(json!({"type": "authenticate", "token": only_team})).await;
        assert_eq!(c.next().await["type"], "authenticated", "the first it hears");
        if joins {
            let joined = c.expect("conversation_joined").await;
            assert_eq!(joined["members"][1]["user_id"], "ann", "{joined}");
            assert_eq!(root.expect("presence_changed").await["member"]["user_id"], "ann");
        } else {
            c.expect_error("FORBIDDEN").await;
            assert!(root.told().await.iter().all(|m| m["change"] != "joined"));
        }
        c.close().await; // a dropped one would stay for the resume window, and be told
        crate::limits::wait_for(&server, 1).await;
    }
}

#[tokio::test]
async fn a_strangers_messages_are_small() {
    let server = TestServer::with_tokens();
    let mut c = server.connect().await;
    c.send(json!({"type": "ping", "ignored": "x".repeat(20_000)})).await;
    assert_eq!(c.closed().await, 1009);
}

/// Row 4.
#[tokio::test]
async fn who_does_not_authenticate_in_five_seconds_is_closed() {
    let server = TestServer::with_tokens();
    let mut c = server.connect().await;
    let began = Instant::now();
    assert_eq!(c.closed().await, 4001);
    let took = began.elapsed().as_millis();
    assert!((4_500..10_000).contains(&took), "{took} ms");
}

/// Row 22 over the wire; the kinds of bad tokens are `auth`'s own tests.
#[tokio::test]
async fn every_bad_token_is_the_same_401() {
    let server = TestServer::with(|c| {
        jwt(c);
        c.auth.audience = Some("voxgate".into());
    });
    let with = |change: fn(&mut voxgate::auth::NewToken)| {
        token_with("ann", |t| {
            t.aud = Some("voxgate".into());
            change(t);
        })
    };
    let good = with(|_| ());
    let (head, rest) = good.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
    let tampered = format!("{head}.{rest}x");
    let bad = [
        none,
        tampered,
        with(|t| t.aud = Some("other".into())),
        "nonsense".into(),
        format!("{head}.x.y"),
        "x".repeat(9_000),
    ];
    let mut told = Vec::new();
    for t in &bad {
        let (status, body, challenge) =
            server.upgrade("/ws", &[("Authorization", &format!("Bearer {t}"))]).await.err().unwrap();
        assert_eq!((status, &body["code"], challenge.as_str()), (401, &json!("TOKEN_INVALID"), "Bearer"), "{body}");
        told.push(body);
        let (status, head, body) = http(server.addr, "GET", "/api/recordings", &bearer(t), b"").await;
        assert_eq!(status, 401, "{head}");
        assert!(head.to_lowercase().contains("www-authenticate: bearer") && head.contains("application/problem+json"));
        told.push(serde_json::from_slice(&body).unwrap());
    }
    assert!(told.iter().all(|b| b == &told[0]), "{told:?}");
    let expired = with(|t| t.exp = unix_s() - 3_600);
    let (status, body, _) = server.upgrade(&format!("/ws?token={expired}"), &[]).await.err().unwrap();
    assert_eq!((status, &body["code"]), (401, &json!("TOKEN_EXPIRED")));
    assert!(!body.to_string().contains(&expired) && !body.to_string().contains(SECRET));
    server.connect_as("/ws", &good).await;
    // A cookie is no credential, and without any the HTTP interface says what to send.
    let (status, _, body) =
        http(server.addr, "GET", "/api/recordings", &format!("Cookie: token={good}\r\n"), b"").await;
    assert_eq!((status, &serde_json::from_slice::<Value>(&body).unwrap()["code"]), (401, &json!("UNAUTHENTICATED")));
    let c = server.upgrade("/ws", &[("Cookie", &format!("token={good}"))]).await.unwrap();
    assert_eq!(c.hello["user_id"], json!(null));
}

#[tokio::test]
async fn a_token_whose_key_cannot_be_fetched_is_neither_taken_nor_called_bad() {
    let server = TestServer::with(|c| {
        jwt(c);
        // Nobody listens there.
        c.auth.jwks_url = Some(voxgate::config::ServiceUrl::new("http://127.0.0.1:1/jwks.json"));
    });
    server.connect_as("/ws", &token("ann")).await;
    // {"alg":"ES256","kid":"k"} and {}: what it says does not matter before its key is there.
    let foreign = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";
    let (status, head, body) = http(server.addr, "GET", "/api/recordings", &bearer(foreign), b"").await;
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &problem["code"]), (503, &json!("UPSTREAM_UNAVAILABLE")), "{problem}");
    assert!(head.to_lowercase().contains("retry-after: ") && problem["retry_after_ms"].is_u64(), "{head}");
}

/// Row 21; the grace's length is the session's test.
#[tokio::test]
async fn a_token_that_ends_is_told_and_can_be_refreshed_in_place() {
    let server = TestServer::with(|c| {
        jwt(c);
        c.auth.leeway_s = 0;
    });
    let short = token_with("ann", |t| t.exp = t.iat + 2);
    let mut c = server.connect_as("/ws", &short).await;
    let e = c.expect_error("TOKEN_EXPIRED").await;
    assert_eq!(e["details"]["grace_ms"], 25_000);
    assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong", "it lives on for that long");
    assert_eq!(c.ask(json!({"type": "authenticate", "token": short})).await["code"], "TOKEN_EXPIRED");
    let fresh = c.ask(json!({"type": "authenticate", "token": token("ann")})).await;
    assert_eq!(fresh["type"], "authenticated", "{fresh}");
}

#[tokio::test]
async fn a_refreshed_token_takes_and_gives() {
    let server = TestServer::with_tokens();
    let wide = token_with("ann", |t| t.roles = vec!["admin".into()]);
    let mut c = server.connect_as("/ws?conversation_id=hall", &wide).await;
    c.expect("conversation_joined").await;
    c.ask(json!({"type": "subscribe_events", "events": ["metrics"]})).await;
    let narrow = token_with("ann", |t| t.conversations = Some(vec!["team-*".into()]));
    c.send(json!({"type": "authenticate", "token": narrow})).await;
    assert_eq!(c.expect("authenticated").await["roles"], json!([]));
    assert_eq!(c.expect("conversation_left").await["conversation_id"], "hall");
    assert_eq!(c.ask(json!({"type": "get_connection_stats"})).await["code"], "FORBIDDEN");
    let info = c.ask(json!({"type": "connection_info_request"})).await;
    assert!(!info["subscriptions"].as_array().unwrap().contains(&json!("metrics")), "{info}");
    for (id, kind) in [("team-1", "conversation_joined"), ("hall", "error"), ("team", "error")] {
        let answer = c.ask(json!({"type": "join_conversation", "conversation_id": id})).await;
        assert_eq!(answer["type"], kind, "{answer}");
        if kind == "error" {
            assert_eq!(answer["code"], "FORBIDDEN");
        }
    }
}

/// Row 21: revocation cuts at once, by token and by user, and outlives a restart.
#[tokio::test]
async fn revoked_tokens_are_cut_at_once_and_stay_out() {
    let server = TestServer::with_tokens();
    let admin = admin_token("root");
    let lost = token_with("ann", |t| t.jti = Some("lost-phone".into()));
    let (mut phone, mut laptop) =
        (server.connect_as("/ws", &lost).await, server.connect_as("/ws", &token("ann")).await);
    let bobs = token("bob");
    let mut bob = server.connect_as("/ws", &bobs).await;
    let revoke = async |server: &TestServer, body: Value, who: &str| {
        let extra = format!("{}Content-Type: application/json\r\n", bearer(who));
        let (status, _, answer) =
            http(server.addr, "POST", "/admin/revocations", &extra, body.to_string().as_bytes()).await;
        (status, serde_json::from_slice::<Value>(&answer).unwrap())
    };
    assert_eq!(revoke(&server, json!({"jti": "lost-phone"}), &token("ann")).await.0, 403);
    assert_eq!(revoke(&server, json!({}), &admin).await.0, 400);
    assert_eq!(revoke(&server, json!({"jti": "lost-phone"}), &admin).await, (201, json!({"disconnected": 1})));
    assert_eq!(phone.closed().await, 4001);
    assert_eq!(laptop.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(revoke(&server, json!({"user_id": "bob"}), &admin).await, (201, json!({"disconnected": 1})));
    assert_eq!(bob.closed().await, 4001);
    let server = TestServer::in_dir(server.stop(), jwt);
    for t in [&lost, &bobs] {
        let (status, body, _) =
            server.upgrade("/ws", &[("Authorization", &format!("Bearer {t}"))]).await.err().unwrap();
        assert_eq!((status, &body["code"]), (401, &json!("TOKEN_INVALID")));
    }
    let (status, _, body) = http(server.addr, "GET", "/admin/revocations", &bearer(&admin), b"").await;
    let items = serde_json::from_slice::<Value>(&body).unwrap()["items"].as_array().unwrap().clone();
    assert_eq!((status, items.len()), (200, 2), "{items:?}");
    // A user's tokens made after the order are good: the second in which it was said counts whole.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.connect_as("/ws", &token("bob")).await;
}

/// Row 20.
#[tokio::test]
async fn a_client_that_comes_twice_is_handled_by_policy() {
    for policy in [OnDuplicate::Allow, OnDuplicate::Replace, OnDuplicate::Reject] {
        let server = TestServer::with(|c| c.connections.on_duplicate = policy);
        let mut first = server.connect_to("/ws/desk").await;
        server.connect_to("/ws/other").await;
        let second = server.upgrade("/ws/desk", &[]).await.unwrap();
        match policy {
            OnDuplicate::Allow => assert_eq!(first.ask(json!({"type": "ping"})).await["type"], "pong"),
            OnDuplicate::Replace => {
                assert_eq!(first.closed().await, 4009);
                assert_eq!(second.hello["client_id"], "desk");
            }
            OnDuplicate::Reject => {
                assert_eq!(second.hello, 4003);
                assert_eq!(first.ask(json!({"type": "ping"})).await["type"], "pong");
                first.close().await;
                let third = loop {
                    let c = server.upgrade("/ws/desk", &[]).await.unwrap();
                    if c.hello.is_object() {
                        break c;
                    }
                };
                assert_eq!(third.hello["client_id"], "desk");
            }
        }
    }
}

/// Row 20, with users: the user counts, and nobody's `client_id` throws another user out.
#[tokio::test]
async fn another_users_same_client_id_never_throws_anyone_out() {
    for policy in [OnDuplicate::Replace, OnDuplicate::Reject] {
        let server = TestServer::with(|c| {
            jwt(c);
            c.connections.on_duplicate = policy;
        });
        let mut ann = server.connect_as("/ws/desk", &token("ann")).await;
        let mut bob = server.connect_as("/ws/desk", &token("bob")).await;
        assert_eq!(bob.hello["user_id"], "bob");
        // Someone who has not said who he is throws nobody out either, and is judged when he has.
        let mut late = server.connect_to("/ws/desk").await;
        for c in [&mut ann, &mut bob] {
            assert_eq!(c.ask(json!({"type": "ping"})).await["type"], "pong");
        }
        late.send(json!({"type": "authenticate", "token": token("ann")})).await;
        if policy == OnDuplicate::Replace {
            late.expect("authenticated").await;
            assert_eq!(ann.closed().await, 4009);
        } else {
            assert_eq!(late.closed().await, 4003);
            assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong");
        }
        assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong");
    }
}
