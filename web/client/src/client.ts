// The client: says hello, proves who it is, comes back after a drop and resumes its session, with its streams, listeners and conversations.

import { type Return, Backoff, type BackoffOptions, afterClose, retryAfter } from "./close.js";
import { Emitter } from "./emitter.js";
import { type HeardAudio, parseAudio } from "./frames.js";
import { Listener, type ListenTarget } from "./listener.js";
import type { ClientMessage, ConnectionEstablishedEvent, ServerMessage, SessionInfo, Topic } from "./protocol.js";
import { type ByType, Refused, type Request, Requests } from "./requests.js";
import { type Heartbeat, Socket, type SocketClass, socketUrl } from "./socket.js";
import { AudioStream, type Line, type StreamOptions } from "./stream.js";
import { watchSurroundings } from "./surroundings.js";

/** How soon to look again whether the socket took what waited. */
const LATER_MS = 10;
/** A token is renewed so long before its end. */
const RENEW_MS = 30_000;

export interface ClientOptions extends Heartbeat {
  /** The server: `wss://host`, `https://host`, or the whole address of its socket. */
  url: string;
  /** A JSON Web Token, or what fetches a fresh one. */
  token?: string | (() => string | null | Promise<string | null>);
  clientId?: string;
  /** Conversations to be in. */
  conversations?: string[];
  /** Events to hear besides those that come unasked. */
  events?: Topic[];
  /** Where there is none of the platform's own: `import { WebSocket } from "ws"`. */
  WebSocket?: SocketClass;
  backoff?: BackoffOptions;
}

export type State =
  | { name: "idle" }
  | { name: "connecting"; attempt: number }
  | { name: "open"; resumed: boolean }
  | { name: "waiting"; retryInMs: number; code: number; reason: string }
  | { name: "closed"; code: number; reason: string };

export interface OwnEvents {
  state: State;
  /** Milliseconds there and back. */
  round_trip: number;
  /** Every message of the server. */
  any: ServerMessage;
}
export type ClientEvents = ByType & OwnEvents;

export class VoxgateClient extends Emitter<ClientEvents> {
  readonly #options: ClientOptions;
  readonly #backoff: Backoff;
  readonly #streams = new Set<AudioStream>();
  readonly #listeners = new Set<Listener>();
  readonly #conversations: Set<string>;
  readonly #topics: Set<Topic>;
  readonly #socket: Socket;
  readonly #requests = new Requests((message) => this.send(message));
  readonly #line: Line;
  #state: State = { name: "idle" };
  #hello: ConnectionEstablishedEvent | null = null;
  #session: SessionInfo | null = null;
  #lastSeq = 0;
  /** The newest `seq` of a socket whose session is not settled yet. */
  #strangeSeq = 0;
  #settled = false;
  #ready = false;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #later: ReturnType<typeof setTimeout> | undefined;
  #replay: { left: number; done: () => void } | null = null;
  #unwatch = () => {};

