// The microphone: samples at the device's own rate from an AudioWorklet, or what MediaRecorder makes where there is none.

import { type CaptureState, watchInterruptions } from "./interruptions.js";
import { opusEncoder } from "./opus.js";
import type { Format } from "./protocol.js";
import { WORKLET_NAME, WORKLET_SOURCE } from "./worklet.js";

export interface CaptureOptions {
  deviceId?: string;
  /** Channels to send; what the device has is mixed to it. */
  channels?: 1 | 2;
  /** `opus`: bare packets, where the browser can encode them; `pcm_s16le` where it cannot. What is made of it, `format` says. */
  encoding?: "pcm_s16le" | "pcm_f32le" | "opus";
  /** Bits a second of `opus`: 32,000 a channel where absent. */
  bitrate?: number;
  /** `worklet`: samples. `recorder`: what MediaRecorder makes (Opus in WebM, Ogg or MP4). `auto`: the first that is there. */
  method?: "auto" | "worklet" | "recorder";
  /** Milliseconds of a chunk. */
  chunkMs?: number;
  /** Echo cancellation and the like. */
  constraints?: MediaTrackConstraints;
  /** Where the worklet is served, where a Content-Security-Policy forbids `blob:`. */
  workletUrl?: string;
}

export interface Chunk {
  bytes: Uint8Array;
  /** Largest size and mean square of the samples, 0 to 1; null from a recorder. */
  level: { peak: number; square: number } | null;
  /** Milliseconds of sound in it; null from a recorder. */
  ms: number | null;
}

export interface Capture {
  /** For `openStream`. */
  readonly format: Format;
  readonly method: "worklet" | "recorder";
  /** The device's name. */
  readonly label: string;
  /** Stops the device. All chunks have been handed out when it resolves. */
  stop(): Promise<void>;
}

export interface CaptureEvents {
  /** The device went away by itself. What it gave before has been handed out, or will be by `stop`. */
  ended?(): void;
  /** Whether it gives sound: phones take it away for a call or a locked screen, and give it back. */
  state?(state: CaptureState): void;
}

/** How long what is stopped may take to hand out its rest: what was pulled out, or taken away, answers no more. */
const STUCK_MS = 500;
const patience = () => new Promise<void>((resolve) => setTimeout(resolve, STUCK_MS));

/** The audio inputs. Their names are empty until the microphone was allowed once. */
export async function microphones(): Promise<MediaDeviceInfo[]> {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return all.filter((d) => d.kind === "audioinput");
}

/** Opens the microphone. */
export async function captureMicrophone(options: CaptureOptions, onChunk: (chunk: Chunk) => void, events: CaptureEvents = {}): Promise<Capture> {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("this page may not use a microphone: it needs https, or localhost");
  const { deviceId, channels = 1, constraints } = options;
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: channels, ...constraints, ...(deviceId && { deviceId: { exact: deviceId } }) },
  });
  const track = media.getAudioTracks()[0] as MediaStreamTrack;
  track.addEventListener("ended", () => events.ended?.());
  try {
    const { method = "auto" } = options;
    if (method === "worklet" || (method === "auto" && typeof AudioWorkletNode === "function")) {
      const made = await worklet(media, track, options, onChunk, events);
      if (made) return made;
      if (method === "worklet") throw new Error("this browser does not run audio now: is there a device to play on?");
    }
    return recorder(media, track, options, onChunk, events);
  } catch (error) {
    media.getTracks().forEach((t) => t.stop());
    throw error;
  }
}

/** A context at the device's own rate where the browser allows it: then nothing is resampled here. */
function contextFor(media: MediaStream, track: MediaStreamTrack): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const sampleRate = track.getSettings().sampleRate;
  if (sampleRate) {
    try {
      const context = new AudioContext({ sampleRate });
      try {
        return { context, source: context.createMediaStreamSource(media) };
      } catch {
        void context.close(); // this browser wants the output's rate
      }
    } catch {
      // this browser does not know the rate
    }
  }
  const context = new AudioContext();
  return { context, source: context.createMediaStreamSource(media) };
}

/** The rate Opus counts in, whatever it was made from. */
const OPUS_HZ = 48_000;
/** A context that has not begun to run by then is taken for one that never will: Firefox has such where there is nothing to play on. */
const RUNS_WITHIN_MS = 2_000;

