//! The HTTP interface.

use serde_json::json;

use crate::support::{TestServer, fixture, http, http_json, samples, sine16k};

#[tokio::test]
async fn health_says_how_the_server_is() {
    let server = TestServer::start();
    let _c = server.connect().await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let (status, body) = http_json(server.addr, "GET", path).await;
        assert_eq!(
            (status, body["status"].as_str(), body["active_connections"].as_u64()),
            (200, Some("healthy"), Some(1)),
            "{path}"
        );
    }
    let (_, body) = http_json(server.addr, "GET", "/health/detailed").await;
    assert_eq!(body["components"]["recorder"]["status"], "healthy");
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problem_details() {
    let server = TestServer::start();
    let (status, head, body) = http(server.addr, "GET", "/nothing", "", b"").await;
    assert_eq!(status, 404);
    assert!(head.to_lowercase().contains("content-type: application/problem+json"));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["code"], "NOT_FOUND");
    assert_eq!(http(server.addr, "POST", "/health", "", b"").await.0, 405);
    assert_eq!(http(server.addr, "GET", "/ws", "", b"").await.0, 400, "no upgrade");
}

#[tokio::test]
async fn the_page_comes_with_a_policy_and_what_it_asks_for_is_there() {
    let server = TestServer::start();
    let (status, head, body) = http(server.addr, "GET", "/", "", b"").await;
    let head = head.to_lowercase();
    assert_eq!(status, 200);
    for line in
        ["content-type: text/html", "content-security-policy: default-src 'none'", "nosniff", "cache-control: no-cache"]
    {
        assert!(head.contains(line), "{line}: {head}");
    }
    let page = String::from_utf8(body).unwrap();
    for (file, kind) in [("app.js", "text/javascript"), ("app.css", "text/css"), ("icon.svg", "image/svg+xml")] {
        assert!(page.contains(&format!("\"page/{file}\"")), "{file}");
        let (status, head, body) = http(server.addr, "GET", &format!("/page/{file}"), "", b"").await;
        assert!(status == 200 && !body.is_empty() && head.to_lowercase().contains(kind), "{file}: {head}");
        let etag = head.lines().find_map(|l| l.to_lowercase().strip_prefix("etag: ").map(str::to_owned)).unwrap();
        let asked = format!("If-None-Match: {etag}\r\n");
        let (status, _, body) = http(server.addr, "GET", &format!("/page/{file}"), &asked, b"").await;
        assert_eq!((status, body.len()), (304, 0), "{file}");
    }
    assert_eq!(http(server.addr, "GET", "/page/Cargo.toml", "", b"").await.0, 404);
}

#[tokio::test]
async fn an_administrator_sees_and_closes_connections() {
    let server = TestServer::start();
    let mut a = server.connect_to("/ws/one").await;
    let mut b = server.connect_to("/ws/two").await;
    let (_, list) = http_json(server.addr, "GET", "/api/connections?limit=1").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (_, rest) =
        http_json(server.addr, "GET", &format!("/api/connections?after={}", list["next"].as_str().unwrap())).await;
    assert_eq!((rest["items"][0]["client_id"].as_str(), rest["next"].is_null()), (Some("two"), true));
    let (_, stats) = http_json(server.addr, "GET", "/api/connections/stats").await;
    assert_eq!(stats["connections"], 2);
    let id = a.hello["connection_id"].as_str().unwrap().to_owned();
    assert_eq!(http_json(server.addr, "GET", &format!("/api/connections/{id}")).await.1["client_id"], "one");
    assert_eq!(http_json(server.addr, "DELETE", &format!("/api/connections/{id}")).await.0, 204);
    assert_eq!(a.closed().await, 4010);
    let (_, gone) = http_json(server.addr, "DELETE", "/api/clients/two").await;
    assert_eq!(gone["disconnected"], 1);
    assert_eq!(b.closed().await, 4010);
    let mut c = server.connect().await;
    let (_, cleaned) = http_json(server.addr, "POST", "/api/connections/cleanup?max_inactive_minutes=0").await;
    assert!(cleaned["closed"].as_u64().unwrap() >= 1);
    assert_eq!(c.closed().await, 4108);
}

