//! Key sets at an address, over a real server on loopback.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use futures_util::future::join_all;

use super::refresh::{Refresher, Timing};
use super::*;

/// Short, but each as far from the others as in earnest.
const TIMING: Timing = Timing {
    request: Duration::from_millis(300),
    wait: Duration::from_secs(3),
    pause: Duration::from_secs(3_600),
    again: Duration::from_secs(3_600),
    backoff: (Duration::from_millis(1), Duration::from_millis(5)),
};

/// What the key server does next.
#[derive(Clone)]
enum Mood {
    Gives(String),
    Fails(StatusCode),
    /// Answers nothing until the request is given up.
    Hangs,
}

struct KeyServer {
    url: String,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

impl KeyServer {
    async fn start(mood: Mood) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let server = Arc::new(Self { url, mood: Mutex::new(mood), asked: AtomicUsize::new(0) });
        let shared = Arc::clone(&server);
        let app = Router::new().route("/jwks.json", get(move || answer(Arc::clone(&shared))));
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    fn turns(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(server: Arc<KeyServer>) -> Response<Body> {
    server.asked.fetch_add(1, Ordering::SeqCst);
    let mood = server.mood.lock().unwrap().clone();
    match mood {
        Mood::Gives(body) => Response::new(Body::from(body)),
        Mood::Fails(status) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
        Mood::Hangs => std::future::pending().await,
    }
}

/// The fixtures' key set, without the keys whose names are not listed.
fn set(kids: &[&str]) -> String {
    let all: Value = serde_json::from_slice(&std::fs::read(fixture("jwks.json")).unwrap()).unwrap();
    let keys = all["keys"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.filter(|k| kids.contains(&k["kid"].as_str().unwrap())).collect();
    json!({"keys": keys}).to_string()
}

/// An authenticator of a server's keys, its background task running.
fn running(server: &KeyServer, timing: Timing) -> Arc<Authenticator> {
    let url = ServiceUrl::new(server.url.clone());
    let config = AuthConfig { jwks_url: Some(url.clone()), ..AuthConfig::default() };
    let mut authenticator = Arc::into_inner(Authenticator::open(&config, now).unwrap()).unwrap();
    authenticator.fetched = Some(Refresher::with_timing(&url, timing).unwrap());
    let authenticator = Arc::new(authenticator);
    tokio::spawn(Arc::clone(&authenticator).maintain());
    authenticator
}

#[tokio::test]
async fn keys_are_fetched_once_and_then_cost_no_waiting() {
    let server = KeyServer::start(Mood::Gives(set(&["rsa-1", "ec-1", "ed-1"]))).await;
    let authenticator = running(&server, TIMING);
    authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await.unwrap();
    for (signer, kid) in [(Signer::Rsa, "rsa-1"), (Signer::Ec, "ec-1"), (Signer::Ed, "ed-1")] {
        at_once(&authenticator, with_kid(signer, kid)).unwrap();
    }
    assert_eq!(at_once(&authenticator, with_kid(Signer::Rsa, "ec-1")), Err(AuthError::Invalid));
    assert_eq!(at_once(&authenticator, with_claims(Signer::Hs, &json!({}))), Err(AuthError::Invalid));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_its_unknown_name() {
    let server = KeyServer::start(Mood::Gives(set(&["rsa-1"]))).await;
    let authenticator = running(&server, Timing { pause: Duration::ZERO, ..TIMING });
    authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await.unwrap();
    assert_eq!(authenticator.verify(with_kid(Signer::Ec, "ec-1")).await, Err(AuthError::Invalid));
    server.turns(Mood::Gives(set(&["ec-1"])));
    authenticator.verify(with_kid(Signer::Ec, "ec-1")).await.unwrap();
    // The old key is gone with the set that had it.
    assert_eq!(authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await, Err(AuthError::Invalid));
}

#[tokio::test]
async fn within_the_pause_an_unknown_name_asks_nobody_and_waits_for_nothing() {
    let server = KeyServer::start(Mood::Gives(set(&["rsa-1"]))).await;
    let authenticator = running(&server, TIMING);
    authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await.unwrap();
    for n in 0..100 {
        assert_eq!(at_once(&authenticator, with_kid(Signer::Ed, &format!("made-up-{n}"))), Err(AuthError::Invalid));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_storm_of_unknown_names_makes_one_fetch() {
    let server = KeyServer::start(Mood::Gives(set(&["rsa-1"]))).await;
    let pause = Duration::from_millis(300);
    let authenticator = running(&server, Timing { pause, ..TIMING });
    authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await.unwrap();
    tokio::time::sleep(pause).await;
    let forged = with_kid(Signer::Ed, "made-up");
    let storm = join_all((0..1_000).map(|_| authenticator.verify(forged.clone()))).await;
    assert!(storm.iter().all(|answer| *answer == Err(AuthError::Invalid)));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn an_address_that_answers_nothing_good_accepts_nobody() {
    for (mood, tries) in [
        (Mood::Fails(StatusCode::INTERNAL_SERVER_ERROR), 3),
        (Mood::Fails(StatusCode::NOT_FOUND), 1),
        (Mood::Fails(StatusCode::FOUND), 1),
        (Mood::Gives("<html>".to_owned()), 1),
        (Mood::Gives(json!({"keys": []}).to_string()), 1),
        (Mood::Gives(format!("{{\"pad\":\"{}\",{}", "x".repeat(1 << 20), &set(&["rsa-1"])[1..])), 1),
        (Mood::Hangs, 3),
    ] {
        let server = KeyServer::start(mood).await;
        let authenticator = running(&server, TIMING);
        let answer = authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await;
        assert_eq!(answer, Err(AuthError::KeysUnavailable));
        assert_eq!(server.asked(), tries);
        assert_eq!(AuthError::KeysUnavailable.retry_after_ms(), Some(10_000));
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_as_such_and_cured_later() {
    let server = KeyServer::start(Mood::Fails(StatusCode::SERVICE_UNAVAILABLE)).await;
    let authenticator = running(&server, Timing { pause: Duration::ZERO, ..TIMING });
    let token = with_kid(Signer::Rsa, "rsa-1");
    assert_eq!(authenticator.verify(token.clone()).await, Err(AuthError::KeysUnavailable));
    server.turns(Mood::Gives(set(&["rsa-1"])));
    authenticator.verify(token).await.unwrap();
}

#[tokio::test]
async fn a_failed_refresh_keeps_the_keys_there_are() {
    let server = KeyServer::start(Mood::Gives(set(&["rsa-1"]))).await;
    let authenticator = running(&server, Timing { pause: Duration::ZERO, ..TIMING });
    authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await.unwrap();
    server.turns(Mood::Fails(StatusCode::BAD_GATEWAY));
    // Whether the new name is good cannot be told now; the old one is as good as before.
    assert_eq!(authenticator.verify(with_kid(Signer::Ec, "ec-1")).await, Err(AuthError::KeysUnavailable));
    at_once(&authenticator, with_kid(Signer::Rsa, "rsa-1")).unwrap();
}

#[tokio::test]
async fn a_slow_address_delays_only_those_who_need_it() {
    let server = KeyServer::start(Mood::Hangs).await;
    let url = ServiceUrl::new(server.url.clone());
    let timing = Timing { wait: Duration::from_millis(50), request: Duration::from_secs(60), ..TIMING };
    let mut authenticator = Arc::into_inner(Authenticator::open(&Signer::Hs.config(), now).unwrap()).unwrap();
    authenticator.fetched = Some(Refresher::with_timing(&url, timing).unwrap());
    let authenticator = Arc::new(authenticator);
    tokio::spawn(Arc::clone(&authenticator).maintain());
    assert_eq!(authenticator.verify(with_kid(Signer::Rsa, "rsa-1")).await, Err(AuthError::KeysUnavailable));
    at_once(&authenticator, with_claims(Signer::Hs, &json!({}))).unwrap();
}

/// Connections are verified on their own threads' runtimes; fetching stays on the one that was given it.
#[test]
fn whoever_verifies_may_be_on_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (give, take) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let fetching = std::thread::spawn(move || {
        runtime().block_on(async move {
            let server = KeyServer::start(Mood::Gives(set(&["rsa-1"]))).await;
            give.send(running(&server, TIMING)).unwrap();
            let _ = stopped.await;
        });
    });
    let authenticator = take.recv().unwrap();
    runtime().block_on(authenticator.verify(with_kid(Signer::Rsa, "rsa-1"))).unwrap();
    stop.send(()).unwrap();
    fetching.join().unwrap();
}
