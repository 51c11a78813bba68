//! One speaker to a thousand listeners over real sockets, against a program that does nothing but write the same bytes to as many
//! sockets at the same times. CPU time of each as the scheduler counts it; the readers are this process, on another core.
//! A reader that sleeps is woken by the writer, on the writer's time, and the slower the writer the oftener: so the readers are measured
//! both asleep between frames and awake all the time, as a network card is. Linux acknowledges what is small against the largest that ever
//! came more seldom, and on the writer's time too: the bare program first greets its clients with as many bytes as the server does.
//! Linux only; `taskset -c 1 cargo bench --bench listeners`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use voxgate::websocket::{OpCode, encode_masked};

const LISTENERS: usize = 1_000;
const FRAME: Duration = Duration::from_millis(20);
/// A listener's frame of 20 ms at 16 kHz: WebSocket header 4, own header 16, samples 640.
const FRAME_BYTES: usize = 660;
/// Before and while the CPU time is counted.
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(3);
/// Runs of each, in turn: many short ones, for the machine's neighbours come and go.
const RUNS: usize = 9;

/// Ends the process when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("bare") {
        bare(args.next().and_then(|bytes| bytes.parse().ok()).unwrap());
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, compare());
    }
}

/// The yardstick: answers each client as a server does, then every 20 ms one write to each socket.
fn bare(greeting_bytes: usize) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let mut sockets: Vec<_> = (0..LISTENERS).map(|_| answered(listener.accept().unwrap().0, greeting_bytes)).collect();
    let frame = [7_u8; FRAME_BYTES];
    let mut due = Instant::now();
    loop {
        for s in &mut sockets {
            let _ = s.write(&frame);
        }
        due += FRAME;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Reads the handshake, answers it, greets, reads what the client says next.
fn answered(mut socket: std::net::TcpStream, greeting_bytes: usize) -> std::net::TcpStream {
    socket.set_nodelay(true).unwrap();
    let (mut head, mut buf) = (Vec::new(), [0; 1_024]);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = socket.read(&mut buf).unwrap();
        head.extend_from_slice(&buf[..n]);
    }
    socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    socket.write_all(&vec![7; greeting_bytes]).unwrap();
    assert!(socket.read(&mut buf).unwrap() > 0, "a client says what it listens to");
    socket.set_nonblocking(true).unwrap();
    socket
}

async fn compare() {
    compare_all("readers that sleep").await;
    let awake = tokio::task::spawn_local(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    compare_all("readers that never sleep").await;
    awake.abort();
}

async fn compare_all(readers: &str) {
    let mut ratios = Vec::new();
    for run in 1..=RUNS {
        ratios.push(compare_once(run, readers).await);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{readers}: {:.2} x, from {:.2} to {:.2}", ratios[RUNS / 2], ratios[0], ratios[RUNS - 1]);
}

/// What the server takes for what the bare program takes.
async fn compare_once(run: usize, readers: &str) -> f64 {
    let data = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (bind, dir) = (port.to_string(), data.path().to_string_lossy().into_owned());
    let child = spawn(env!("CARGO_BIN_EXE_voxgate"), &["serve", "--bind", &bind, "--data-dir", &dir]);
    let greeting = greeting_bytes(port).await.to_string();
    let (server, server_frames) = measure(&child, port, true).await;
    drop(child);
    let (child, addr) = start(&std::env::current_exe().unwrap().to_string_lossy(), &["bare", &greeting]);
    let (bare, bare_frames) = measure(&child, addr, false).await;
    drop(child);
    println!(
        "{readers}, run {run}: bare writes {bare:.2} us a frame ({bare_frames} frames), voxgate {server:.2} us ({server_frames}): {:.2} x",
        server / bare
    );
    server / bare
}

/// What the server tells a client that has connected, in bytes: one frame of text.
async fn greeting_bytes(addr: SocketAddr) -> usize {
    let mut socket = connect(addr).await;
    let mut told = upgrade(&mut socket, "/ws").await;
    loop {
        if let [0x81, 126, high, low, ..] = told[..] {
            return 4 + usize::from(u16::from_be_bytes([high, low]));
        }
        assert!(socket.read_buf(&mut told).await.unwrap() > 0, "closed before its welcome");
    }
}

fn spawn(program: &str, args: &[&str]) -> Running {
    let child = Command::new("taskset").args(["-c", "0", program]).args(args).stdout(Stdio::piped()).spawn().unwrap();
    Running(child)
}

fn start(program: &str, args: &[&str]) -> (Running, SocketAddr) {
    let mut child = spawn(program, args);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// CPU microseconds per frame that a listener got, and how many frames all got.
async fn measure(child: &Running, addr: SocketAddr, speaks: bool) -> (f64, u64) {
    let got = Rc::new(std::cell::Cell::new(0_u64));
    let mut tasks = Vec::new();
    for _ in 0..LISTENERS {
        let mut socket = connect(addr).await;
        socket.set_nodelay(true).unwrap();
        upgrade(&mut socket, "/ws").await;
        say(&mut socket, r#"{"type":"listen_start","conversation_id":"c"}"#).await;
        let got = Rc::clone(&got);
        tasks.push(tokio::task::spawn_local(async move {
            let mut buf = vec![0; 4_096];
            while let Ok(n @ 1..) = socket.read(&mut buf).await {
                got.set(got.get() + n as u64);
            }
        }));
    }
    if speaks {
        tasks.push(tokio::task::spawn_local(speak(addr)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (cpu, bytes) = (cpu_ns(child.0.id()), got.get());
    tokio::time::sleep(WINDOW).await;
    let (cpu, bytes) = (cpu_ns(child.0.id()) - cpu, got.get() - bytes);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let frames = bytes / FRAME_BYTES as u64;
    (cpu as f64 / 1_000.0 / frames as f64, frames)
}

async fn connect(addr: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(addr).await {
            Ok(s) => return s,
            Err(_) => tokio::time::sleep(FRAME).await,
        }
    }
}

/// Returns what came behind the handshake's answer.
async fn upgrade(socket: &mut TcpStream, path: &str) -> Vec<u8> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(socket.read_buf(&mut head).await.unwrap() > 0, "closed in the handshake");
    };
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    head.split_off(end)
}

async fn say(socket: &mut TcpStream, text: &str) {
    let mut frame = Vec::new();
    encode_masked(&mut frame, OpCode::Text, text.as_bytes(), [1, 2, 3, 4]);
    socket.write_all(&frame).await.unwrap();
}

async fn speak(addr: SocketAddr) {
    let mut socket = connect(addr).await;
    socket.set_nodelay(true).unwrap();
    upgrade(&mut socket, "/ws?conversation_id=c").await;
    say(
        &mut socket,
        r#"{"type":"audio_start","format":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"ack_ms":0,"record":false,"conversation_id":"c"}"#,
    )
    .await;
    let mut frame = Vec::new();
    encode_masked(&mut frame, OpCode::Binary, &[7; 640], [1, 2, 3, 4]);
    let mut due = tokio::time::interval(FRAME);
    loop {
        due.tick().await;
        socket.write_all(&frame).await.unwrap();
    }
}

/// CPU time of every thread of a process.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("schedstat")).ok())
        .filter_map(|s| s.split(' ').next()?.parse::<u64>().ok())
        .sum()
}
