// One stream of audio up: what is not acknowledged is kept, and sent again from where the server stands after a drop.

import { base64 } from "./base64.js";
import { Emitter } from "./emitter.js";
import { tagged } from "./frames.js";
import type {
  AudioEndedEvent,
  AudioReceivedEvent,
  AudioStartCommand,
  AudioStartedEvent,
  ClientMessage,
  ErrorEvent,
  Format,
  ResumedStream,
} from "./protocol.js";
import { AudioRing } from "./ring.js";

/** Bytes of a frame: the server takes far more, a slow line should not be held up by one. */
const FRAME_BYTES = 32 * 1024;
/** Bytes kept while nothing is acknowledged: five minutes of 48 kHz 16-bit mono. */
const RING_BYTES = 32 * 1024 * 1024;

/** Bytes of one sample of the encodings whose streams can be cut at any sample. Opus is cut between packets, and no other place is ever acknowledged. */
const SAMPLE_BYTES: Record<string, number> = { opus: 1, pcm_s16le: 2, pcm_s16be: 2, pcm_s24le: 3, pcm_s32le: 4, pcm_f32le: 4, mulaw: 1, alaw: 1 };

export interface StreamOptions {
  /** What is sent. */
  format: Format;
  /** One's own name for the stream; made up where absent. */
  name?: string;
  /** The conversation it is heard in. */
  conversationId?: string;
  output?: AudioStartCommand["output"];
  /** Milliseconds of audio between acknowledgements. */
  ackMs?: number;
  record?: boolean;
  overflow?: "block" | "drop_oldest";
  /** `base64` where something between client and server takes no binary frames. */
  transport?: "binary" | "base64";
  /** Bytes kept while they are not acknowledged. */
  ringBytes?: number;
}

export interface Progress {
  /** Positions in bytes, from the beginning of the stream. */
  pushed: number;
  sent: number;
  acknowledged: number;
  /** Bytes that found no room and are lost. */
  refused: number;
}

export interface StreamEvents {
  /** The server opened it; again where it had to begin anew. */
  started: AudioStartedEvent;
  /** What is pushed, sent or acknowledged has changed. */
  progress: Progress;
  acknowledged: AudioReceivedEvent;
  /** The ring was full: that many bytes were refused. */
  refused: number;
  /** Its session was lost and the server holds what it had as one recording; the rest goes on as another. */
  continued: { from: number };
  ended: AudioEndedEvent | null;
  error: ErrorEvent;
}

/** What a stream needs of its connection. */
export interface Line {
  ready(): boolean;
  send(message: ClientMessage): void;
  sendBinary(bytes: Uint8Array<ArrayBuffer>): void;
  /** Call back soon: the line is full. */
  later(): void;
  nextId(): string;
}

type Phase = "waiting" | "asked" | "open" | "ended";

export class AudioStream extends Emitter<StreamEvents> {
  readonly name: string;
  readonly format: Format;
  /** Unique on the server, once it is open. */
  uid: string | null = null;
  /** Resolves when it ended; null where the session was lost and nothing more is known. */
  readonly ended: Promise<AudioEndedEvent | null>;

  readonly #line: Line;
  readonly #options: StreamOptions;
  readonly #ring: AudioRing;
  readonly #frameBytes: number | null;
  #phase: Phase = "waiting";
  #startId = "";
  #index = 0;
  /** Where, in all that was pushed, the server's stream of now begins. */
  #base = 0;
  #sent = 0;
  #acknowledged = 0;
  #refused = 0;
  #finish: "end" | "cancel" | null = null;
  #finishSent = false;
  #room: (() => void)[] = [];
  #resolveEnded!: (event: AudioEndedEvent | null) => void;

