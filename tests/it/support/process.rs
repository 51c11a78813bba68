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

    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Most memory it ever held, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
