//! 16-bit PCM into a WAV file whose sizes are right at the end.

use std::io::{self, Seek, SeekFrom, Write};

use crate::audio::PcmSpec;

/// RIFF, `fmt ` and the head of `data`.
const HEADER_BYTES: u32 = 44;

/// Most sample bytes that the 32-bit sizes of RIFF can say.
const DATA_BYTES_MAX: u64 = (u32::MAX - HEADER_BYTES) as u64;

/// A WAV file being written.
#[derive(Debug)]
pub struct WavFile<W> {
    out: W,
    spec: PcmSpec,
    data_bytes: u64,
    scratch: Vec<u8>,
}

impl<W: Write + Seek> WavFile<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn new(mut out: W, spec: PcmSpec) -> io::Result<Self> {
        out.write_all(&header(spec, 0))?;
        Ok(Self { out, spec, data_bytes: 0, scratch: Vec::new() })
    }

    /// Appends interleaved samples.
    ///
    /// # Errors
    /// What `out` gives, or that a WAV file cannot be longer than 4 GiB.
    pub fn write(&mut self, samples: &[i16]) -> io::Result<()> {
        let bytes = self.data_bytes + samples.len() as u64 * 2;
        if bytes > DATA_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file cannot be longer than 4 GiB"));
        }
        self.data_bytes = bytes;
        self.scratch.clear();
        self.scratch.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.out.write_all(&self.scratch)
    }

    /// Appends silence.
    ///
    /// # Errors
    /// As [`WavFile::write`].
    pub fn write_silence(&mut self, mut samples: u64) -> io::Result<()> {
        const SILENCE: [i16; 4_096] = [0; 4_096];
        while samples > 0 {
            let now = samples.min(SILENCE.len() as u64);
            self.write(&SILENCE[..now as usize])?;
            samples -= now;
        }
        Ok(())
    }

    /// Writes the sizes into the header.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn finish(mut self) -> io::Result<()> {
        let data_bytes = u32::try_from(self.data_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.spec, data_bytes))?;
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()
    }
}

/// Multimedia Programming Interface and Data Specifications 1.0, "Waveform Audio File Format".
fn header(spec: PcmSpec, data_bytes: u32) -> [u8; HEADER_BYTES as usize] {
    const SAMPLE_BYTES: u16 = 2;
    const PCM: u16 = 1;
    let frame_bytes = SAMPLE_BYTES * spec.channels;
    let mut header = [0; HEADER_BYTES as usize];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(data_bytes + HEADER_BYTES - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16u32.to_le_bytes());
    put(&PCM.to_le_bytes());
    put(&spec.channels.to_le_bytes());
    put(&spec.rate_hz.to_le_bytes());
    put(&(spec.rate_hz * u32::from(frame_bytes)).to_le_bytes());
    put(&frame_bytes.to_le_bytes());
    put(&(SAMPLE_BYTES * 8).to_le_bytes());
    put(b"data");
    put(&data_bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn another_reader_finds_what_was_written() {
        let mut bytes = Cursor::new(Vec::new());
        let mut wav = WavFile::new(&mut bytes, PcmSpec { rate_hz: 24_000, channels: 2 }).unwrap();
        wav.write(&[1, -1, 32_767, -32_768]).unwrap();
        wav.write_silence(6).unwrap();
        wav.finish().unwrap();
        let mut reader = hound::WavReader::new(Cursor::new(bytes.into_inner())).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (24_000, 2, 16));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [1, -1, 32_767, -32_768, 0, 0, 0, 0, 0, 0]);
    }
}
