//! What a process costs, from the kernel's own accounts under `/proc`.

use std::fs;
use std::path::PathBuf;

/// A process to watch.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of that id.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// CPU time of all its threads so far, in nanoseconds: the scheduler's figure, not ticks. `None` where there is no such
    /// process or no `/proc`.
    pub fn cpu_ns(self) -> Option<u64> {
        let threads = fs::read_dir(self.path("task")).ok()?;
        let texts = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        Some(texts.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(self) -> Option<u64> {
        resident_bytes(&fs::read_to_string(self.path("status")).ok()?)
    }
}

/// `VmRSS` of `/proc/PID/status`, which unlike `statm` needs no page size.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status_text() {
        assert_eq!(resident_bytes("Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_busy_process_costs_more_and_more_and_a_missing_one_nothing_known() {
        // Not this one: the threads of other tests end, and their time with them.
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        let busy = Process::new(child.id());
        let before = busy.cpu_ns().expect("the process is there");
        while busy.cpu_ns().expect("it is still there") <= before {
            std::thread::yield_now();
        }
        child.kill().and_then(|()| child.wait()).expect("its end");
        assert!(busy.cpu_ns().is_none());
        assert!(busy.rss_bytes().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_in_use_is_counted() {
        // The kernel counts pages by processor and tells the sum roughly: one that has just begun may have none.
        let touched = vec![1_u8; 16 << 20];
        let resident = Process::new(std::process::id()).rss_bytes().expect("this process is there");
        assert!(resident > std::hint::black_box(&touched).len() as u64 / 2, "{resident}");
    }
}
