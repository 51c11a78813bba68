//! What a start finds on the disk: recordings a killed server left open get their sizes from the file's length.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;

use super::meta::{self, Index};
use super::{
    RecordError, Recorder, RecorderConfig, RecorderService, RecordingMeta, RecordingStart, RecordingState, Wake, wav,
};

/// Reads all sidecars; gives the index and the repaired recordings that still need their hash.
pub(super) fn load(config: &RecorderConfig) -> io::Result<(Index, Vec<RecordingMeta>)> {
    let mut index = Index::default();
    let mut to_hash = Vec::new();
    for mut meta in meta::load_all(&config.dir)? {
        let id = meta.id;
        let there = meta::wav_path(&config.dir, id).is_file();
        match meta.state {
            // Killed before the first sample was down, or deleted by hand: nothing to list.
            _ if !there => {
                if let Err(error) = meta::remove(&config.dir, id) {
                    tracing::warn!(recording = %id, %error, "sidecar without a file could not be deleted");
                }
                continue;
            }
            RecordingState::Recording => {
                match repair(config, &mut meta) {
                    Ok(()) => {
                        tracing::info!(recording = %id, samples = meta.samples, "recording repaired");
                        if !config.remade.contains(&id) {
                            to_hash.push(meta.clone());
                        }
                    }
                    Err(error) => {
                        tracing::warn!(recording = %id, %error, "recording could not be repaired");
                        meta.state = RecordingState::Failed;
                        meta.error = Some("it could not be repaired after the server was killed".to_owned());
                    }
                }
                index.put(meta);
            }
            RecordingState::Repaired if meta.sha256.is_none() && !config.remade.contains(&id) => {
                to_hash.push(meta.clone());
                index.put(meta);
            }
            RecordingState::Complete | RecordingState::Repaired | RecordingState::Failed => index.put(meta),
        }
    }
    Ok((index, to_hash))
}

impl RecorderService {
    /// A recorder for a stream that is made again from its first byte: what there is of its recording goes. Blocks on the disk.
    ///
    /// # Errors
    /// [`RecordError::InUse`] while the recording runs, [`RecordError::Failed`] where the disk refuses.
    pub fn remake(&self, start: RecordingStart, wake: Wake) -> Result<Recorder, RecordError> {
        let id = start.id;
        if self.core.open().contains_key(&id) {
            return Err(RecordError::InUse { id });
        }
        meta::remove(&self.core.config.dir, id).map_err(|_| RecordError::Failed {
            message: "what there was of the recording could not be removed".to_owned(),
        })?;
        self.core.index().remove(id);
        self.create(start, wake)
    }
}

/// Sets head and sidecar from the file's length; an odd tail is cut off.
fn repair(config: &RecorderConfig, meta: &mut RecordingMeta) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(meta::wav_path(&config.dir, meta.id))?;
    let stat = file.metadata()?;
    let (start, frame) = (wav::head_bytes(meta.spec()), wav::frame_bytes(meta.spec()));
    let data_bytes = stat.len().saturating_sub(start) / frame * frame;
    file.set_len(start + data_bytes)?;
    file.write_all_at(&wav::head(meta.spec(), data_bytes, config.riff_bytes_max), 0)?;
    meta.samples = data_bytes / frame;
    meta.bytes = start + data_bytes;
    let modified = stat.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    meta.ended_at_ms = modified.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)).or(Some(meta.created_at_ms));
    meta.end_reason = Some("error".to_owned());
    meta.state = RecordingState::Repaired;
    meta::save(&config.dir, meta)
}
