//! The responder against a real HTTP server that plays a script: what the client is told, how often the service is asked.

mod rig;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::resilience::{BreakerSettings, BreakerState, Breakers};
use crate::upstream::MemoryHistory;
use rig::{PATIENCE, Rig, got, settings, until};
use server::{Upstream, answer, cut, delta, events, html, sse, status};

#[tokio::test]
async fn an_answer_comes_in_pieces_and_whole() {
    let up = Upstream::start(|_, _| sse(answer(&["Gr", "üße", ", 世界"]))).await;
    let mut s = settings(&up);
    s.api_key = Some(Secret::new("sk-test"));
    let rig = Rig::new(s);
    let got = rig.ask("hello").await;
    assert_eq!(got.chunks, ["Gr", "üße", ", 世界"]);
    assert_eq!(got.text(), "Grüße, 世界");
    let asked = up.asked().remove(0);
    assert_eq!(
        asked.body,
        json!({"model": "small", "stream": true, "messages": [{"role": "user", "content": "hello"}]})
    );
    assert_eq!(asked.authorization.as_deref(), Some("Bearer sk-test"));
    assert_eq!(asked.path, "/v1/chat/completions");
}

#[tokio::test]
async fn the_cuts_of_the_network_do_not_show() {
    let text = "naïve 🎙️ voilà";
    for size in [1, 2, 3, 7] {
        for mark in ["", "\u{feff}"] {
            let body = mark.to_owned() + &events(&answer(&[text, "!"]));
            let up = Upstream::start(move |_, _| sse(cut(body.as_bytes(), size))).await;
            assert_eq!(Rig::new(settings(&up)).ask("x").await.text(), format!("{text}!"), "{size} {mark:?}");
        }
    }
    let crlf = events(&answer(&[text])).replace('\n', "\r\n");
    let with_comments = format!(": hello\r\n\r\n{crlf}");
    let up = Upstream::start(move |_, _| sse(cut(with_comments.as_bytes(), 1))).await;
    assert_eq!(Rig::new(settings(&up)).ask("x").await.text(), text);
}

#[tokio::test]
async fn a_next_question_brings_the_last_ones_along() {
    let up = Upstream::start(|n, _| if n == 1 { status(400) } else { sse(answer(&["fine"])) }).await;
    let rig = Rig::new(settings(&up));
    rig.ask("one").await.text();
    assert_eq!(rig.ask("bad").await.code(), "UPSTREAM_UNAVAILABLE");
    rig.ask("two").await.text();
    assert_eq!(
        up.asked()[2].body["messages"],
        json!([
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "fine"},
            {"role": "user", "content": "two"},
        ])
    );
}

