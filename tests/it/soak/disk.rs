//! A disk that is small, so that it can be filled: a tmpfs of its own, where one may mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Room for the recordings that are being made, and little more.
const SIZE: &str = "size=24m";
const FULL_FOR: Duration = Duration::from_secs(2);

/// Mounted until dropped.
pub struct SmallDisk {
    path: PathBuf,
    /// Odd while it is full, and until recordings are made again.
    turns: AtomicU64,
}

impl SmallDisk {
    /// None where mounting is not allowed: then nothing fills.
    pub fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(path).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("no tmpfs can be mounted here: the disk does not fill in this run");
            return None;
        }
        Some(Self { path: path.to_owned(), turns: AtomicU64::new(0) })
    }

    /// Changes whenever the disk becomes full, and when recordings are made again.
    pub fn turn(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    /// Fills it to the last byte, waits, and frees it. [`used_again`](Self::used_again) is to follow.
    pub async fn fill(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
        let filler = self.path.join("filler");
        let path = filler.clone();
        let filled = tokio::task::spawn_blocking(move || std::fs::write(path, vec![1; 64 << 20])).await.unwrap();
        assert!(filled.is_err(), "more than the disk holds");
        tokio::time::sleep(FULL_FOR).await;
        std::fs::remove_file(&filler).unwrap();
    }

    /// The server records again.
    pub fn used_again(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
