//! `auto`: tells the format from the first bytes, then decodes by that format's decoder. Raw PCM has no mark and must be refused, not guessed; what has
//! only a short sync word (MPEG audio, ADTS) is believed when further frames stand where the first says.

mod mpeg;

use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step};
use crate::audio::{Encoding, StreamFormat};
use mpeg::Chain;

/// Bytes held until the format is told: four frames of MPEG audio or AAC of any usual size, behind part of another.
const SNIFF_BYTES_MAX: usize = 8 << 10;
/// A stream of frames that was joined in the middle shows its first whole frame within the length of one: 1728 bytes is the largest of MPEG audio.
const JOIN_BYTES_MAX: usize = 2 << 10;
/// Length of an ID3v2 header, and of its footer.
const ID3_HEADER_BYTES: usize = 10;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// This, for certain.
    Known(Encoding),
    /// An ID3v2 tag of so many bytes, then something else.
    Tag(u64),
    /// More bytes tell.
    Unclear,
    /// Nothing known.
    Unknown,
}

/// The decoder.
pub(super) struct Sniffer {
    params: DecodeParams,
    /// The first bytes, a tag before them not kept; drained into `inner` once that is known.
    held: Vec<u8>,
    fed: usize,
    /// Bytes of a tag still to be passed over.
    tag_left: u64,
    tagged: bool,
    /// Up to here no row of frames begins.
    ruled_out: usize,
    inner: Option<Box<dyn Decoder>>,
}

impl Sniffer {
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self { params: *params, held: Vec::new(), fed: 0, tag_left: 0, tagged: false, ruled_out: 0, inner: None }
    }

    /// Takes bytes until the format is known; opens its decoder then. Returns how many bytes it took.
    fn sniff(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let mut consumed = 0;
        loop {
            let skip = self.tag_left.min((input.len() - consumed) as u64);
            self.tag_left -= skip;
            consumed += skip as usize;
            let n = (SNIFF_BYTES_MAX - self.held.len()).min(input.len() - consumed);
            self.held.extend_from_slice(&input[consumed..consumed + n]);
            consumed += n;
            match tell(&self.held, self.tagged, &mut self.ruled_out) {
                Verdict::Known(encoding) => {
                    self.open(encoding)?;
                    return Ok(consumed);
                }
                Verdict::Tag(bytes) => {
                    self.tagged = true;
                    let held = bytes.min(self.held.len() as u64);
                    self.held.drain(..held as usize);
                    self.tag_left = bytes - held;
                }
                Verdict::Unclear if self.held.len() < SNIFF_BYTES_MAX => return Ok(consumed),
                Verdict::Unclear | Verdict::Unknown => return Err(DecodeError::Unrecognised),
            }
        }
    }

    fn open(&mut self, encoding: Encoding) -> Result<(), DecodeError> {
        let format = StreamFormat { encoding, ..self.params.format };
        self.inner = Some(super::open(&DecodeParams { format, ..self.params })?);
        Ok(())
    }

    /// Gives the held bytes to the decoder found. Returns whether that is all of them.
    fn feed(&mut self, out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let Some(inner) = &mut self.inner else { return Ok(Step { consumed: 0, more: false }) };
        let step = inner.decode(&self.held[self.fed..], out)?;
        self.fed += step.consumed;
        let left = self.fed < self.held.len();
        if !left {
            self.held = Vec::new();
            self.fed = 0;
        }
        Ok(Step { consumed: 0, more: step.more || left })
    }
}

impl Decoder for Sniffer {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        match &mut self.inner {
            None => {
                let consumed = self.sniff(input)?;
                Ok(Step { consumed, more: self.inner.is_some() })
            }
            Some(inner) if self.held.is_empty() => inner.decode(input, out),
            Some(_) => {
                let Step { more, .. } = self.feed(out)?;
                // Once all is fed, the input follows in the next call.
                Ok(Step { consumed: 0, more: more || !input.is_empty() })
            }
        }
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        if self.inner.is_none() {
            if self.held.is_empty() {
                return Ok(false);
            }
            let encoding = tell_whole(&self.held, self.tagged).ok_or(DecodeError::Unrecognised)?;
            self.open(encoding)?;
        }
        if !self.held.is_empty() {
            self.feed(out)?;
            return Ok(true);
        }
        match &mut self.inner {
            Some(inner) => inner.finish(out),
            None => Ok(false),
        }
    }

    fn pending_bytes(&self) -> usize {
        self.held.len() - self.fed + self.inner.as_ref().map_or(0, |inner| inner.pending_bytes())
    }
}

