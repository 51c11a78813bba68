//! `POST /api/decode`: a file in, through the same pipeline, WAV out. The body is decoded while it comes, on a blocking thread, and
//! the result goes to an unnamed temporary file, so that memory does not grow with it.

use std::io::{self, BufWriter, Read, Seek, SeekFrom};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::audio::convert::f32_to_s16;
use crate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use crate::decode::{DecodeParams, WHOLE_FILE_BYTES_MAX};
use crate::pipeline::{OfflineError, decode_all};
use crate::protocol::ErrorCode;
use crate::server::body;
use crate::server::guard::{Asked, Caller};
use crate::server::problem::Problem;
use crate::server::router::Shared;

/// Parts of the body that may wait for the decoder.
const BODY_PARTS_MAX: usize = 8;
/// Requests decoded at once: the cores belong to live streams first.
pub(in crate::server) const AT_ONCE_MAX: usize = 2;
/// Most bytes of samples that the 32-bit sizes of a WAV file can say, its head of at most 68 bytes set aside.
const DATA_BYTES_MAX: u64 = u32::MAX as u64 - 68;
/// Bytes of the answer sent at a time.
const SEND_BYTES: usize = 64 * 1024;

/// The query.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::server) struct Params {
    /// What the body is; `auto` where absent.
    #[schemars(with = "Option<Encoding>")]
    encoding: Option<String>,
    /// In hertz; required for raw encodings.
    sample_rate: Option<u32>,
    /// Required for raw encodings.
    channels: Option<u32>,
    /// In hertz: 8000, 16000, 24000 or 48000.
    output_rate: Option<u32>,
    /// `1` (the mean of all) or `source`.
    output_channels: Option<String>,
}

impl Params {
    fn decode_params(&self, rate_hz_default: u32) -> Result<DecodeParams, Problem> {
        let bad = |e: crate::audio::FormatError| Problem(e.into());
        let encoding = self.encoding.as_deref().map_or(Ok(Encoding::Auto), str::parse).map_err(bad)?;
        let format = StreamFormat::new(encoding, self.sample_rate, self.channels).map_err(bad)?;
        let channels = match self.output_channels.as_deref() {
            None | Some("1") => OutputChannels::Mono,
            Some("source") => OutputChannels::Source,
            Some(other) => {
                let got = other.chars().take(32).collect();
                return Err(bad(crate::audio::FormatError::OutputChannels { got }));
            }
        };
        let output = OutputFormat::new(self.output_rate.unwrap_or(rate_hz_default), channels).map_err(bad)?;
        if encoding == Encoding::Opus {
            return Err(Problem::new(
                ErrorCode::UnsupportedFormat,
                "bare Opus packets have no edges in a file: send Ogg, WebM or MP4",
            ));
        }
        Ok(DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX })
    }
}

/// `POST /api/decode`.
pub(in crate::server) async fn decode(
    State(app): State<Shared>,
    _: Caller,
    Asked(query): Asked<Params>,
    request: Request,
) -> Result<Response, Problem> {
    let params = query.decode_params(app.config.audio.output_rate_hz)?;
    let Ok(_place) = app.decode_places.try_acquire() else {
        let e = crate::protocol::ProtocolError::new(ErrorCode::Overloaded, "other files are being decoded");
        return Err(Problem(e.retry_after_ms(1_000)));
    };
    let (parts, received) = mpsc::channel(BODY_PARTS_MAX);
    let received = Parts { body: received, part: Bytes::new() };
    let work = tokio::task::spawn_blocking(move || to_wav(&params, received, DATA_BYTES_MAX));
    let mut incoming = request.into_body();
    while let Some(frame) = incoming.frame().await {
        let part = match frame.map(|f| f.into_data().unwrap_or_default()) {
            Ok(part) => Ok(part),
            Err(e) if body::is_stalled(&e) => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(io::Error::other(e)),
        };
        let is_last = part.is_err();
        if parts.send(part).await.is_err() || is_last {
            break; // the decoder has failed, or will by this, and says why
        }
    }
    drop(parts);
    let wav = work.await.map_err(|_| Problem::new(ErrorCode::Internal, "the decoder failed"))?;
    answer(wav.map_err(|e| problem(&e))?).await
}

