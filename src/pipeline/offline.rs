//! The same signal path for bytes that are all there: `voxgate decode`, `POST /api/decode`.

use std::io::Read;

use super::chain::{Chain, Scratch};
use crate::audio::PcmSpec;
use crate::decode::{DecodeError, DecodeParams, DecodeWarning};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a file could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The bytes could not be read.
    #[error("reading: {0}")]
    Read(std::io::Error),
    /// They could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The PCM could not be delivered.
    #[error("writing: {0}")]
    Deliver(std::io::Error),
}

/// What happened to the file.
#[derive(Clone, Debug, Default)]
pub struct OfflineReport {
    /// Output frames delivered.
    pub frames: u64,
    /// What the source was.
    pub source: Option<PcmSpec>,
    /// Damage that was met.
    pub warnings: Vec<DecodeWarning>,
}

/// Warnings kept for the report; a broken file has thousands of the same.
const WARNINGS_KEPT: usize = 100;

/// Decodes everything `input` gives and hands the output to `deliver` as interleaved samples, full scale at ±1.0.
///
/// # Errors
/// [`OfflineError`]; what came before was delivered.
pub fn decode_all(
    params: &DecodeParams,
    input: &mut dyn Read,
    deliver: &mut dyn FnMut(PcmSpec, &[f32]) -> std::io::Result<()>,
) -> Result<OfflineReport, OfflineError> {
    let mut chain = Chain::open(params)?;
    let mut scratch = Scratch::default();
    let mut report = OfflineReport::default();
    let mut buf = vec![0; READ_BYTES];
    loop {
        let n = match input.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(OfflineError::Read(e)),
        };
        let mut at = 0;
        loop {
            let step = chain.step(&buf[at..n], &mut scratch)?;
            at += step.consumed;
            report.take(&chain, &scratch, deliver)?;
            if at == n && !step.more {
                break;
            }
        }
    }
    loop {
        let more = chain.finish(&mut scratch)?;
        report.take(&chain, &scratch, deliver)?;
        if !more {
            report.source = chain.source();
            return Ok(report);
        }
    }
}

impl OfflineReport {
    fn take(
        &mut self,
        chain: &Chain,
        scratch: &Scratch,
        deliver: &mut dyn FnMut(PcmSpec, &[f32]) -> std::io::Result<()>,
    ) -> Result<(), OfflineError> {
        let room = WARNINGS_KEPT.saturating_sub(self.warnings.len());
        self.warnings.extend(scratch.warnings().iter().take(room).cloned());
        if scratch.shaped.is_empty() {
            return Ok(());
        }
        let spec = chain.spec();
        self.frames += (scratch.shaped.len() / usize::from(spec.channels)) as u64;
        deliver(spec, &scratch.shaped).map_err(OfflineError::Deliver)
    }
}