  constructor(options: ClientOptions) {
    super();
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
    this.#conversations = new Set(options.conversations);
    this.#topics = new Set(options.events);
    this.#socket = new Socket(
      {
        hear: (text) => this.#hear(text),
        hearAudio: (frame) => this.#hearAudio(parseAudio(frame)),
        dropped: (code, reason) => this.#dropped(code, reason),
        isReady: () => this.#ready,
      },
      options,
    );
    this.#line = {
      ready: () => this.#ready && this.#socket.hasRoom,
      send: (message) => this.send(message),
      sendBinary: (bytes) => this.#socket.send(bytes),
      later: () => {
        this.#later ??= setTimeout(() => {
          this.#later = undefined;
          this.#pumpAll();
        }, LATER_MS);
      },
      nextId: () => this.#requests.nextId(),
    };
  }

  get state(): State {
    return this.#state;
  }

  /** The server's greeting, once there was one. */
  get hello(): ConnectionEstablishedEvent | null {
    return this.#hello;
  }

  get conversations(): ReadonlySet<string> {
    return this.#conversations;
  }

  /** Connects, and from then on comes back by itself. Resolves when it is open; rejects where coming back is no use. */
  connect(): Promise<void> {
    if (this.#state.name === "open") return Promise.resolve();
    const done = new Promise<void>((resolve, reject) => {
      const off = this.on("state", (state) => {
        if (state.name !== "open" && state.name !== "closed") return;
        off();
        if (state.name === "open") resolve();
        else reject(new Error(state.reason || `closed with ${state.code}`));
      });
    });
    if (this.#state.name === "idle" || this.#state.name === "closed") {
      this.#unwatch();
      const mayConnect = () => this.#state.name === "waiting" && globalThis.navigator?.onLine !== false;
      this.#unwatch = watchSurroundings(() => (mayConnect() ? this.reconnectNow() : this.#socket.probe()));
      this.#dial();
    }
    return done;
  }

  /** Says goodbye: the session ends, its streams with it. */
  close(): void {
    this.#leave(1000, "");
    this.#end(1000, "closed by the client");
  }

  /** Tries at once instead of at the end of the wait. */
  reconnectNow(): void {
    if (this.#state.name !== "waiting") return;
    clearTimeout(this.#retry);
    this.#dial();
  }

  /** Sends a message if the line is there; it is not kept otherwise. */
  send(message: ClientMessage): void {
    this.#socket.send(JSON.stringify(message));
  }

  /**
   * Sends a message and resolves with its answer of the type `wants`, over drops too; rejects with `Refused`, or where the client is closed.
   * A `text` alone is not sent again after a drop: it would be answered twice.
   */
  request<T extends ServerMessage["type"]>(command: Request, wants: T): Promise<ByType[T]> {
    if (this.#state.name === "closed") return Promise.reject(new Error("the client is closed"));
    return this.#requests.ask(command, wants, this.#ready);
  }

  async join(conversationId: string) {
    this.#conversations.add(conversationId);
    return this.request({ type: "join_conversation", conversation_id: conversationId }, "conversation_joined");
  }

  async leave(conversationId: string) {
    this.#conversations.delete(conversationId);
    return this.request({ type: "leave_conversation", conversation_id: conversationId }, "conversation_left");
  }

  /** Says something in a conversation. Sent again after a drop, and done once. */
  say(conversationId: string, content: unknown) {
    return this.request({ type: "message", conversation_id: conversationId, content }, "message_accepted");
  }

  async subscribe(...topics: Topic[]) {
    topics.forEach((t) => this.#topics.add(t));
    return this.request({ type: "subscribe_events", events: topics }, "subscription_updated");
  }

  async unsubscribe(...topics: Topic[]) {
    topics.forEach((t) => this.#topics.delete(t));
    return this.request({ type: "unsubscribe_events", events: topics }, "subscription_updated");
  }

  /** Opens a stream. It takes audio from now on, connected or not. */
  openStream(options: StreamOptions): AudioStream {
    const stream = new AudioStream(this.#line, options);
    this.#streams.add(stream);
    void stream.ended.then(() => this.#streams.delete(stream));
    stream.pump();
    return stream;
  }

  /** Hears a stream, or every stream of a conversation, over drops too. */
  listen(target: ListenTarget): Listener {
    const listener: Listener = new Listener(target, (command, wants) => this.request(command, wants), () => this.#listeners.delete(listener));
    this.#listeners.add(listener);
    return listener;
  }

  #setState(state: State): void {
    this.#state = state;
    this.emit("state", state);
  }

  // --- the socket ---

  #dial(): void {
    this.#attempt += 1;
    this.#setState({ name: "connecting", attempt: this.#attempt });
    const Class = this.#options.WebSocket ?? (globalThis as unknown as { WebSocket?: SocketClass }).WebSocket;
    if (!Class) throw new Error("no WebSocket here: give one in the options");
    this.#strangeSeq = 0;
    this.#settled = false;
    this.#socket.dial(Class, socketUrl(this.#options));
  }

  /** Parts with the socket, and with what was to come on it. */
  #leave(code: number, reason: string): void {
    this.#ready = false;
    this.#replay = null;
    this.#requests.handleDropped();
    clearTimeout(this.#renewal);
    this.#socket.leave(code, reason);
  }

  #dropped(code: number, reason: string): void {
    this.#leave(4999, "");
    this.#streams.forEach((s) => s.handleDropped());
    const how: Return = afterClose(code);
    if (how === "never") return this.#end(code, reason);
    const retryInMs = this.#backoff.next(how, retryAfter(reason));
    this.#setState({ name: "waiting", retryInMs, code, reason });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#dial(), retryInMs);
  }

  #end(code: number, reason: string): void {
    this.#leave(1000, "");
    clearTimeout(this.#retry);
    this.#unwatch();
    this.#session = null;
    this.#requests.failAll(reason || `closed with ${code}`);
    this.#streams.forEach((s) => s.handleClosed());
    this.#setState({ name: "closed", code, reason });
  }

  // --- what is heard ---

  #hear(text: string): void {
    const message = JSON.parse(text) as ServerMessage;
    if ("seq" in message && typeof message.seq === "number") {
      if (this.#settled) this.#lastSeq = message.seq;
      else this.#strangeSeq = message.seq;
    }
    this.#handle(message);
    this.emit("any", message);
    this.emit(message.type, message as never);
    if (this.#replay && "seq" in message && --this.#replay.left === 0) {
      this.#replay.done();
      this.#replay = null;
    }
  }

  #handle(message: ServerMessage): void {
    switch (message.type) {
      case "connection_established":
        void this.#greeted(message);
        break;
      case "ping":
        this.send({ type: "pong" });
        break;
      case "pong": {
        const sentAt = Number(message.payload);
        if (!(sentAt > 0)) break; // the answer to a ping of who uses this
        this.#socket.answered(sentAt);
        this.emit("round_trip", Math.max(0, Date.now() - sentAt));
        break;
      }
      case "authenticated":
        this.#renewBefore(message.expires_at);
        break;
      case "audio_started":
        this.#stream(message.stream_id)?.handleStarted(message);
        break;
      case "audio_received":
        this.#stream(message.stream_id)?.handleReceived(message);
        break;
      case "audio_ended":
        this.#stream(message.stream_id)?.handleEnded(message);
        break;
      case "listening_changed":
      case "listening_stopped":
        this.#listeners.forEach((l) => l.handle(message));
        break;
      case "error":
        this.#streams.forEach((s) => s.handleError(message));
        break;
    }
    this.#requests.handle(message);
  }

  #hearAudio(audio: HeardAudio | null): void {
    if (audio) this.#listeners.forEach((l) => l.hear(audio));
  }

  #stream(name: string): AudioStream | undefined {
    for (const s of this.#streams) if (s.name === name) return s;
    return undefined;
  }

  // --- from the greeting to an open session ---

  async #greeted(hello: ConnectionEstablishedEvent): Promise<void> {
    const socket = this.#socket.current;
    const stillHere = () => socket === this.#socket.current;
    try {
      if (this.#options.token !== undefined) await this.#authenticate();
    } catch (error) {
      if (!stillHere()) return;
      const again = typeof this.#options.token === "function" && !(error instanceof Refused && error.code === "FORBIDDEN");
      this.#leave(4999, "not authenticated");
      this.#dropped(again ? 4100 : 4001, error instanceof Error ? error.message : "not authenticated");
      return;
    }
    if (!stillHere()) return;
    const resumed = this.#session !== null && (await this.#resume(this.#session));
    if (!stillHere()) return;
    if (!resumed) {
      const before = this.#session;
      this.#session = hello.session;
      this.#lastSeq = this.#strangeSeq;
      this.#settled = true;
      this.#hello = hello;
      if (before) this.#streams.forEach((s) => s.handleSessionLost());
    }
    this.#ready = true;
    this.#attempt = 0;
    this.#backoff.reset();
    if (resumed) this.#requests.sendAgain();
    else this.#begin();
    this.#setState({ name: "open", resumed });
    this.#pumpAll();
  }

  /** A new session knows nothing of before. What it must know comes first, now and should the line drop before the answer. */
  #begin(): void {
    const unasked = () => {}; // who asked nothing is told by the event `error`
    this.#requests.sendAllAfter((unanswered) => {
      if (this.#topics.size > 0) this.request({ type: "subscribe_events", events: [...this.#topics] }, "subscription_updated").catch(unasked);
      for (const id of this.#conversations) {
        const already = unanswered.some((c) => c.type === "join_conversation" && c.conversation_id === id);
        if (!already) this.request({ type: "join_conversation", conversation_id: id }, "conversation_joined").catch(unasked);
      }
    });
    this.#listeners.forEach((l) => l.handleNewSession());
  }

  /** Resolves once the session goes on and all that was missed has been said; false where it is lost. */
  async #resume(session: SessionInfo): Promise<boolean> {
    let replayed = Promise.resolve();
    const command: ClientMessage = { type: "resume", session_id: session.id, resume_token: session.resume_token, last_seq: this.#lastSeq };
    const answer = await this.#requests.askHere(command, (event) => {
      if (event.type !== "resumed") return;
      // At once, for what is replayed comes right behind it.
      this.#session = event.session;
      this.#settled = true;
      if (event.replayed > 0) replayed = new Promise((done) => (this.#replay = { left: event.replayed, done }));
    });
    if (answer.type !== "resumed") return false;
    await replayed;
    this.#streams.forEach((s) => s.handleResumed(answer.streams));
    return true;
  }

  async #authenticate(): Promise<void> {
    const { token } = this.#options;
    const socket = this.#socket.current;
    const text = typeof token === "function" ? await token() : token;
    if (!text || socket !== this.#socket.current) return;
    const answer = await this.#requests.askHere({ type: "authenticate", token: text });
    if (answer.type !== "error" || answer.code === "INVALID_MESSAGE") return; // the latter: this server takes no tokens
    throw new Refused(answer);
  }

  #renewBefore(expiresAt: string | null): void {
    clearTimeout(this.#renewal);
    if (!expiresAt || typeof this.#options.token !== "function") return;
    const left = Date.parse(expiresAt) - Date.now() - RENEW_MS;
    const LONGEST_MS = 2 ** 31 - 1; // a timer's
    this.#renewal = setTimeout(() => void this.#authenticate().catch(() => {}), Math.min(LONGEST_MS, Math.max(1_000, left)));
  }

  #pumpAll(): void {
    this.#streams.forEach((s) => s.pump());
  }
}