#[tokio::test]
async fn what_fails_before_the_first_piece_is_tried_again() {
    let up = Upstream::start(|n, _| match n {
        0 => status(503),
        1 => sse(vec![delta("")]), // ends without a word
        _ => sse(answer(&["third"])),
    })
    .await;
    let rig = Rig::new(settings(&up));
    assert_eq!(rig.ask("x").await.text(), "third");
    assert_eq!((up.asked().len(), rig.breakers.list()[0].failures), (3, 0));
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_where_that_is_short_and_told_where_not() {
    let limited = |seconds: &str| {
        let mut response = status(429);
        response.headers_mut().insert("retry-after", seconds.parse().unwrap());
        response
    };
    let up = Upstream::start(move |n, _| match n {
        0 => limited("1"),
        1 => sse(answer(&["ok"])),
        _ => limited("3600"),
    })
    .await;
    let mut s = settings(&up);
    s.retry.delay_max = Duration::from_secs(10);
    let rig = Rig::new(s);
    let began = Instant::now();
    assert_eq!(rig.ask("x").await.text(), "ok");
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked to wait a second");
    let told = rig.ask("x").await.error();
    assert_eq!((told.code.as_str(), told.retry_after_ms), ("UPSTREAM_UNAVAILABLE", Some(3_600_000)));
    assert_eq!((up.asked().len(), rig.state()), (3, BreakerState::Closed));
    assert_eq!(rig.breakers.list()[0].failures, 0, "a limit is no failure");
}

#[tokio::test]
async fn a_broken_service_is_left_alone_until_a_probe_finds_it_back() {
    let up = Upstream::start(|n, _| if n < 12 { status(500) } else { sse(answer(&["back"])) }).await;
    let mut s = settings(&up);
    s.retry.tries = 2;
    let quick = BreakerSettings { failures_max: 5, open_for: Duration::from_millis(150) };
    let rig = Rig::with(s, quick, 100);
    for _ in 0..5 {
        assert_eq!(rig.ask("x").await.code(), "UPSTREAM_UNAVAILABLE");
    }
    assert_eq!((rig.state(), up.asked().len()), (BreakerState::Open, 10));
    let told = rig.ask("x").await.error();
    assert!(told.retry_after_ms.unwrap() <= 150, "{told:?}");
    assert_eq!(up.asked().len(), 10, "it is left alone");
    // Two probes fail, each tried once; the third finds it back.
    let end = Instant::now() + PATIENCE;
    let text = loop {
        assert!(Instant::now() < end);
        let got = rig.ask("x").await;
        if got.is_answer() {
            break got.text();
        }
        tokio::time::sleep(Duration::from_millis(got.error().retry_after_ms.unwrap_or(0))).await;
    };
    assert_eq!((text.as_str(), up.asked().len(), rig.state()), ("back", 13, BreakerState::Closed));
}

#[tokio::test]
async fn nothing_is_said_twice_when_an_answer_breaks_off() {
    for (name, pieces, broken) in [
        ("connection lost", vec![delta("half")], true),
        ("closed without an end", vec![delta("half")], false),
        ("error object", vec![delta("half"), r#"{"error":{"message":"sk-x","code":"overloaded"}}"#.into()], false),
        ("garbage", vec![delta("half"), "{\"choices\":".into()], false),
    ] {
        let up = Upstream::start(move |_, _| server::stream(pieces.clone(), broken)).await;
        let rig = Rig::new(settings(&up));
        let got = rig.ask("x").await;
        assert_eq!(got.chunks, ["half"], "{name}");
        let error = got.error();
        assert_eq!(error.code, "UPSTREAM_UNAVAILABLE", "{name}");
        assert!(!format!("{error:?}").contains("sk-x"), "{name}");
        assert_eq!((up.asked().len(), rig.breakers.list()[0].failures), (1, 1), "{name}");
    }
}

#[tokio::test]
async fn a_model_that_said_it_is_done_needs_no_further_end() {
    let last = r#"{"choices":[{"delta":{"content":" end"},"finish_reason":"length"}]}"#;
    for broken in [false, true] {
        let up = Upstream::start(move |_, _| server::stream(vec![delta("the"), last.into()], broken)).await;
        assert_eq!(Rig::new(settings(&up)).ask("x").await.text(), "the end", "{broken}");
    }
}

#[tokio::test]
async fn what_is_no_completion_is_an_error_and_no_hang() {
    let json = |text: &'static str| server::typed("application/json", text);
    for (name, n, expected_asks) in [("html", 0, 1), ("error", 1, 1), ("garbage", 2, 1), ("redirect", 3, 1)] {
        let up = Upstream::start(move |_, _| match n {
            0 => html("<h1>sign in</h1>"),
            1 => json(r#"{"error":{"message":"no such model","type":"not_found_error"}}"#),
            2 => json("not JSON"),
            _ => axum::response::IntoResponse::into_response(axum::response::Redirect::temporary("/elsewhere")),
        })
        .await;
        let rig = Rig::new(settings(&up));
        assert_eq!(rig.ask("x").await.code(), "UPSTREAM_UNAVAILABLE", "{name}");
        assert_eq!(up.asked().len(), expected_asks, "{name}");
    }
    let endless = "{\"choices\":\n\n".to_owned() + &"\n\n".repeat(600_000) + "[]}";
    let up = Upstream::start(move |_, _| server::typed("application/json", endless.clone())).await;
    assert_eq!(Rig::new(settings(&up)).ask("x").await.code(), "UPSTREAM_UNAVAILABLE");
    let whole = r#"{"choices":[{"index":0,"message":{"content":"all at once"},"finish_reason":"stop"}]}"#;
    let up = Upstream::start(move |_, _| json(whole)).await;
    assert_eq!(Rig::new(settings(&up)).ask("x").await.text(), "all at once");
}

#[tokio::test]
async fn a_wrong_key_is_not_tried_again() {
    let up = Upstream::start(|_, _| status(401)).await;
    let rig = Rig::new(settings(&up));
    let told = rig.ask("x").await.error();
    assert_eq!((told.code.as_str(), told.retry_suggested, up.asked().len()), ("UPSTREAM_UNAVAILABLE", false, 1));
}

#[tokio::test]
async fn nobody_listening_is_told_after_the_tries() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut s = OpenAiSettings::new(format!("http://127.0.0.1:{port}/v1/"), "m");
    s.retry = RetryPolicy { tries: 3, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };
    let rig = Rig::new(s);
    assert_eq!(rig.ask("x").await.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(rig.breakers.list()[0].failures, 1, "one question, one failure");
}

#[tokio::test]
async fn silence_and_slowness_have_an_end() {
    let up = Upstream::start(|n, _| match n {
        0 => server::hang(vec![delta("begun")]),
        1 => server::hang(Vec::new()),
        _ => server::drip(&delta("z"), Duration::from_millis(20)),
    })
    .await;
    let mut s = settings(&up);
    s.stall = Duration::from_millis(200);
    s.timeout = Duration::from_millis(1_000);
    let rig = Rig::new(s);
    let stalled = rig.ask("x").await;
    assert_eq!(stalled.chunks, ["begun"]);
    assert!(stalled.error().message.contains("nothing for 200 ms"));
    assert!(rig.ask("x").await.error().message.contains("nothing for 200 ms"));
    let endless = rig.ask("x").await;
    assert!(endless.chunks.len() > 5, "pieces come as they are made");
    assert!(endless.error().message.contains("within 1000 ms"));
}

#[tokio::test]
async fn an_answer_and_an_event_have_bounds() {
    let up = Upstream::start(|n, _| match n {
        0 => sse((0..100).map(|_| delta(&"x".repeat(100))).collect::<Vec<_>>()),
        1 => server::raw((0..300).map(|_| vec![b'x'; 8_192]).collect()),
        _ => server::raw((0..300).map(|_| b"data: x\n".repeat(1_024)).collect()),
    })
    .await;
    let mut s = settings(&up);
    s.answer_bytes = 5_000;
    let rig = Rig::new(s);
    let long = rig.ask("x").await;
    assert_eq!(long.chunks.concat().len(), 5_000);
    assert!(long.error().message.contains("longer than 5000 bytes"));
    for _ in 0..2 {
        assert_eq!(rig.ask("x").await.code(), "UPSTREAM_UNAVAILABLE", "a line or an event without end");
    }
}

#[tokio::test]
async fn a_fast_model_does_not_close_a_slow_reader() {
    let up = Upstream::start(|_, _| {
        sse((0..5_000).map(|n| delta(&format!("{n} "))).chain(["[DONE]".into()]).collect::<Vec<_>>())
    })
    .await;
    let rig = Rig::with(settings(&up), BreakerSettings::default(), 8);
    rig.put("x", "1");
    // Nobody reads until all has come.
    until("the answer is over", || up.asked().len() == 1 && rig.front.status().running == 0).await;
    assert_eq!(rig.connection.outbox.closing(), None);
    let got = rig.got().await;
    assert!(got.chunks.len() <= 4, "{} pieces", got.chunks.len());
    assert_eq!(got.text().split(' ').count(), 5_001);
}

#[tokio::test]
async fn more_questions_than_wait_are_refused_at_once() {
    let up = Upstream::start(|_, _| server::hang(Vec::new())).await;
    let mut s = settings(&up);
    (s.queue, s.concurrency) = (2, 1);
    let rig = Rig::new(s);
    rig.put("asked", "asked");
    until("it is being asked", || rig.front.status().running == 1 && up.asked().len() == 1).await;
    for id in ["first", "second", "third"] {
        rig.put("x", id);
    }
    let (id, refused) = got(&rig.connection).await;
    let told = refused.error();
    assert_eq!((id.as_deref(), told.code.as_str()), (Some("third"), "OVERLOADED"));
    assert!(told.retry_after_ms.is_some());
    assert_eq!((rig.front.status().waiting, up.asked().len()), (2, 1));
}

#[tokio::test]
async fn a_client_that_left_stops_its_question() {
    let up = Upstream::start(|_, _| server::hang(vec![delta("begun")])).await;
    let rig = Rig::new(settings(&up));
    rig.put("x", "1");
    until("it is being asked", || up.asked().len() == 1).await;
    rig.connections.remove(&rig.connection);
    until("the request is gone", || rig.front.status().running == 0 && up.open() == 0).await;
    assert_eq!(rig.breakers.list()[0].failures, 0, "the service is not to blame");
}

#[tokio::test]
async fn a_stop_ends_what_runs_and_tells_it() {
    let up = Upstream::start(|_, _| server::hang(Vec::new())).await;
    let rig = Rig::new(settings(&up));
    rig.put("x", "1");
    until("it is being asked", || up.asked().len() == 1).await;
    rig.stop.cancel();
    assert_eq!(rig.got().await.code(), "INTERNAL");
}

#[test]
fn an_address_or_key_that_cannot_be_used_is_refused_without_being_shown() {
    let breakers = Breakers::default();
    let made = |base_url: &str, key: Option<&str>| {
        let mut s = OpenAiSettings::new(base_url, "m");
        s.api_key = key.map(Secret::new);
        OpenAi::new(s, Arc::new(MemoryHistory::default()), breakers.get("r")).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(made("https://host/v1", Some("key")), Ok(()));
    for (url, key) in [("hunter2", None), ("ftp://hunter2/v1", None), ("http://host", Some("hunter2\n"))] {
        let told = made(url, key).unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
    }
    for (base, whole) in [
        ("https://host/v1/", "https://host/v1/chat/completions"),
        ("http://host", "http://host/chat/completions"),
        ("https://host/v1?api-version=2", "https://host/v1/chat/completions?api-version=2"),
    ] {
        assert_eq!(endpoint(base).unwrap().as_str(), whole);
    }
    let config = ResponderConfig { base_url: None, ..ResponderConfig::default() };
    assert!(matches!(OpenAiSettings::from_config(&config), Err(OpenAiError::Address)));
    let unset = ResponderConfig {
        base_url: Some(crate::config::ServiceUrl::new("http://host")),
        api_key_env: Some("VOXGATE_TEST_UNSET".into()),
        ..ResponderConfig::default()
    };
    assert!(matches!(OpenAiSettings::from_config(&unset), Err(OpenAiError::NoKey { .. })));
}

#[tokio::test]
async fn many_questions_are_asked_at_once_and_no_more_than_allowed() {
    let up = Upstream::start(|_, _| server::hang(Vec::new())).await;
    let mut s = settings(&up);
    s.concurrency = 3;
    let rig = Rig::new(s);
    for n in 0..10 {
        rig.put("x", &n.to_string());
    }
    until("three are asked", || up.asked().len() == 3).await;
    let status = rig.front.status();
    assert_eq!((status.running, status.waiting), (3, 7));
}
