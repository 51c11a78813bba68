//! A disk that is small, so that it can be filled to the last byte: a tmpfs of its own, where one may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until dropped.
pub struct TinyDisk(PathBuf);

impl TinyDisk {
    /// None where mounting is not allowed.
    #[allow(clippy::print_stdout, reason = "a run in which nothing was filled must say so")]
    pub fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if !done.is_ok_and(|o| o.status.success()) {
            println!("no tmpfs can be mounted here: no disk is filled in this run");
            return None;
        }
        Some(Self(path.to_owned()))
    }

    pub fn fill(&self) {
        assert!(std::fs::write(self.0.join("filler"), vec![1; 256 << 20]).is_err(), "more than the disk holds");
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
