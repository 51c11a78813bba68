//! The real binary in a process of its own: to count its threads, to take things from it, to kill it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Client;

/// A `voxgate serve` that dies with its owner.
pub struct ServerProcess {
    pub addr: SocketAddr,
    /// What its ready line says it speaks.
    pub scheme: String,
    child: Child,
}

impl ServerProcess {
    pub fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_after("", data, settings)
    }

    /// Runs `prelude` (shell) in the process before the server takes its place.
    pub fn start_after(prelude: &str, data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::spawn(prelude, data, "--log-level error", settings)
    }

    /// Writes everything it can log to `log`.
    pub fn start_logging(log: &Path, data: &Path, format: &str) -> Self {
        Self::start_logging_with(log, data, format, &[])
    }

    pub fn start_logging_with(log: &Path, data: &Path, format: &str, settings: &[(&str, &str)]) -> Self {
        let prelude = format!("exec 2>'{}'", log.display());
        Self::spawn(&prelude, data, &format!("--log-level trace --log-format {format}"), settings)
    }

    fn spawn(prelude: &str, data: &Path, flags: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(format!("{prelude}\nexec \"$0\" serve --bind 127.0.0.1:0 --data-dir \"$1\" {flags}"))
            .arg(env!("CARGO_BIN_EXE_voxgate"))
            .arg(data)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.trim().strip_prefix("listening on ").expect("the ready line");
        let (scheme, addr) = ready.split_once("://").expect("an address");
        let (scheme, addr) = (scheme.to_owned(), addr.parse().unwrap());
        Self { addr, scheme, child }
    }

    pub async fn connect(&self) -> Client {
        Client::to(self.addr, "/ws").await
    }

    /// SIGKILL, and its end awaited.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name: TERM, INT.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for its end.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let begun = std::time::Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if begun.elapsed().as_secs() > 20 => panic!("the server does not end"),
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }

    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// What its descriptors are open on, sorted: a path, or a kind without its number.
    pub fn open_files(&self) -> Vec<String> {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that has been closed since has no target any more.
        let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        let mut names: Vec<String> = targets
            .map(|target| target.display().to_string().split(":[").next().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Most memory it ever held, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Memory it holds now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