fn problem(e: &OfflineError) -> Problem {
    match e {
        OfflineError::Decode(d) if d.is_unsupported() => Problem::new(ErrorCode::UnsupportedFormat, d.to_string()),
        OfflineError::Decode(d) => Problem::new(ErrorCode::DecodeFailed, d.to_string()),
        OfflineError::Read(e) if e.kind() == io::ErrorKind::TimedOut => body::stalled(),
        OfflineError::Deliver(e) if e.kind() == io::ErrorKind::FileTooLarge => Problem::new(
            ErrorCode::MessageTooLarge,
            "the result is longer than the 4 GiB of a WAV file: send shorter parts, ask for a lower output_rate, or stream over /ws",
        ),
        OfflineError::Read(_) => Problem::new(ErrorCode::InvalidMessage, "the body ended early"),
        OfflineError::Deliver(_) => Problem::new(ErrorCode::Internal, "there is no room for the result"),
    }
}

/// The body as a reader.
struct Parts {
    body: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
}

impl Read for Parts {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.body.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.part = part?,
            }
        }
        let n = buf.len().min(self.part.len());
        buf[..n].copy_from_slice(&self.part.split_to(n));
        Ok(n)
    }
}

fn to_wav(params: &DecodeParams, mut body: Parts, bytes_max: u64) -> Result<std::fs::File, OfflineError> {
    let file = tempfile::tempfile().map_err(OfflineError::Deliver)?;
    let handle = file.try_clone().map_err(OfflineError::Deliver)?;
    let mut out = Some(BufWriter::new(file));
    let mut writer = None;
    let mut s16 = Vec::new();
    let mut bytes = 0;
    decode_all(params, &mut body, &mut |spec, samples| {
        if let Some(out) = out.take() {
            writer = Some(open_wav(out, spec.channels, spec.rate_hz)?);
        }
        s16.clear();
        f32_to_s16(samples, &mut s16);
        bytes += 2 * s16.len() as u64;
        if bytes > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if let Some(w) = &mut writer {
            let len = u32::try_from(s16.len()).map_err(io::Error::other)?;
            let mut batch = w.get_i16_writer(len);
            s16.iter().for_each(|&s| batch.write_sample(s));
            batch.flush().map_err(io::Error::other)?;
        }
        Ok(())
    })?;
    if let Some(out) = out.take() {
        writer = Some(open_wav(out, 1, params.output.rate_hz).map_err(OfflineError::Deliver)?);
    }
    if let Some(w) = writer {
        w.finalize().map_err(|e| OfflineError::Deliver(io::Error::other(e)))?;
    }
    let mut file = handle;
    file.seek(SeekFrom::Start(0)).map_err(OfflineError::Deliver)?;
    Ok(file)
}

fn open_wav<W: io::Write + Seek>(out: W, channels: u16, sample_rate: u32) -> io::Result<hound::WavWriter<W>> {
    let spec = hound::WavSpec { channels, sample_rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    hound::WavWriter::new(out, spec).map_err(io::Error::other)
}

async fn answer(file: std::fs::File) -> Result<Response, Problem> {
    let bytes = file.metadata().map_err(|_| Problem::new(ErrorCode::Internal, "the result is lost"))?.len();
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(BODY_PARTS_MAX);
    tokio::task::spawn_blocking(move || {
        let mut file = file;
        loop {
            let mut part = vec![0; SEND_BYTES];
            let part = match file.read(&mut part) {
                Ok(0) => return,
                Ok(n) => {
                    part.truncate(n);
                    Ok(Bytes::from(part))
                }
                Err(e) => Err(e),
            };
            if send.blocking_send(part).is_err() {
                return;
            }
        }
    });
    let body = Body::new(http_body_util::StreamBody::new(Received(receive)));
    Ok(([(header::CONTENT_TYPE, "audio/wav".to_owned()), (header::CONTENT_LENGTH, bytes.to_string())], body)
        .into_response())
}

/// A channel as a stream of body frames.
struct Received(mpsc::Receiver<io::Result<Bytes>>);

impl futures_core::Stream for Received {
    type Item = io::Result<hyper::body::Frame<Bytes>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|part| part.map(|p| p.map(hyper::body::Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_beyond_what_a_wav_file_can_say_is_refused() {
        let query = Params {
            encoding: Some("pcm_s16le".to_owned()),
            sample_rate: Some(16_000),
            channels: Some(1),
            output_rate: None,
            output_channels: None,
        };
        let params = query.decode_params(16_000).unwrap();
        let decode = |bytes_max| {
            let (send, body) = mpsc::channel(1);
            send.try_send(Ok(Bytes::from(vec![0; 32_000]))).unwrap();
            drop(send);
            to_wav(&params, Parts { body, part: Bytes::new() }, bytes_max)
        };
        assert!(decode(32_000).is_ok());
        assert_eq!(problem(&decode(31_998).unwrap_err()).0.code, ErrorCode::MessageTooLarge);
    }
}
