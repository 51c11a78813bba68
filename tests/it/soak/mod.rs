//! Everything at once for minutes: load, cut connections, killed clients, readers that do not read, a disk that fills. What must hold:
//! memory is flat, no descriptor and no thread stays behind, nothing acknowledged is lost. Ignored unless asked for: `scripts/soak`.
#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]

mod chaos;
mod disk;
mod watch;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::ordinary::Ordinary;
use crate::support::process::ServerProcess;
use crate::support::{Client, http_json, sine16k};
use chaos::Chaos;
use disk::SmallDisk;
use watch::Watch;

/// Unless `VOXGATE_SOAK_S` says how long.
const SECONDS: u64 = 60;
/// The load takes every core there is, from this test too.
const ACK_MAX: Duration = Duration::from_secs(20);

#[tokio::test]
#[ignore = "runs for minutes: scripts/soak [minutes]"]
async fn soak() {
    let seconds = std::env::var("VOXGATE_SOAK_S").map_or(SECONDS, |s| s.parse().expect("VOXGATE_SOAK_S is a number"));
    let data = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&data.path().join("recordings"));
    let settings = [
        ("VOXGATE__SESSION__RESUME_WINDOW_MS", "20000"),
        ("VOXGATE__LIMITS__MESSAGES_PER_S", "10000"),
        ("VOXGATE__CONNECTIONS__HEARTBEAT_INTERVAL_MS", "5000"),
        ("VOXGATE__CONNECTIONS__HEARTBEAT_TIMEOUT_MS", "30000"),
    ];
    let server = match std::env::var_os("VOXGATE_SOAK_LOG") {
        Some(log) => ServerProcess::start_logging_with(Path::new(&log), data.path(), "human", &settings),
        None => ServerProcess::start(data.path(), &settings),
    };
    // A little of everything first: threads and pools that are made when they are needed are there then.
    run(&server, disk.as_ref(), Duration::from_secs(5)).await;
    until_idle(&server).await;
    let (files, threads) = (open_files(&server), server.threads());
    let begun = Instant::now();
    let (chaos, watch) = run(&server, disk.as_ref(), Duration::from_secs(seconds)).await;
    println!("soak of {} s: {chaos}", begun.elapsed().as_secs());
    println!("memory: {watch}");
    until_well(&server).await;
    until_idle(&server).await;
    let (files_after, threads_after) = (open_files(&server), server.threads());
    println!(
        "descriptors {} before, {} after; threads {threads} before, {threads_after} after",
        files.len(),
        files_after.len()
    );
    assert_eq!(files_after, files, "descriptors stay behind");
    assert!(threads_after <= threads + 4, "threads stay behind"); // the blocking pool's, which end by themselves
    chaos.assert_all_happened(disk.is_some());
    watch.assert_flat();
}

/// Records until the server calls itself healthy: whatever happened to the disk, it comes back by itself.
async fn until_well(server: &ServerProcess) {
    let begun = Instant::now();
    let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    loop {
        let mut c = Client::to(server.addr, "/ws").await;
        c.start_with(json!({"format": format, "record": true})).await;
        c.send_binary(&sine16k(1_600)).await;
        c.ask(json!({"type": "audio_end"})).await; // that the disk is left alone may be told before it
        c.close().await;
        let health = http_json(server.addr, "GET", "/health").await.1;
        if health["status"] == "healthy" {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{health}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the server has open but the store's database: its readers are opened one by one as they are needed, and stay.
fn open_files(server: &ServerProcess) -> Vec<String> {
    let mut files = server.open_files();
    files.retain(|name| !name.contains("voxgate.db"));
    files
}

/// Load, an ordinary speaker and chaos for so long.
async fn run(server: &ServerProcess, disk: Option<&SmallDisk>, length: Duration) -> (Arc<Chaos>, Watch) {
    let end = Instant::now() + length;
    let ordinary = Ordinary::patient(server.addr, ACK_MAX).await;
    let chaos = Arc::new(Chaos::new(server.addr, end));
    let load = Command::new(env!("CARGO_BIN_EXE_voxgate"))
        .args(["bench", "--url", &format!("ws://{}/ws", server.addr), "--streams", "1", "--speed", "max", "--json"])
        .args(["--seconds", &length.as_secs().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let load = tokio::task::spawn_blocking(|| load.wait_with_output().unwrap());
    let work = Arc::clone(&chaos).run(disk);
    let watch = Watch::run(server, end);
    let ((), watch) = tokio::join!(work, watch);
    let load = load.await.unwrap();
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    let report: Value = serde_json::from_slice(&load.stdout).unwrap();
    assert_eq!(report["lost"], 0, "{report}");
    println!("load: {} s of audio at {} times real time, 0 frames lost", report["audio_s"], report["x_realtime"]);
    println!("an ordinary speaker beside it waited {:?} for an acknowledgement at the most", ordinary.ended().await.1);
    (chaos, watch)
}

/// Until no connection but the asking one and no stream is left: sessions that nobody comes back for have ended.
async fn until_idle(server: &ServerProcess) {
    let begun = Instant::now();
    let mut c = Client::to(server.addr, "/ws").await;
    loop {
        c.send(json!({"type": "status_request"})).await;
        let status = c.expect("status_update").await;
        let (_, list) = http_json(server.addr, "GET", "/api/connections").await;
        let left = list["items"].as_array().unwrap().len();
        if status["streams"] == 0 && left == 1 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{status}, {left} connections stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    c.close().await;
    // The last sockets and files are closed a moment after their tasks have ended.
    tokio::time::sleep(Duration::from_secs(1)).await;
}
