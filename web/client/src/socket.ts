// One socket at a time: what goes through it, and whether it is alive. Knows of messages only the ping.

/** What is used of a WebSocket: the browser's, and `ws` in Node. */
interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string | ArrayBufferView<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A class of WebSockets. What it makes is not typed: platforms and `ws` type their events differently, and behave alike. */
export type SocketClass = new (url: string, protocols?: string[]) => unknown;

/** Bytes that may wait in the socket: what lies there cannot be called back. */
const BUFFERED_BYTES = 256 * 1024;

/** Milliseconds for an answer where there is a reason to doubt the line. */
const PROBE_MS = 3_000;

/** Milliseconds after the question: what is heard earlier and is no answer may have been on its way before. */
const STALE_MS = 1_000;

export interface Heartbeat {
  /** Milliseconds between pings. */
  heartbeatMs?: number;
  /** Milliseconds without any sign after a ping until the line counts as dead. */
  deadAfterMs?: number;
}

/** Who uses the socket. */
export interface SocketUser {
  hear(text: string): void;
  hearAudio(frame: ArrayBuffer): void;
  /** It is gone, or was found dead. It has been left already. */
  dropped(code: number, reason: string): void;
  /** Whether there is a session: before, even silence without a ping tells. */
  isReady(): boolean;
}

export class Socket {
  readonly #user: SocketUser;
  readonly #heartbeatMs: number;
  readonly #deadAfterMs: number;
  #socket: SocketLike | null = null;
  #heart: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #pingedAt = 0;
  /** When the newest ping that was answered was sent. */
  #answeredAt = 0;
  #probing: ReturnType<typeof setTimeout> | undefined;
  /** There was another reason to ask while an answer was waited for. */
  #doubted = false;

  constructor(user: SocketUser, { heartbeatMs = 5_000, deadAfterMs = 10_000 }: Heartbeat) {
    this.#user = user;
    this.#heartbeatMs = heartbeatMs;
    this.#deadAfterMs = deadAfterMs;
  }

  /** The socket of now, to be compared with the one of later. */
  get current(): object | null {
    return this.#socket;
  }

  get hasRoom(): boolean {
    return this.#socket !== null && this.#socket.bufferedAmount < BUFFERED_BYTES;
  }

  dial(Class: SocketClass, url: string): void {
    const socket = new Class(url, ["voxgate.v1"]) as SocketLike;
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heardAt = Date.now();
    this.#pingedAt = this.#answeredAt = 0;
    socket.onmessage = (event: { data: unknown }) => {
      if (socket !== this.#socket) return;
      this.#heardAt = Date.now();
      if (typeof event.data === "string") this.#user.hear(event.data);
      else if (event.data instanceof ArrayBuffer) this.#user.hearAudio(event.data);
    };
    socket.onclose = (event: { code: number; reason: string }) => {
      if (socket === this.#socket) this.#drop(4999, "", event.code, event.reason);
    };
    socket.onerror = () => {}; // a close follows and says more
    clearInterval(this.#heart);
    this.#heart = setInterval(() => this.#beat(), this.#heartbeatMs);
  }

  /** Sends if the line is there; it is not kept otherwise. */
  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket?.readyState === 1) this.#socket.send(data);
  }

  /** Parts with the socket, which may take minutes to notice: nothing of it is heard any more. */
  leave(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#heart);
    clearTimeout(this.#probing);
    this.#probing = undefined;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    try {
      socket.close(code, reason);
    } catch {
      // it was never open
    }
  }

  /** The answer came to the ping that was sent then. */
  answered(sentAt: number): void {
    this.#answeredAt = sentAt;
  }

  /**
   * Asks at once whether it is alive: a network that changed kills lines without a word. The answer tells, or what is heard a while
   * later, where much is on its way before the answer. What a page that slept reads first tells nothing: it is of before.
   */
  probe(): void {
    this.#doubted = true;
    if (this.#socket?.readyState === 1 && this.#probing === undefined) this.#ask();
  }

  #ask(): void {
    this.#doubted = false;
    const askedAt = Date.now();
    this.#ping(askedAt);
    this.#probing = setTimeout(() => {
      this.#probing = undefined;
      const hasSlept = Date.now() - askedAt > PROBE_MS + STALE_MS;
      const isAlive = this.#answeredAt >= askedAt || this.#heardAt - askedAt >= STALE_MS;
      if (!isAlive && !hasSlept) this.#dead();
      else if (hasSlept || this.#doubted) this.#ask();
    }, PROBE_MS);
  }

  #drop(sayCode: number, sayReason: string, code: number, reason: string): void {
    this.leave(sayCode, sayReason);
    this.#user.dropped(code, reason);
  }

  #beat(): void {
    const now = Date.now();
    // Only a ping that was sent long ago and followed by silence tells: a page in the background wakes seldom, and late.
    const unanswered = this.#pingedAt > this.#heardAt;
    const sinceHeard = now - this.#heardAt;
    if ((unanswered && now - this.#pingedAt >= this.#deadAfterMs) || (!this.#user.isReady() && sinceHeard >= this.#deadAfterMs)) {
      return this.#dead();
    }
    if (!unanswered && this.#socket?.readyState === 1) this.#ping(now);
  }

  #ping(now: number): void {
    this.#pingedAt = now;
    this.send(JSON.stringify({ type: "ping", payload: String(now) }));
  }

  #dead(): void {
    this.#drop(4999, "no answer", 1006, "the line is dead: no answer to a ping");
  }
}

/** Where the socket of a server is: `url` may be of the page's host, of http, or without a path. */
export function socketUrl({ url, clientId }: { url: string; clientId?: string }): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  const address = new URL(url, base);
  address.protocol = address.protocol.replace(/^http/, "ws");
  if (!/\/ws(\/|$)/.test(address.pathname)) address.pathname = address.pathname.replace(/\/?$/, "/ws");
  if (clientId) address.searchParams.set("client_id", clientId);
  return address.href;
}
