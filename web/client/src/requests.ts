// Questions and their answers, by `id` and `reply_to`: over drops, or on one socket only.

import type { ClientMessage, ErrorEvent, ServerMessage } from "./protocol.js";

export type ByType = { [M in ServerMessage as M["type"]]: M };

/** What can be asked over drops. */
export type Request = Exclude<ClientMessage, { type: "audio_data" | "pong" | "typing" | "authenticate" | "resume" }>;

/** The server refused a request. */
export class Refused extends Error {
  readonly code: ErrorEvent["code"];
  readonly event: ErrorEvent;
  constructor(event: ErrorEvent) {
    super(event.message);
    this.name = "Refused";
    this.code = event.code;
    this.event = event;
  }
}

interface Pending {
  command: ClientMessage;
  resolve(answer: ServerMessage): void;
  reject(error: Error): void;
  /** The answer's type: others go before it, as `status_update` before a `response`. */
  wants: string;
}

export class Requests {
  readonly #send: (message: ClientMessage) => void;
  readonly #pending = new Map<string, Pending>();
  /** Who waits for an answer on this very socket. */
  readonly #here = new Map<string, (message: ServerMessage) => void>();
  #ids = 0;

  constructor(send: (message: ClientMessage) => void) {
    this.#send = send;
  }

  nextId(): string {
    return `c${++this.#ids}`;
  }

  /** Asks, `now` or when it is sent again, until there is an answer of the type `wants`. */
  ask<T extends ServerMessage["type"]>(command: Request, wants: T, now: boolean): Promise<ByType[T]> {
    const id = command.id ?? this.nextId();
    return new Promise((resolve, reject) => {
      const withId = { ...command, id };
      this.#pending.set(id, { command: withId, resolve: resolve as (a: ServerMessage) => void, reject, wants });
      if (now) this.#send(withId);
    });
  }

  /** Asks on this socket; never resolves where it drops. `look` sees the answer before anything that comes behind it. */
  askHere(command: ClientMessage, look: (message: ServerMessage) => void = () => {}): Promise<ServerMessage> {
    const id = this.nextId();
    return new Promise((resolve) => {
      this.#here.set(id, (message) => {
        this.#here.delete(id);
        look(message);
        resolve(message);
      });
      this.#send({ ...command, id });
    });
  }

  handle(message: ServerMessage): void {
    const to = message.reply_to;
    if (to === undefined) return;
    this.#here.get(to)?.(message);
    const pending = this.#pending.get(to);
    if (!pending) return;
    if (message.type === "error") {
      this.#pending.delete(to);
      pending.reject(new Refused(message));
    } else if (pending.wants === message.type) {
      this.#pending.delete(to);
      pending.resolve(message);
    }
  }

  /** The socket is gone, and the answers that were to come on it. */
  handleDropped(): void {
    this.#here.clear();
  }

  /** The session goes on: asks again what was not answered, by the same ids. A `text` would be answered twice. */
  sendAgain(): void {
    this.#pending.forEach((p) => p.command.type !== "text" && this.#send(p.command));
  }

  /** A session that knows nothing begins: asks what `first` asks, then all that was not answered. */
  sendAllAfter(first: (unanswered: ClientMessage[]) => void): void {
    const unanswered = [...this.#pending];
    this.#pending.clear();
    first(unanswered.map(([, p]) => p.command));
    for (const [id, pending] of unanswered) {
      this.#pending.set(id, pending);
      this.#send(pending.command);
    }
  }

  failAll(why: string): void {
    this.#here.clear();
    this.#pending.forEach((p) => p.reject(new Error(why)));
    this.#pending.clear();
  }
}
