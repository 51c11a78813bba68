//! What limits what: proxies that are believed, shares of an address, pages of other origins, settings that bound something.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, http};

use crate::support::process::ServerProcess;
use crate::support::{Client, TestServer, http as ask, sine16k};

fn behind_a_proxy(change: impl FnOnce(&mut voxgate::config::Config)) -> TestServer {
    TestServer::with(|c| {
        c.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        change(c);
    })
}

async fn connect(server: &TestServer, headers: &[(&'static str, &str)]) -> Result<Client, http::Response<Vec<u8>>> {
    let mut request = format!("ws://{}/ws", server.addr).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((ws, _)) => Ok(Client::of(ws).await),
        Err(tungstenite::Error::Http(refused)) => Err(refused.map(Option::unwrap_or_default)),
        Err(other) => panic!("{other}"),
    }
}

async fn info(c: &mut Client) -> Value {
    c.send(json!({"type": "connection_info_request"})).await;
    c.expect("connection_info").await
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let server = behind_a_proxy(|_| ());
    for (headers, seen) in [
        (vec![("x-forwarded-for", "198.51.100.1, 203.0.113.9")], "203.0.113.9"),
        (vec![("forwarded", "for=\"[2001:db8::9]:4711\";proto=https")], "[2001:db8::9]:4711"),
    ] {
        let mut c = connect(&server, &headers).await.unwrap();
        assert_eq!(info(&mut c).await["remote_addr"], seen);
        c.close().await;
    }
    // Nobody else is believed.
    let server = TestServer::start();
    let mut c = connect(&server, &[("x-forwarded-for", "203.0.113.9")]).await.unwrap();
    assert!(info(&mut c).await["remote_addr"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn behind_a_proxy_nobody_is_an_administrator_for_being_local() {
    let (behind, open) = (behind_a_proxy(|_| ()), TestServer::start());
    for (server, header, status) in [
        (&open, "", 200),
        (&open, "X-Forwarded-For: 127.0.0.1\r\n", 403),
        (&open, "Forwarded: for=127.0.0.1\r\n", 403),
        (&open, "Via: 1.1 proxy\r\n", 403),
        (&behind, "", 403),
        (&behind, "X-Forwarded-For: 127.0.0.1\r\n", 403),
        (&behind, "X-Forwarded-For: 203.0.113.9\r\n", 403),
    ] {
        assert_eq!(ask(server.addr, "GET", "/api/connections", header, b"").await.0, status, "{header}");
    }
    let mut c = connect(&behind, &[("x-forwarded-for", "127.0.0.1")]).await.unwrap();
    c.send(json!({"type": "get_connection_stats"})).await;
    c.expect_error("FORBIDDEN").await;
}

#[tokio::test]
async fn an_address_behind_a_proxy_has_its_share_and_is_told_when_to_come_again() {
    let server = behind_a_proxy(|c| c.server.max_connections_per_ip = 2);
    let of = |address: &'static str| vec![("x-forwarded-for", address)];
    let first = connect(&server, &of("203.0.113.9")).await.unwrap();
    let _second = connect(&server, &of("10.9.9.9, 203.0.113.9")).await.unwrap();
    let refused = connect(&server, &of("203.0.113.9")).await.err().unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "2");
    let problem: Value = serde_json::from_slice(refused.body()).unwrap();
    assert_eq!((&problem["code"], &problem["retry_after_ms"]), (&json!("RATE_LIMITED"), &json!(2_000)));
    let _other = connect(&server, &of("203.0.113.10")).await.unwrap();
    // HTTP takes no place: the proxy's own connections are not the client's.
    assert_eq!(ask(server.addr, "GET", "/health", "X-Forwarded-For: 203.0.113.9\r\n", b"").await.0, 200);
    first.close().await;
    let begun = Instant::now();
    while connect(&server, &of("203.0.113.9")).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the place comes back");
    }
}

/// Row 23, for scripts.
#[tokio::test]
async fn scripts_of_listed_pages_may_read_answers_and_others_may_not() {
    let server = TestServer::with(|c| c.server.allowed_origins = vec!["https://app.example.com".into()]);
    let get = async |origin: &str| {
        let line = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let (status, head, _) = ask(server.addr, "GET", "/health", &line, b"").await;
        (status, head.to_lowercase())
    };
    let (status, head) = get("https://app.example.com").await;
    assert!(status == 200 && head.contains("access-control-allow-origin: https://app.example.com\r\n"), "{head}");
    assert!(head.contains("vary: origin") && !head.contains("access-control-allow-credentials"), "{head}");
    let (status, head) = get(&format!("http://{}", server.addr)).await;
    assert_eq!(status, 200, "the server's own page: {head}");
    let (status, head) = get("").await;
    assert!(status == 200 && !head.contains("access-control-allow-origin"), "no page: {head}");
    for other in ["https://evil.example.com", "http://app.example.com", "null"] {
        let (status, head) = get(other).await;
        assert!(status == 403 && !head.contains("access-control-allow-origin"), "{other}: {head}");
    }
    let preflight = async |origin: &str| {
        let asked = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: authorization\r\n"
        );
        let (status, head, _) = ask(server.addr, "OPTIONS", "/api/recordings/x", &asked, b"").await;
        (status, head.to_lowercase())
    };
    let (status, head) = preflight("https://app.example.com").await;
    assert_eq!(status, 200, "{head}");
    for part in [
        "access-control-allow-origin: https://app.example.com\r\n",
        "access-control-allow-methods: get,post,delete",
        "access-control-allow-headers: authorization,content-type,range",
        "access-control-max-age: 7200",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    let (status, head) = preflight("https://evil.example.com").await;
    assert!(status == 403 && !head.contains("access-control"), "{head}");
}

fn pcm16k() -> Value {
    json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1})
}

/// Row 29, with the real binary: a stream holds the first signal up, the second ends everything.
#[tokio::test]
async fn sigterm_waits_for_streams_and_a_second_one_does_not() {
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(data.path(), &[]);
    let mut c = server.connect().await;
    let mut idle = server.connect().await;
    c.start(pcm16k()).await;
    server.signal("TERM");
    let told = c.expect("status_update").await;
    assert_eq!(told["state"], "draining");
    assert_eq!(idle.closed().await, 4202, "who has no stream goes at once");
    c.send_binary(&sine16k(16_000)).await;
    assert_eq!(c.end().await["reason"], "end", "a stream may end as it would");
    assert_eq!(c.closed().await, 4202);
    assert_eq!(server.wait(), Some(0));

    let server = ServerProcess::start(data.path(), &[]);
    let mut c = server.connect().await;
    c.start(pcm16k()).await;
    server.signal("TERM");
    c.expect("status_update").await;
    let begun = Instant::now();
    server.signal("INT");
    assert_eq!(server.wait(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