#[tokio::test]
async fn recordings_are_listed_served_in_ranges_and_deleted() {
    let server = TestServer::start();
    let mut c = server.connect().await;
    let pcm = sine16k(8_000);
    let ended = c.stream(json!({"encoding":"pcm_s16le","sample_rate":16000,"channels":1}), &pcm, 640).await;
    let id = ended["recording"]["id"].as_str().unwrap();
    let url = ended["recording"]["url"].as_str().unwrap();
    let (status, head, wav) = http(server.addr, "GET", url, "", b"").await;
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: audio/wav"));
    assert_eq!(wav.len() as u64, ended["recording"]["bytes"].as_u64().unwrap());
    let samples_in_file: Vec<i16> = hound::WavReader::new(&wav[..]).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!(samples_in_file, samples(&pcm));
    let (status, _, part) = http(server.addr, "GET", url, "Range: bytes=100-199\r\n", b"").await;
    assert_eq!((status, &part[..]), (206, &wav[100..200]));
    let modified = head.lines().find_map(|l| l.strip_prefix("last-modified: ")).unwrap();
    for (headers, wanted) in [
        ("Range: bytes=-44\r\n".to_owned(), Some(&wav[wav.len() - 44..])),
        (format!("Range: bytes=44-\r\nIf-Range: {modified}\r\n"), Some(&wav[44..])),
        ("Range: bytes=44-\r\nIf-Range: Mon, 01 Jan 2024 00:00:00 GMT\r\n".to_owned(), None),
        ("Range: bytes=44-\r\nIf-Range: \"tag\"\r\n".to_owned(), None),
        ("Range: seconds=0-1\r\n".to_owned(), None),
        ("Range: bytes=9-3\r\n".to_owned(), None),
        ("Range: bytes=x\r\n".to_owned(), None),
        ("Range: bytes=0-1,4-5\r\n".to_owned(), None),
    ] {
        let (status, _, body) = http(server.addr, "GET", url, &headers, b"").await;
        let (wanted_status, wanted) = wanted.map_or((200, &wav[..]), |part| (206, part));
        assert_eq!((status, &body[..]), (wanted_status, wanted), "{headers}");
    }
    let (status, head, _) = http(server.addr, "GET", url, "Range: bytes=999999-\r\n", b"").await;
    assert_eq!(status, 416);
    assert!(head.contains(&format!("content-range: bytes */{}", wav.len())), "{head}");
    let (_, list) = http_json(server.addr, "GET", "/api/recordings").await;
    assert_eq!((list["items"][0]["id"].as_str(), list["items"][0]["state"].as_str()), (Some(id), Some("complete")));
    let (_, meta) = http_json(server.addr, "GET", &format!("/api/recordings/{id}")).await;
    assert_eq!((meta["samples"].as_u64(), &meta["sha256"]), (Some(8_000), &ended["recording"]["sha256"]));
    assert_eq!(http_json(server.addr, "DELETE", &format!("/api/recordings/{id}")).await.0, 204);
    assert_eq!(http_json(server.addr, "GET", &format!("/api/recordings/{id}")).await.0, 404);
    assert_eq!(http(server.addr, "GET", url, "", b"").await.0, 404);
}

/// Row 33.
#[tokio::test]
async fn path_tricks_find_nothing() {
    let server = TestServer::start();
    std::fs::write(server.data.path().join("secret.wav"), b"secret").unwrap();
    for path in [
        "/api/recordings/..%2fsecret.wav",
        "/api/recordings/../secret.wav",
        "/api/recordings/%2e%2e%2fsecret.wav",
        "/api/recordings/secret.wav",
        "/api/recordings/x%00.wav",
    ] {
        let (status, _, body) = http(server.addr, "GET", path, "", b"").await;
        assert_eq!(status, 404, "{path}");
        assert!(!body.windows(6).any(|w| w == b"secret"), "{path}");
    }
}

#[tokio::test]
async fn stalled_bodies_are_given_up_and_their_places_with_them() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = TestServer::start();
    let mut stalled = Vec::new();
    for route in ["/api/decode", "/api/decode", "/api/broadcast", "/admin/log-level", "/admin/circuit-breakers/reset"] {
        let mut s = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        let head = format!("POST {route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9000\r\n\r\nRIFF");
        s.write_all(head.as_bytes()).await.unwrap();
        stalled.push((route, s));
    }
    for (route, mut s) in stalled {
        let mut answer = Vec::new();
        let all = s.read_to_end(&mut answer);
        tokio::time::timeout(std::time::Duration::from_secs(30), all).await.expect("an answer in time").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{route}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(http(server.addr, "POST", "/api/decode", "", &fixture("audio/studio48.flac")).await.0, 200);
}

/// A byte now and then is no file on its way either, and no message.
#[tokio::test]
async fn a_trickling_body_is_given_up() {
    let server = TestServer::start();
    tokio::join!(trickle(server.addr, "/api/decode"), trickle(server.addr, "/api/broadcast"));
}

async fn trickle(addr: std::net::SocketAddr, route: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut from, mut to) = tokio::net::TcpStream::connect(addr).await.unwrap().into_split();
    let head = format!("POST {route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9000\r\n\r\nRIFF");
    to.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let dripping = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            if to.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = dripping => {}
        read = tokio::time::timeout(std::time::Duration::from_secs(40), from.read_to_end(&mut answer)) => {
            assert!(read.is_ok(), "{route} was never answered");
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{route}: {}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_file_is_decoded_in_one_request() {
    let server = TestServer::start();
    let (status, head, wav) = http(
        server.addr,
        "POST",
        "/api/decode?output_rate=48000&output_channels=source",
        "",
        &fixture("audio/studio48.flac"),
    )
    .await;
    assert_eq!(status, 200, "{head} {}", String::from_utf8_lossy(&wav));
    let got: Vec<i16> = hound::WavReader::new(&wav[..]).unwrap().samples().map(Result::unwrap).collect();
    let want: Vec<i16> =
        hound::WavReader::new(&fixture("audio/studio48.wav")[..]).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!(got, want);
    let (status, _, body) = http(server.addr, "POST", "/api/decode", "", &[7; 5_000]).await;
    assert_eq!(status, 415, "{}", String::from_utf8_lossy(&body));
    let (status, _, _) = http(server.addr, "POST", "/api/decode?output_rate=44100", "", b"x").await;
    assert_eq!(status, 415);
    let (status, _, wav) = http(
        server.addr,
        "POST",
        "/api/decode?encoding=mulaw&sample_rate=8000&channels=1&output_rate=8000",
        "",
        &fixture("audio/phone8.mulaw"),
    )
    .await;
    assert_eq!((status, wav.len()), (200, 44 + 2 * fixture("audio/phone8.mulaw").len()));
}