/// Compares as far as `bytes` goes.
fn begins(bytes: &[u8], at: usize, pattern: &[u8]) -> bool {
    bytes.iter().skip(at).zip(pattern).all(|(a, b)| a == b)
}

/// Tells the format from its mark, if it has one.
fn by_mark(bytes: &[u8]) -> Verdict {
    const MARKS: [(&[u8], usize, &[u8], Encoding); 11] = [
        (b"RIFF", 8, b"WAVE", Encoding::Wav),
        (b"RF64", 8, b"WAVE", Encoding::Wav),
        (b"BW64", 8, b"WAVE", Encoding::Wav),
        (b"FORM", 8, b"AIFF", Encoding::Aiff),
        (b"FORM", 8, b"AIFC", Encoding::Aiff),
        (b"fLaC", 4, b"", Encoding::Flac),
        (b"OggS\0", 5, b"", Encoding::Ogg),
        (b"caff\0\x01", 6, b"", Encoding::Caf),
        // EBML: the document type is the decoder's to judge.
        (b"\x1a\x45\xdf\xa3", 4, b"", Encoding::Webm),
        (b"", 4, b"ftyp", Encoding::Mp4),
        (b"", 4, b"styp", Encoding::Mp4),
    ];
    // Boxes an MP4 stream can begin with beside its file type, old QuickTime files among them.
    const BOXES: [&[u8]; 7] = [b"moov", b"moof", b"sidx", b"mdat", b"free", b"skip", b"wide"];
    let marks = MARKS.iter().copied().chain(BOXES.iter().map(|&name| (&b""[..], 4, name, Encoding::Mp4)));
    let mut unclear = false;
    for (first, at, second, encoding) in marks {
        if begins(bytes, 0, first) && begins(bytes, at, second) {
            if bytes.len() >= at + second.len() {
                return Verdict::Known(encoding);
            }
            unclear = true;
        }
    }
    if unclear { Verdict::Unclear } else { Verdict::Unknown }
}

/// Tells the format. `tagged`: an ID3v2 tag stood before, which only MPEG audio, AAC and FLAC have. `ruled_out` is kept from call to call while
/// `bytes` grows, so that no place is looked at twice.
fn tell(bytes: &[u8], tagged: bool, ruled_out: &mut usize) -> Verdict {
    if begins(bytes, 0, b"ID3") {
        return match bytes.get(..ID3_HEADER_BYTES) {
            Some(h) if h[3] < 0xff && h[4] < 0xff && h[6..].iter().all(|b| b & 0x80 == 0) => {
                let size = h[6..].iter().fold(0, |size, &b| size << 7 | u64::from(b));
                let footer = if h[5] & 0x10 != 0 { ID3_HEADER_BYTES as u64 } else { 0 };
                Verdict::Tag(ID3_HEADER_BYTES as u64 + size + footer)
            }
            Some(_) => Verdict::Unknown,
            None => Verdict::Unclear,
        };
    }
    match by_mark(bytes) {
        known @ (Verdict::Known(_) | Verdict::Tag(_)) => return known,
        Verdict::Unclear => {
            if bytes.len() < 8 {
                return Verdict::Unclear;
            }
        }
        Verdict::Unknown => {}
    }
    // At the very beginning a third frame in its place is proof (speech as 16-bit samples has two by accident); after a tag the first is;
    // elsewhere it takes a fourth.
    let mut open = bytes.len() < JOIN_BYTES_MAX;
    for at in *ruled_out..bytes.len().min(JOIN_BYTES_MAX) {
        let frames = match (at, tagged) {
            (0, true) => 1,
            (0, false) => 3,
            _ => 4,
        };
        match mpeg::chain(&bytes[at..], frames) {
            Chain::Whole(encoding) => return Verdict::Known(encoding),
            Chain::Open => {
                open = true;
                // An earlier beginning is the likelier one: it is given the bytes it needs.
                if at == 0 {
                    return Verdict::Unclear;
                }
            }
            Chain::Broken if at == *ruled_out => *ruled_out += 1,
            Chain::Broken => {}
        }
    }
    if open || matches!(by_mark(bytes), Verdict::Unclear) { Verdict::Unclear } else { Verdict::Unknown }
}

/// Tells what ended before it was clear: a single frame that fills it.
fn tell_whole(bytes: &[u8], tagged: bool) -> Option<Encoding> {
    match tell(bytes, tagged, &mut 0) {
        Verdict::Known(encoding) => Some(encoding),
        Verdict::Tag(_) | Verdict::Unknown => None,
        Verdict::Unclear => mpeg::sole_frame(bytes),
    }
}

#[cfg(test)]
mod tests;
