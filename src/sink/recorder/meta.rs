//! What is known of a recording: the sidecar `<id>.json` beside its WAV, and the list of all in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audio::PcmSpec;

/// How far a recording got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Audio still comes in, or its closing is under way.
    Recording,
    /// Closed as it should be.
    Complete,
    /// The server died while it ran; its sizes were set right from the file's length at the next start.
    Repaired,
    /// Writing failed; what was written before is in the file.
    Failed,
}

/// A recording as its sidecar holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingMeta {
    /// Its id and file name.
    pub id: Uuid,
    /// How far it got.
    pub state: RecordingState,
    /// The stream's id, unique on the server.
    pub stream_uid: String,
    /// The stream's own name.
    pub stream_id: String,
    /// Who streamed.
    pub client_id: String,
    /// The authenticated user, where there was one: the owner.
    pub user_id: Option<String>,
    /// The conversation it belonged to.
    pub conversation_id: Option<String>,
    /// Sample rate in hertz.
    pub sample_rate: u32,
    /// Channels, interleaved.
    pub channels: u16,
    /// Samples per channel.
    pub samples: u64,
    /// Size of the whole file.
    pub bytes: u64,
    /// SHA-256 of the whole file in hexadecimal; none before the recording is closed.
    pub sha256: Option<String>,
    /// Unix time the stream began, in milliseconds.
    pub created_at_ms: i64,
    /// Unix time the recording ended, in milliseconds.
    pub ended_at_ms: Option<i64>,
    /// Why the stream ended, as the protocol names it.
    pub end_reason: Option<String>,
    /// What failed, for people.
    pub error: Option<String>,
}

impl RecordingMeta {
    /// Rate and channels.
    pub fn spec(&self) -> PcmSpec {
        PcmSpec { rate_hz: self.sample_rate, channels: self.channels }
    }
}

/// Where a recording's audio is.
pub(super) fn wav_path(dir: &Path, id: Uuid) -> PathBuf {
    dir.join(format!("{id}.wav"))
}

fn sidecar_path(dir: &Path, id: Uuid) -> PathBuf {
    dir.join(format!("{id}.json"))
}

/// Writes the sidecar so that a reader sees the old or the new one, never half of one.
pub(super) fn save(dir: &Path, meta: &RecordingMeta) -> io::Result<()> {
    let tmp = dir.join(format!("{}.json.tmp", meta.id));
    let json = serde_json::to_vec_pretty(meta)?;
    let written = fs::File::create(&tmp)
        .and_then(|mut f| f.write_all(&json))
        .and_then(|()| fs::rename(&tmp, sidecar_path(dir, meta.id)));
    if written.is_err() {
        let _ = fs::remove_file(&tmp);
    }
    written
}

/// Removes audio and sidecar; that one is already gone is no error.
pub(super) fn remove(dir: &Path, id: Uuid) -> io::Result<()> {
    for path in [wav_path(dir, id), sidecar_path(dir, id)] {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Reads every sidecar of a folder; what is not one is left alone, half-written ones (`.tmp`) are removed.
pub(super) fn load_all(dir: &Path) -> io::Result<Vec<RecordingMeta>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if let Some(stem) = name.strip_suffix(".json.tmp") {
            if Uuid::try_parse(stem).is_ok() {
                let _ = fs::remove_file(&path);
            }
            continue;
        }
        let Some(id) = name.strip_suffix(".json").and_then(|stem| Uuid::try_parse(stem).ok()) else { continue };
        match fs::read(&path).map(|bytes| serde_json::from_slice::<RecordingMeta>(&bytes)) {
            Ok(Ok(meta)) if meta.id == id && meta.sample_rate > 0 && meta.channels > 0 => all.push(meta),
            Ok(Ok(_)) => tracing::warn!(recording = %id, "sidecar contradicts its name"),
            Ok(Err(error)) => tracing::warn!(recording = %id, %error, "sidecar is not readable"),
            Err(error) => tracing::warn!(recording = %id, %error, "sidecar is not readable"),
        }
    }
    Ok(all)
}

/// Every recording there is, by id; ids are time-ordered (uuid v7), so the first is the oldest.
#[derive(Debug, Default)]
pub(super) struct Index {
    all: BTreeMap<Uuid, RecordingMeta>,
    bytes: u64,
}

impl Index {
    pub(super) fn put(&mut self, meta: RecordingMeta) {
        self.bytes += meta.bytes;
        if let Some(old) = self.all.insert(meta.id, meta) {
            self.bytes -= old.bytes;
        }
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&RecordingMeta> {
        self.all.get(&id)
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<RecordingMeta> {
        let meta = self.all.remove(&id)?;
        self.bytes -= meta.bytes;
        Some(meta)
    }

    /// Notes the growth of one that runs.
    pub(super) fn grow(&mut self, id: Uuid, bytes: u64, samples: u64) {
        if let Some(meta) = self.all.get_mut(&id) {
            self.bytes = self.bytes - meta.bytes + bytes;
            meta.bytes = bytes;
            meta.samples = samples;
        }
    }

    /// Bytes of all files together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn page(
        &self,
        after: Option<Uuid>,
        limit: usize,
        keep: impl Fn(&RecordingMeta) -> bool,
    ) -> Vec<RecordingMeta> {
        use std::ops::Bound::{Excluded, Unbounded};
        let until = after.map_or(Unbounded, Excluded);
        self.all
            .range((Unbounded, until))
            .rev()
            .map(|(_, meta)| meta)
            .filter(|meta| keep(meta))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Those that ended before a time (Unix, milliseconds).
    pub(super) fn ended_before(&self, limit_ms: i64) -> Vec<Uuid> {
        self.ended().filter(|m| m.ended_at_ms.unwrap_or(m.created_at_ms) < limit_ms).map(|m| m.id).collect()
    }

    /// The oldest that have to go for all together to be within `quota_bytes`. Running ones stay.
    pub(super) fn surplus(&self, quota_bytes: u64) -> Vec<Uuid> {
        let mut left = self.bytes;
        let mut ids = Vec::new();
        let mut ended = self.ended();
        while left > quota_bytes
            && let Some(meta) = ended.next()
        {
            left -= meta.bytes;
            ids.push(meta.id);
        }
        ids
    }

    fn ended(&self) -> impl Iterator<Item = &RecordingMeta> {
        self.all.values().filter(|m| m.state != RecordingState::Recording)
    }
}
