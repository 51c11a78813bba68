// Plays what a listener hears: each stream on its own timeline, a short while behind, so that an uneven network is not heard.

import type { HeardAudio } from "./frames.js";
import type { ListenedStream } from "./protocol.js";
import { isSeen } from "./surroundings.js";

/** Seconds a stream is played behind its arrival. */
const BEHIND_S = 0.2;
/** More than this behind is caught up with: the page slept. */
const LATE_S = 1.5;

interface Track {
  /** When, on the context's clock, position 0 of the stream is played. */
  origin: number;
}

export class Player {
  readonly #context: AudioContext;
  readonly #gain: GainNode;
  readonly #tracks = new Map<string, Track>();
  readonly #gone = new AbortController();

  /** Make it in a click's handler: browsers let no page sound before. */
  constructor(context: AudioContext = new AudioContext()) {
    this.#context = context;
    this.#gain = context.createGain();
    this.#gain.connect(context.destination);
    const { signal } = this.#gone;
    const wake = () => {
      if (context.state !== "running" && context.state !== "closed" && isSeen()) context.resume().catch(() => {}); // asked again, then
    };
    context.addEventListener("statechange", wake, { signal });
    for (const event of ["visibilitychange", "resume", "pointerup", "keydown"]) document.addEventListener(event, wake, { signal });
    wake();
  }

  /** 0 to 1. */
  set volume(volume: number) {
    this.#gain.gain.value = volume;
  }

  add({ audio, stream }: { audio: HeardAudio; stream: ListenedStream }): void {
    if (audio.last) this.#tracks.delete(stream.stream_uid);
    // Its clock stands still while a phone has taken the sound away: all of that time would be heard at once afterwards.
    if (this.#context.state !== "running") return this.#tracks.clear();
    const channels = typeof stream.channels === "number" ? stream.channels : 1;
    const frames = Math.floor(audio.samples.length / channels);
    if (frames === 0) return;
    const rate = stream.sample_rate;
    const buffer = this.#context.createBuffer(channels, frames, rate);
    for (let c = 0; c < channels; c++) {
      const out = buffer.getChannelData(c);
      for (let i = 0; i < frames; i++) out[i] = (audio.samples[i * channels + c] as number) / 32_768;
    }
    const node = this.#context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.#gain);
    node.start(this.#when(stream.stream_uid, audio.position / rate));
  }

  close(): void {
    this.#gone.abort();
    this.#context.close().catch(() => {});
  }

  #when(uid: string, at: number): number {
    const now = this.#context.currentTime;
    const track = this.#tracks.get(uid);
    const due = track ? track.origin + at : 0;
    if (track && due >= now && due < now + LATE_S) return due;
    // The first of it, or the line was late: from here on so much later.
    this.#tracks.set(uid, { origin: now + BEHIND_S - at });
    return now + BEHIND_S;
  }
}
