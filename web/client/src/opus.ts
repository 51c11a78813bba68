// Samples into bare Opus packets, by the browser's own encoder: a twentieth of the bytes, for phones that pay for them.

import type { Chunk } from "./capture.js";

/** Microseconds of a packet. */
const PACKET_US = 20_000;
/** Bits a second of a channel: speech and its room, without what one would hear. */
const BITRATE = 32_000;

export interface OpusEncoder {
  /** Takes the next samples, interleaved, with their level. */
  add(samples: ArrayBuffer, level: Chunk["level"]): void;
  /** Hands out what is left, and is over. */
  end(): Promise<void>;
}

/** Null where the browser has none. `fail` is called where it ends by itself. */
export async function opusEncoder(
  { rate, channels, bitrate = BITRATE * channels }: { rate: number; channels: number; bitrate?: number | undefined },
  onChunk: (chunk: Chunk) => void,
  fail: () => void,
): Promise<OpusEncoder | null> {
  if (typeof AudioEncoder !== "function" || typeof AudioData !== "function") return null;
  const config: AudioEncoderConfig = { codec: "opus", sampleRate: rate, numberOfChannels: channels, bitrate, opus: { frameDuration: PACKET_US } };
  const { supported } = await AudioEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
  if (!supported) return null;
  let levels: NonNullable<Chunk["level"]>[] = [];
  const encoder = new AudioEncoder({
    output(packet) {
      const bytes = new Uint8Array(packet.byteLength);
      packet.copyTo(bytes);
      const level = {
        peak: Math.max(0, ...levels.map((l) => l.peak)),
        square: levels.reduce((sum, l) => sum + l.square, 0) / Math.max(1, levels.length),
      };
      levels = [];
      onChunk({ bytes, level, ms: (packet.duration ?? PACKET_US) / 1_000 });
    },
    error: fail,
  });
  encoder.configure(config);
  let frames = 0;
  return {
    add(samples, level) {
      if (encoder.state !== "configured") return;
      const numberOfFrames = samples.byteLength / Float32Array.BYTES_PER_ELEMENT / channels;
      const timestamp = Math.round((frames * 1_000_000) / rate);
      frames += numberOfFrames;
      if (level) levels.push(level);
      const data = new AudioData({ format: "f32", sampleRate: rate, numberOfChannels: channels, numberOfFrames, timestamp, data: samples });
      encoder.encode(data);
      data.close();
    },
    async end() {
      if (encoder.state !== "configured") return;
      await encoder.flush().catch(() => {});
      if (encoder.state === "configured") encoder.close();
    },
  };
}
