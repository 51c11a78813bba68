//! One speaker to a thousand listeners over real sockets, against a program that does nothing but write the same bytes to as many
//! sockets at the same times. CPU time of each as the scheduler counts it; the readers are this process, on another core.
//! A reader that sleeps is woken by the writer, on the writer's time, and the slower the writer the oftener: so the readers are measured
//! both asleep between frames and awake all the time, as a network card is. Linux only; `taskset -c 1 cargo bench --bench listeners`.
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
        bare();
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, compare());
    }
}

/// The yardstick: answers each client as a server does, then every 20 ms one write to each socket.
fn bare() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let mut sockets: Vec<_> = (0..LISTENERS).map(|_| answered(listener.accept().unwrap().0)).collect();
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

/// Reads the handshake, answers it, reads what the client says next.
fn answered(mut socket: std::net::TcpStream) -> std::net::TcpStream {
    socket.set_nodelay(true).unwrap();
    let (mut head, mut buf) = (Vec::new(), [0; 1_024]);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = socket.read(&mut buf).unwrap();
        head.extend_from_slice(&buf[..n]);
    }
    socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
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
    let (child, addr) = start(&std::env::current_exe().unwrap().to_string_lossy(), &["bare"]);
    let (bare, bare_frames) = measure(&child, addr, false).await;
    drop(child);
    let data = tempfile::tempdir().unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (bind, dir) = (port.to_string(), data.path().to_string_lossy().into_owned());
    let child = spawn(env!("CARGO_BIN_EXE_voxgate"), &["serve", "--bind", &bind, "--data-dir", &dir]);
    let (server, server_frames) = measure(&child, port, true).await;
    drop(child);
    println!(
        "{readers}, run {run}: bare writes {bare:.2} us a frame ({bare_frames} frames), voxgate {server:.2} us ({server_frames}): {:.2} x",
        server / bare
    );
    server / bare
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
    for n in 0..LISTENERS {
        let mut socket = connect(addr).await;
        socket.set_nodelay(true).unwrap();
        upgrade(&mut socket, n).await;
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

async fn upgrade(socket: &mut TcpStream, n: usize) {
    let request = format!(
        "GET /ws/c{n}?conversation_id=c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut head).await.unwrap() > 0, "closed in the handshake");
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
}

async fn say(socket: &mut TcpStream, text: &str) {
    let mut frame = Vec::new();
    encode_masked(&mut frame, OpCode::Text, text.as_bytes(), [1, 2, 3, 4]);
    socket.write_all(&frame).await.unwrap();
}

async fn speak(addr: SocketAddr) {
    let mut socket = connect(addr).await;
    socket.set_nodelay(true).unwrap();
    upgrade(&mut socket, LISTENERS).await;
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