/** Null where the browser has all that is needed and does not run it. */
async function worklet(
  media: MediaStream,
  track: MediaStreamTrack,
  { channels = 1, encoding: wanted = "pcm_s16le", bitrate, chunkMs = 20, workletUrl }: CaptureOptions,
  onChunk: (chunk: Chunk) => void,
  events: CaptureEvents,
): Promise<Capture | null> {
  const { context, source } = contextFor(media, track);
  const url = workletUrl ?? URL.createObjectURL(new Blob([WORKLET_SOURCE], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } finally {
    if (!workletUrl) URL.revokeObjectURL(url);
  }
  const rate = context.sampleRate;
  const opus = wanted === "opus" ? await opusEncoder({ rate, channels, bitrate }, onChunk, () => events.ended?.()) : null;
  const encoding = wanted === "opus" && !opus ? "pcm_s16le" : wanted;
  const frames = Math.max(1, Math.round((context.sampleRate * chunkMs) / 1_000));
  const node = new AudioWorkletNode(context, WORKLET_NAME, {
    numberOfInputs: 1,
    numberOfOutputs: 1, // to nowhere, and silent: some browsers run only what is connected
    channelCount: channels,
    channelCountMode: "explicit",
    channelInterpretation: "speakers",
    processorOptions: { channels, frames, float: encoding !== "pcm_s16le" },
  });
  let stopped = () => {};
  const whenStopped = new Promise<void>((resolve) => (stopped = resolve));
  node.port.onmessage = ({ data }: MessageEvent<{ pcm?: ArrayBuffer; peak: number; square: number }>) => {
    if (!data.pcm) return stopped();
    const level = { peak: data.peak, square: data.square };
    if (opus) return opus.add(data.pcm, level);
    const frameBytes = channels * (encoding === "pcm_s16le" ? 2 : 4);
    onChunk({ bytes: new Uint8Array(data.pcm), level, ms: (1_000 * data.pcm.byteLength) / frameBytes / rate });
  };
  source.connect(node).connect(context.destination);
  if (context.state === "suspended") await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, RUNS_WITHIN_MS))]);
  if (context.state !== "running") {
    node.port.onmessage = null;
    source.disconnect();
    void context.close();
    return null;
  }
  const unwatch = watchInterruptions(track, context, (state) => events.state?.(state));
  return {
    format: { encoding, sample_rate: encoding === "opus" ? OPUS_HZ : rate, channels },
    method: "worklet",
    label: track.label,
    async stop() {
      unwatch();
      node.port.postMessage("stop");
      await Promise.race([whenStopped, patience()]);
      if (opus) await Promise.race([opus.end(), patience()]);
      media.getTracks().forEach((t) => t.stop());
      source.disconnect();
      context.close().catch(() => {}); // not waited for: one that is interrupted may take until it is no more
    },
  };
}

/** What a MediaRecorder may make, the best first; Safari has MP4 only. */
const RECORDER_TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

function recorder(
  media: MediaStream,
  track: MediaStreamTrack,
  { chunkMs = 100 }: CaptureOptions,
  onChunk: (chunk: Chunk) => void,
  events: CaptureEvents,
): Capture {
  if (typeof MediaRecorder !== "function") throw new Error("this browser has neither AudioWorklet nor MediaRecorder");
  const mimeType = RECORDER_TYPES.find((t) => MediaRecorder.isTypeSupported(t));
  const made = new MediaRecorder(media, mimeType ? { mimeType } : {});
  // Blobs are read one after the other: their order is the stream's.
  let last: Promise<void> = Promise.resolve();
  made.ondataavailable = ({ data }) => {
    last = last.then(async () => onChunk({ bytes: new Uint8Array(await data.arrayBuffer()), level: null, ms: null }));
  };
  const whenStopped = new Promise<void>((resolve) => (made.onstop = () => resolve()));
  made.onerror = () => events.ended?.();
  made.start(chunkMs);
  const unwatch = watchInterruptions(track, null, (state) => events.state?.(state));
  return {
    format: { encoding: "auto" },
    method: "recorder",
    label: track.label,
    async stop() {
      unwatch();
      if (made.state !== "inactive") made.stop();
      await Promise.race([whenStopped, patience()]);
      await last;
      media.getTracks().forEach((t) => t.stop());
    },
  };
}
