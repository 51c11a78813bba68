// A real server, a network that can be cut, and WAV files.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const ROOT = new URL("../..", import.meta.url);
export const BINARY = process.env["VOXGATE_BIN"] ?? new URL("target/debug/voxgate", ROOT).pathname;

export interface TestServer {
  /** `http://127.0.0.1:PORT` */
  url: string;
  port: number;
  /** Asks it to end, as a deployment does: streams may end first. */
  drain(): void;
  stop(): Promise<void>;
}

/** Starts the server on a free port, with a data directory of its own. `settings`: `{ "session.resume_window_ms": "100" }`. */
export async function startServer(settings: Record<string, string> = {}): Promise<TestServer> {
  const data = mkdtempSync(join(tmpdir(), "voxgate-web-"));
  const child: ChildProcess = spawn(BINARY, ["serve", "--bind", "127.0.0.1:0", "--data-dir", data], {
    env: { ...process.env, ...Object.fromEntries(Object.entries(settings).map(([k, v]) => [`VOXGATE__${k.replace(".", "__").toUpperCase()}`, v])) },
    stdio: ["ignore", "pipe", process.env["VOXGATE_LOG"] ? "inherit" : "ignore"],
  });
  const exited = once(child, "exit");
  const url = await new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const found = /^listening on (\S+)/.exec(line)?.[1];
      if (found) resolve(found);
    });
  });
  return {
    url,
    port: Number(new URL(url).port),
    drain: () => void child.kill("SIGINT"),
    async stop() {
      child.kill("SIGINT");
      const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await exited;
      clearTimeout(late);
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** A token of the server whose `auth.hs256_secret` it is. */
export function tokenFor(user: string, secret: string, ...roles: string[]): string {
  return spawnSync(BINARY, ["token", "--user", user, ...roles.flatMap((r) => ["--role", r]), "--secret", secret], { encoding: "utf8" }).stdout.trim();
}

/** A network between client and server that can be cut, refused, or made to swallow everything. */
export class FlakyNetwork {
  /** The port behind it. */
  target: number;
  readonly #pairs = new Set<[Socket, Socket]>();
  readonly #lost = new WeakSet<Socket>();
  readonly #server: Server;
  port = 0;
  /** Bytes that went to the server. */
  bytesUp = 0;
  #refuses = false;
  #swallows = false;

  constructor(targetPort: number) {
    this.target = targetPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  async open(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as { port: number }).port;
    return this;
  }

  #accept(client: Socket): void {
    if (this.#refuses) return void client.resetAndDestroy();
    const server = connect(this.target, "127.0.0.1");
    const pair: [Socket, Socket] = [client, server];
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    client.on("data", (bytes) => {
      if (this.#swallows || this.#lost.has(client)) return;
      this.bytesUp += bytes.length;
      server.write(bytes);
    });
    server.on("data", (bytes) => void (this.#swallows || this.#lost.has(client) || client.write(bytes)));
    for (const s of pair) s.on("close", end).on("error", end);
  }

  /** Cuts every connection, as a network does that is gone: without a word. */
  cut(): void {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Off: nothing runs and nothing connects. */
  set down(down: boolean) {
    this.#refuses = down;
    if (down) this.cut();
  }

  /** Somebody walks out of the Wi-Fi: what was connected is dead from then on, without a word, and nothing connects until it is false. */
  set away(away: boolean) {
    this.#refuses = away;
    if (away) for (const pair of this.#pairs) this.#lost.add(pair[0]);
  }

  /** Dead: connections seem to be there, nothing comes through. */
  set dead(dead: boolean) {
    this.#swallows = dead;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

export interface Wav {
  rate: number;
  channels: number;
  samples: Int16Array;
}

/** Reads 16-bit PCM out of a WAV file. */
export function readWav(bytes: Uint8Array): Wav {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let rate = 0;
  let channels = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = String.fromCharCode(...bytes.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    if (id === "fmt ") {
      channels = view.getUint16(at + 10, true);
      rate = view.getUint32(at + 12, true);
    } else if (id === "data") {
      return { rate, channels, samples: new Int16Array(Uint8Array.from(bytes.subarray(at + 8, at + 8 + size)).buffer) };
    }
    at += 8 + size + (size & 1);
  }
  throw new Error("no samples in this file");
}

export function writeWav({ rate, channels, samples }: Wav): Uint8Array {
  const out = new Uint8Array(44 + samples.length * 2);
  const view = new DataView(out.buffer);
  const text = (at: number, s: string) => [...s].forEach((c, i) => (out[at + i] = c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, out.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  new Int16Array(out.buffer, 44).set(samples);
  return out;
}

/** The rate of recordings where nobody asks for another. */
export const OUT_RATE = 16_000;

/** A file as the server's own resampler has it. */
export async function decoded(server: { url: string }, wav: Uint8Array): Promise<Int16Array> {
  const response = await fetch(`${server.url}/api/decode?output_rate=${OUT_RATE}`, { method: "POST", body: new Uint8Array(wav) });
  if (!response.ok) throw new Error(`${response.status}`);
  return readWav(new Uint8Array(await response.arrayBuffer())).samples;
}

export async function recording(server: { url: string }, id: string): Promise<Wav> {
  const response = await fetch(`${server.url}/api/recordings/${id}.wav`);
  if (!response.ok) throw new Error(`${response.status}`);
  return readWav(new Uint8Array(await response.arrayBuffer()));
}

/** A microphone for the browser to speak with: 48 kHz, every sample of 16 kHz three times, so that what is left of it at 16 kHz is plain. */
export function microphoneFile(path: string, samples: Int16Array): void {
  const tripled = Int16Array.from({ length: samples.length * 3 }, (_, i) => samples[Math.floor(i / 3)] as number);
  writeFileSync(path, writeWav({ rate: 48_000, channels: 1, samples: tripled }));
}

/** Seconds of a sound in which every moment is unlike every other: noise from fixed numbers, under a slow swell. */
export function noise(seconds: number, rate: number): Int16Array {
  let state = 12_345;
  return Int16Array.from({ length: seconds * rate }, (_, i) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.round((state / 0x40000000 - 1) * 9_000 * (0.6 + 0.4 * Math.sin(i / rate)));
  });
}

export const bytesOf = (samples: Int16Array) => new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
