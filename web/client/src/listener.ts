// Listening to others: one listener of the server's, asked for again where a session was lost.

import type { VoxgateClient } from "./client.js";
import { Emitter } from "./emitter.js";
import type { HeardAudio } from "./frames.js";
import type { ListenedStream, ListeningChangedEvent, ListeningStoppedEvent, ListenStartCommand } from "./protocol.js";

/** A stream by its `stream_uid` or one's own name for it, or all streams of a conversation, now and later. */
export type ListenTarget = { streamId: string } | { conversationId: string };

export interface ListenerEvents {
  /** Who is heard has changed. */
  streams: ListenedStream[];
  /** Audio, with the stream it is of. */
  audio: { audio: HeardAudio; stream: ListenedStream };
  /** The server refused, or ended it. */
  stopped: Error | null;
}

type Ask = VoxgateClient["request"];

export class Listener extends Emitter<ListenerEvents> {
  /** The server's name for it, once it answered. */
  id: string | null = null;
  readonly #target: ListenTarget;
  readonly #ask: Ask;
  readonly #forget: () => void;
  readonly #streams = new Map<number, ListenedStream>();
  /** Over, but for the audio that the news of it overtook: until its last frame. */
  readonly #ending = new Map<number, ListenedStream>();
  #wanted = true;

  constructor(target: ListenTarget, ask: Ask, forget: () => void) {
    super();
    this.#target = target;
    this.#ask = ask;
    this.#forget = forget;
    this.#start();
  }

  get streams(): ListenedStream[] {
    return [...this.#streams.values()];
  }

  stop(): void {
    this.#wanted = false;
    this.#forget();
    if (this.id) this.#ask({ type: "listen_stop", listener_id: this.id }, "listening_stopped").catch(() => {});
    this.id = null;
  }

  #start(): void {
    const t = this.#target;
    const command: ListenStartCommand =
      "streamId" in t ? { type: "listen_start", stream_id: t.streamId } : { type: "listen_start", conversation_id: t.conversationId };
    this.#ask(command, "listening").then(
      (answer) => {
        this.id = answer.listener_id;
        if (!this.#wanted) return this.stop();
        this.#streams.clear();
        this.#ending.clear();
        answer.streams.forEach((s) => this.#streams.set(s.stream_index, s));
        this.emit("streams", this.streams);
      },
      (error: Error) => this.#over(error),
    );
  }

  #over(error: Error | null): void {
    this.#wanted = false;
    this.#forget();
    this.emit("stopped", error);
  }

  handle(event: ListeningChangedEvent | ListeningStoppedEvent): void {
    if (event.listener_id !== this.id) return;
    if (event.type === "listening_stopped") return this.#over(null);
    for (const index of event.removed) {
      const stream = this.#streams.get(index);
      if (stream) this.#ending.set(index, stream);
      this.#streams.delete(index);
    }
    for (const stream of event.added) {
      this.#streams.set(stream.stream_index, stream);
      this.#ending.delete(stream.stream_index); // a number that is given again
    }
    this.emit("streams", this.streams);
  }

  hear(audio: HeardAudio): void {
    const stream = this.#streams.get(audio.streamIndex) ?? this.#ending.get(audio.streamIndex);
    if (audio.last) this.#ending.delete(audio.streamIndex);
    if (stream && this.#wanted) this.emit("audio", { audio, stream });
  }

  handleNewSession(): void {
    if (this.id === null) return; // its question is still on the way
    this.id = null;
    this.#start();
  }
}