  constructor(line: Line, options: StreamOptions) {
    super();
    this.#line = line;
    this.#options = options;
    this.name = options.name ?? `s-${line.nextId()}-${Math.random().toString(36).slice(2, 8)}`;
    this.format = options.format;
    this.#ring = new AudioRing(options.ringBytes ?? RING_BYTES);
    const sample = SAMPLE_BYTES[options.format.encoding ?? "auto"];
    const channels = options.format.encoding === "opus" ? 1 : (options.format.channels ?? 1);
    this.#frameBytes = sample ? sample * channels : null;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  get progress(): Progress {
    return { pushed: this.#ring.end, sent: this.#sent, acknowledged: this.#acknowledged, refused: this.#refused };
  }

  get isOver(): boolean {
    return this.#phase === "ended";
  }

  /** Takes the next bytes, which must not be changed afterwards. False where the ring is full: they are refused, all of them. */
  push(bytes: Uint8Array): boolean {
    if (this.#finish || this.#phase === "ended") return false;
    if (this.#ring.bytes > 0 && !this.#ring.fits(bytes.length)) {
      this.#refused += bytes.length;
      this.emit("refused", bytes.length);
      return false;
    }
    const step = this.#step(bytes);
    for (let i = 0; i < bytes.length; i += step) this.#ring.push(bytes.subarray(i, i + step));
    this.pump();
    this.#report();
    return true;
  }

  /** Takes the next bytes as soon as there is room: for sources that can wait, such as files. */
  async write(bytes: Uint8Array): Promise<void> {
    const step = this.#step(bytes);
    for (let i = 0; i < bytes.length; i += step) {
      const piece = bytes.subarray(i, i + step);
      while (this.#ring.bytes > 0 && !this.#ring.fits(piece.length) && !this.isOver) {
        await new Promise<void>((resolve) => this.#room.push(resolve));
      }
      if (!this.push(piece)) throw new Error("the stream has ended");
    }
  }

  /** Bytes of a frame. An Opus packet is one and stays whole; all else may be cut anywhere. */
  #step(bytes: Uint8Array): number {
    return this.format.encoding === "opus" ? bytes.length : FRAME_BYTES;
  }

  /** Ends it when all is sent. Resolves with what became of it. */
  end(): Promise<AudioEndedEvent | null> {
    this.#finish ??= "end";
    this.pump();
    return this.ended;
  }

  /** Ends it now; nothing is kept. */
  cancel(): Promise<AudioEndedEvent | null> {
    this.#finish = "cancel";
    this.#finishSent = false;
    if (this.#phase === "waiting") this.#over(null);
    this.pump();
    return this.ended;
  }

  // What follows is for the client.

  /** Sends what may be sent now. */
  pump(): void {
    if (this.#phase === "ended" || !this.#line.ready()) return;
    if (this.#phase === "waiting") return this.#ask();
    if (this.#phase !== "open") return;
    while (this.#finish !== "cancel" && this.#sent < this.#ring.end) {
      if (!this.#line.ready()) return this.#line.later();
      const piece = this.#ring.at(this.#sent);
      if (!piece) return this.#lost();
      if (this.#options.transport === "base64") {
        this.#line.send({ type: "audio_data", stream_id: this.name, offset: this.#sent - this.#base, data: base64(piece) });
      } else {
        this.#line.sendBinary(tagged(this.#index, piece));
      }
      this.#sent += piece.length;
    }
    if (this.#finish && !this.#finishSent) {
      this.#finishSent = true;
      this.#line.send({ type: this.#finish === "end" ? "audio_end" : "audio_cancel", id: this.#line.nextId(), stream_id: this.name });
    }
  }

  #ask(): void {
    const o = this.#options;
    this.#phase = "asked";
    this.#startId ||= this.#line.nextId();
    this.#line.send({
      type: "audio_start",
      id: this.#startId,
      stream_id: this.name,
      format: o.format,
      framing: "tagged",
      ...(o.output && { output: o.output }),
      ...(o.ackMs !== undefined && { ack_ms: o.ackMs }),
      ...(o.record !== undefined && { record: o.record }),
      ...(o.overflow && { overflow: o.overflow }),
      ...(o.conversationId && { conversation_id: o.conversationId }),
    });
  }

  handleStarted(event: AudioStartedEvent): void {
    // Before it is asked again, too: what the drop held back is replayed.
    if (this.#phase !== "asked" && (this.#phase !== "waiting" || !this.#startId)) return;
    this.#phase = "open";
    this.#index = event.stream_index;
    this.uid = event.stream_uid;
    this.#sent = this.#base;
    this.emit("started", event);
    this.pump();
  }

  handleReceived(event: AudioReceivedEvent): void {
    this.#acknowledge(this.#base + event.received_bytes);
    this.emit("acknowledged", event);
  }

  handleEnded(event: AudioEndedEvent): void {
    if (this.#phase === "ended") return;
    if (event.reason === "end") this.#acknowledge(this.#base + event.received_bytes);
    const cutShort = event.reason === "drained" || event.reason === "disconnected";
    if (cutShort && this.#goOnAnew(this.#base + event.received_bytes)) return;
    this.#over(event);
  }

  handleError(event: ErrorEvent): void {
    if (event.reply_to !== undefined && event.reply_to === this.#startId && this.#phase === "asked") {
      this.emit("error", event);
      if (event.retry_suggested) {
        this.#phase = "waiting";
        setTimeout(() => this.pump(), event.retry_after_ms ?? 1_000);
      } else this.#over(null);
    } else if (event.stream_id === this.name) this.emit("error", event);
  }

  /** The socket is gone: nothing is sent, nothing is forgotten. */
  handleDropped(): void {
    if (this.#phase === "asked") this.#phase = "waiting";
    this.#finishSent = false;
  }

  /** The session goes on: from the byte where the server stands. `replayed`: what was missed has been said by now. */
  handleResumed(streams: ResumedStream[]): void {
    if (this.#phase === "ended") return;
    const mine = streams.find((s) => s.stream_id === this.name);
    if (mine) {
      this.#phase = "open";
      this.#index = mine.stream_index;
      this.#sent = this.#base + mine.received_bytes;
    } else if (this.#phase === "open") {
      // It ended meanwhile and even the news of it was lost.
      if (!this.#goOnAnew(this.#acknowledged)) this.#over(null);
    }
    this.#report();
  }

  /** The client is closed for good. */
  handleClosed(): void {
    if (this.#phase !== "ended") this.#over(null);
  }

  /** The session was lost: what the server had is closed there. */
  handleSessionLost(): void {
    if (this.#phase === "open" && !this.#goOnAnew(this.#acknowledged)) this.#over(null);
  }

  /** Begins another stream with what lies behind `from`. False where there is nothing left, or it cannot be cut. */
  #goOnAnew(from: number): boolean {
    if (this.#finish === "cancel") return false;
    const cut = this.#frameBytes ? this.#wholeFrames(from) : this.#base;
    if (cut < this.#ring.start || (this.#finish === "end" && cut >= this.#ring.end)) return false;
    this.#base = cut;
    this.#acknowledge(cut);
    this.#sent = cut;
    this.#phase = "waiting";
    this.#startId = "";
    this.#finishSent = false;
    this.emit("continued", { from: cut });
    this.pump();
    return true;
  }

  /** The edge of a sample at or before `position`: a stream of samples can begin anew only there. */
  #wholeFrames(position: number): number {
    return position - ((position - this.#base) % (this.#frameBytes ?? 1));
  }

  #lost(): void {
    if (!this.#goOnAnew(this.#ring.start)) this.#over(null);
  }

  #acknowledge(position: number): void {
    if (position <= this.#acknowledged) return;
    this.#acknowledged = position;
    this.#ring.release(this.#wholeFrames(position));
    this.#room.splice(0).forEach((go) => go());
    this.#report();
  }

  #over(event: AudioEndedEvent | null): void {
    this.#phase = "ended";
    this.#room.splice(0).forEach((go) => go());
    this.emit("ended", event);
    this.#resolveEnded(event);
  }

  #report(): void {
    this.emit("progress", this.progress);
  }
}
