// Binary frames: a stream's index before audio up, a header before audio down (protocol sections 4 and 5).

/** A piece of somebody's audio, as a listener gets it. */
export interface HeardAudio {
  /** The server's number for the stream, as in `listening`. */
  streamIndex: number;
  /** Position of the first sample, per channel, on the stream's timeline. */
  position: number;
  /** Interleaved. */
  samples: Int16Array;
  /** Audio was dropped just before this frame. */
  dropped: boolean;
  /** The stream ends with this frame. */
  last: boolean;
}

const HEADER_BYTES = 16;
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Reads a frame of audio down; null where it is none this version knows. */
export function parseAudio(frame: ArrayBuffer): HeardAudio | null {
  if (frame.byteLength < HEADER_BYTES) return null;
  const view = new DataView(frame);
  if (view.getUint8(0) !== 1 || view.getUint8(1) !== 1) return null;
  const flags = view.getUint32(4, true);
  const count = (frame.byteLength - HEADER_BYTES) >> 1;
  let samples: Int16Array;
  if (LITTLE_ENDIAN) samples = new Int16Array(frame, HEADER_BYTES, count);
  else samples = Int16Array.from({ length: count }, (_, i) => view.getInt16(HEADER_BYTES + 2 * i, true));
  return {
    streamIndex: view.getUint16(2, true),
    position: view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32,
    samples,
    dropped: (flags & 1) !== 0,
    last: (flags & 2) !== 0,
  };
}

/** A tagged frame: the stream's index, then its bytes. */
export function tagged(index: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(4 + bytes.length);
  new DataView(frame.buffer).setUint32(0, index, true);
  frame.set(bytes, 4);
  return frame;
}
