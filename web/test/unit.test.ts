// The parts of the client library, each by itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AudioRing, AudioStream, Backoff, Listener, type StreamOptions, afterClose, parseAudio } from "../client/src/index.js";
import { base64 } from "../client/src/base64.js";
import { retryAfter } from "../client/src/close.js";
import { Emitter } from "../client/src/emitter.js";
import { tagged } from "../client/src/frames.js";
import { Socket } from "../client/src/socket.js";
import { watchSurroundings } from "../client/src/surroundings.js";
import type { AudioEndedEvent, AudioReceivedEvent, AudioStartedEvent, ClientMessage, ErrorEvent, ListenedStream, ListeningEvent } from "../client/src/protocol.js";
import { compare, follow } from "./sound.js";
import { noise } from "./support.js";

test("the ring keeps what is not acknowledged, by position", () => {
  const ring = new AudioRing(10);
  assert.ok(ring.push(Uint8Array.of(0, 1, 2, 3)));
  assert.ok(ring.push(Uint8Array.of(4, 5, 6)));
  assert.equal(ring.push(Uint8Array.of(7, 8, 9, 10)), false, "eleven do not fit in ten");
  assert.ok(ring.push(Uint8Array.of(7, 8, 9)));
  assert.deepEqual([ring.start, ring.end, ring.bytes], [0, 10, 10]);
  ring.release(5);
  assert.equal(ring.at(4), null, "it is gone");
  assert.deepEqual([...ring.at(5)!], [5, 6]);
  assert.deepEqual([...ring.at(8)!], [8, 9]);
  assert.equal(ring.at(10), null, "there is no more yet");
  ring.release(3);
  assert.equal(ring.start, 5, "an old acknowledgement brings nothing back");
  ring.release(99);
  assert.deepEqual([ring.start, ring.end, ring.bytes], [10, 10, 0]);
  assert.ok(ring.push(new Uint8Array(50)), "an empty ring takes any piece: otherwise it would never go on");
});

test("every position of many pieces is found", () => {
  const ring = new AudioRing(1_000_000);
  for (let i = 0, at = 0; i < 500; at += 1 + (i % 7), i++) {
    ring.push(Uint8Array.from({ length: 1 + (i % 7) }, (_, k) => (at + k) % 251));
  }
  ring.release(777);
  for (let at = 777; at < ring.end; at++) assert.equal(ring.at(at)![0], at % 251);
});

test("close codes say whether to come back", () => {
  for (const code of [1000, 1002, 1003, 1007, 1009, 4001, 4003, 4005, 4009, 4010]) assert.equal(afterClose(code), "never", `${code}`);
  for (const code of [1001, 1006, 1012, 4202]) assert.equal(afterClose(code), "at_once", `${code}`);
  for (const code of [1008, 1011, 1013, 4108, 4111, 4129]) assert.equal(afterClose(code), "back_off", `${code}`);
  assert.equal(retryAfter("the server's memory is in use; retry after 2000 ms"), 2_000);
  assert.equal(retryAfter("bye"), 0);
});

test("waits double up to an end, are spread, and begin anew", () => {
  const most = new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 1 });
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => most.next("back_off")), [100, 200, 400, 800, 1_000, 1_000]);
  const least = new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 0 });
  assert.deepEqual([least.next("at_once"), least.next("at_once"), least.next("back_off")], [0, 100, 200], "at once is so once");
  assert.equal(least.next("back_off", 5_000), 5_000, "the server knows better");
  most.reset();
  assert.equal(most.next("back_off"), 100);
});

test("base64 is what Node makes of it", () => {
  for (const length of [0, 1, 2, 3, 100_000]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 31) & 255);
    assert.equal(base64(bytes), Buffer.from(bytes).toString("base64"));
  }
});

test("audio down is read, and what is not known is left alone", () => {
  const frame = new ArrayBuffer(22);
  const view = new DataView(frame);
  view.setUint8(0, 1);
  view.setUint8(1, 1);
  view.setUint16(2, 513, true);
  view.setUint32(4, 1, true);
  view.setBigUint64(8, 5_000_000_000n, true);
  [-1, 32_767, -32_768].forEach((s, i) => view.setInt16(16 + 2 * i, s, true));
  assert.deepEqual(parseAudio(frame), { streamIndex: 513, position: 5_000_000_000, samples: Int16Array.of(-1, 32_767, -32_768), dropped: true, last: false });
  view.setUint8(1, 2);
  assert.equal(parseAudio(frame), null);
  assert.equal(parseAudio(new ArrayBuffer(15)), null);
  assert.deepEqual([...tagged(258, Uint8Array.of(9))], [2, 1, 0, 0, 9]);
});

test("a listener that throws takes nothing from the others", () => {
  class Source extends Emitter<{ x: number }> {
    say = (n: number) => this.emit("x", n);
  }
  const source = new Source();
  const heard: number[] = [];
  source.on("x", () => {
    throw new Error("mine");
  });
  const off = source.on("x", (n) => heard.push(n));
  const surfaced: unknown[] = [];
  globalThis.reportError = (e: unknown) => void surfaced.push(e);
  source.say(1);
  off();
  assert.deepEqual(heard, [1]);
  assert.equal(String(surfaced), "Error: mine");
});

/** A stream on a line that only notes what is said. */
function setUp(options: Partial<StreamOptions> = {}, eachFrame = (_: Uint8Array) => {}) {
  const said: ClientMessage[] = [];
  const audio: number[] = [];
  const line = { up: true, ids: 0 };
  const stream = new AudioStream(
    {
      ready: () => line.up,
      send: (m) => void said.push(m),
      sendBinary: (b) => {
        audio.push(...b.subarray(4));
        eachFrame(b.subarray(4));
      },
      later: () => {},
      nextId: () => `i${++line.ids}`,
    },
    { name: "s", format: { encoding: "pcm_s16le", sample_rate: 8_000, channels: 1 }, ...options },
  );
  const started = (index = 0) => stream.handleStarted({ type: "audio_started", stream_id: "s", stream_uid: "u", stream_index: index } as AudioStartedEvent);
  const received = (bytes: number) => stream.handleReceived({ type: "audio_received", stream_id: "s", received_bytes: bytes } as AudioReceivedEvent);
  const ended = (reason: AudioEndedEvent["reason"], bytes: number) => stream.handleEnded({ type: "audio_ended", reason, stream_id: "s", received_bytes: bytes } as AudioEndedEvent);
  return { said, audio, line, stream, started, received, ended };
}
const types = (said: ClientMessage[]) => said.splice(0).map((m) => m.type);

test("a stream takes audio before there is a line, and goes on from where the server stands", () => {
  const { said, audio, line, stream, started, received } = setUp();
  line.up = false;
  stream.push(Uint8Array.of(1, 2, 3, 4));
  assert.deepEqual(said, []);
  line.up = true;
  stream.pump();
  stream.pump();
  assert.deepEqual(types(said), ["audio_start"], "asked once");
  started();
  received(2);
  assert.deepEqual(audio.splice(0), [1, 2, 3, 4]);
  assert.deepEqual(stream.progress, { pushed: 4, sent: 4, acknowledged: 2, refused: 0 });
  line.up = false;
  stream.handleDropped();
  stream.push(Uint8Array.of(5, 6));
  line.up = true;
  stream.handleResumed([{ stream_id: "s", stream_index: 0, received_bytes: 3 }]);
  stream.pump();
  assert.deepEqual(audio.splice(0), [4, 5, 6], "from the very byte");
});

test("a question whose answer the drop took is asked again by the same id", () => {
  const { said, line, stream, started } = setUp();
  stream.pump();
  const first = said.splice(0)[0];
  line.up = false;
  stream.handleDropped();
  line.up = true;
  stream.handleResumed([]);
  stream.pump();
  assert.deepEqual(said.splice(0)[0], first);
  started();
  void stream.end();
  assert.deepEqual(types(said), ["audio_end"]);
  stream.handleDropped();
  stream.handleResumed([{ stream_id: "s", stream_index: 0, received_bytes: 0 }]);
  stream.pump();
  assert.deepEqual(types(said), ["audio_end"], "the server has not heard of the end");
});

test("an answer that is replayed counts, before the question is asked again", () => {
  const { said, audio, line, stream, started } = setUp();
  stream.push(Uint8Array.of(1, 2));
  line.up = false;
  stream.handleDropped();
  started(3);
  stream.handleResumed([{ stream_id: "s", stream_index: 3, received_bytes: 0 }]);
  line.up = true;
  stream.pump();
  assert.deepEqual([types(said), audio, stream.uid], [["audio_start"], [1, 2], "u"]);
});

test("samples go on as another stream where the session is lost, from a whole sample", () => {
  const { said, audio, stream, started, received } = setUp();
  stream.push(Uint8Array.of(1, 2, 3, 4, 5, 6));
  started();
  received(3);
  audio.length = said.length = 0;
  const from: number[] = [];
  stream.on("continued", (e) => from.push(e.from));
  stream.handleDropped();
  stream.handleSessionLost();
  assert.deepEqual(from, [2]);
  assert.deepEqual(types(said), ["audio_start"]);
  started(7);
  assert.deepEqual(audio, [3, 4, 5, 6]);
  received(4);
  assert.equal(stream.progress.acknowledged, 6);
});

test("Opus packets stay whole, and go on between two of them where the session is lost", async () => {
  const frames: number[][] = [];
  const { said, stream, started, received } = setUp({ format: { encoding: "opus", sample_rate: 48_000, channels: 2 } }, (b) => frames.push([...b]));
  stream.push(Uint8Array.of(1, 2, 3));
  await stream.write(new Uint8Array(40_000).fill(4));
  stream.push(Uint8Array.of(5));
  started();
  assert.deepEqual(frames.map((f) => f.length), [3, 40_000, 1]);
  received(3);
  frames.length = said.length = 0;
  stream.handleDropped();
  stream.handleSessionLost();
  assert.deepEqual(types(said), ["audio_start"]);
  started(7);
  assert.deepEqual(frames.map((f) => f.length), [40_000, 1]);
});

test("a container cannot begin in its middle", async () => {
  const { stream, started, received } = setUp({ format: { encoding: "webm" } });
  stream.push(Uint8Array.of(1, 2, 3));
  started();
  stream.handleSessionLost();
  assert.equal(stream.isOver, false, "nothing was acknowledged: it begins anew from its beginning");
  started();
  received(2);
  stream.handleSessionLost();
  assert.equal(await stream.ended, null);
});

test("a drained stream goes on elsewhere with what was not decoded; one that was ended is over", async () => {
  const { said, stream, started, ended } = setUp();
  stream.push(Uint8Array.of(1, 2, 3, 4));
  started();
  ended("drained", 2);
  assert.deepEqual(types(said), ["audio_start", "audio_start"]);
  started();
  void stream.end();
  ended("end", 2);
  assert.equal((await stream.ended)?.reason, "end");
  assert.deepEqual(stream.progress, { pushed: 4, sent: 4, acknowledged: 4, refused: 0 });
  assert.equal(stream.push(Uint8Array.of(1)), false);
});

test("a full ring refuses and says so; who can wait, waits", async () => {
  const { stream, started, received } = setUp({ ringBytes: 4 });
  started();
  stream.pump();
  started();
  assert.ok(stream.push(Uint8Array.of(1, 2, 3, 4)));
  assert.equal(stream.push(Uint8Array.of(5, 6)), false);
  assert.equal(stream.progress.refused, 2);
  let written = false;
  const writing = stream.write(Uint8Array.of(7, 8)).then(() => (written = true));
  await Promise.resolve();
  assert.equal(written, false);
  received(2);
  await writing;
  assert.equal(stream.progress.pushed, 6);
});

test("a refused stream is over, one that may come later is asked for again", async () => {
  const first = setUp();
  first.stream.pump();
  const refuse = (id: string | undefined, retry: boolean) => ({ type: "error", code: "OVERLOADED", reply_to: id, retry_suggested: retry, retry_after_ms: 1 }) as ErrorEvent;
  first.stream.handleError(refuse(first.said[0]?.id ?? undefined, true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(types(first.said), ["audio_start", "audio_start"]);
  const second = setUp();
  second.stream.pump();
  second.stream.handleError(refuse(second.said[0]?.id ?? undefined, false));
  assert.equal(await second.stream.ended, null);
});

test("the tests of sound tell where a chunk is lost or is there twice", () => {
  const [rate, hz] = [16_000, 48_000 / 941];
  const tone = Int16Array.from({ length: 5 * rate }, (_, i) => 9_000 * Math.sin((2 * Math.PI * hz * i) / rate));
  const chunk = rate / 50;
  const cut = (at: number, to: number) => Int16Array.from([...tone.subarray(0, at), ...tone.subarray(to)]);
  const whole = follow(tone, rate, 51, 0, tone.length);
  assert.ok(whole.largestStep < 0.1 && Math.abs(whole.hz - hz) < 0.001, JSON.stringify(whole));
  for (const chunks of [1, 2, 7, 25]) assert.ok(follow(cut(20_000, 20_000 + chunks * chunk), rate, 51, 0, 4 * rate).largestStep > 3, `${chunks} lost`);
  assert.ok(follow(cut(20_000 + chunk, 20_000), rate, 51, 0, 4 * rate).largestStep > 3, "one twice");

  const sound = noise(4, rate);
  const gap = Int16Array.from([...sound.subarray(0, 20_000), ...sound.subarray(20_000 + chunk)]);
  assert.equal(compare(sound, sound, 8_000, 40_000).largestStep, 0);
  assert.equal(compare(gap, sound, 8_000, 40_000).largestStep, chunk);
});

test("a listener hears a stream to its last frame, though the news that it is over overtakes it", async () => {
  const heard: number[] = [];
  const [ada, grace] = [{ stream_index: 3, stream_uid: "a" }, { stream_index: 3, stream_uid: "g" }] as ListenedStream[];
  const answer = { type: "listening", listener_id: "l", streams: [ada] } as ListeningEvent;
  const listener = new Listener({ conversationId: "team" }, (async () => answer) as never, () => {});
  await new Promise((resolve) => setImmediate(resolve));
  listener.on("audio", ({ audio, stream }) => heard.push(audio.position + (stream.stream_uid === "g" ? 100 : 0)));
  const frame = (position: number, last = false) => listener.hear({ streamIndex: 3, position, samples: new Int16Array(1), dropped: false, last });
  const changed = (added: ListenedStream[], removed: number[]) => listener.handle({ type: "listening_changed", listener_id: "l", added, removed } as never);
  frame(0);
  changed([], [3]);
  assert.deepEqual(listener.streams, []);
  frame(1);
  frame(2, true);
  frame(3); // of nobody
  changed([grace as ListenedStream], []);
  frame(4);
  assert.deepEqual(heard, [0, 1, 2, 104]);
});

test("a page that is seen again and another kind of network are hints; an estimate of speed, and what comes after the end, are none", () => {
  const page = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  const connection = Object.assign(new EventTarget(), { type: "wifi" });
  const here = Object.assign(new EventTarget(), { document: page, navigator: { connection } });
  const names = ["document", "navigator", "addEventListener"] as const;
  const before = names.map((n) => Object.getOwnPropertyDescriptor(globalThis, n));
  names.forEach((n) => Object.defineProperty(globalThis, n, { value: n === "addEventListener" ? here.addEventListener.bind(here) : here[n], configurable: true }));
  let hints = 0;
  const end = watchSurroundings(() => (hints += 1));
  const after = (target: EventTarget, event: string) => (target.dispatchEvent(new Event(event)), hints);
  try {
    assert.equal(after(page, "visibilitychange"), 0, "it went away");
    page.visibilityState = "visible";
    assert.equal(after(page, "visibilitychange"), 1);
    assert.equal(after(connection, "change"), 1, "no other kind");
    connection.type = "cellular";
    assert.equal(after(connection, "change"), 2);
    assert.deepEqual(["online", "offline", "pageshow"].map((event) => after(here, event)), [3, 4, 5]);
    assert.equal(after(page, "resume"), 6);
    end();
    assert.equal(after(here, "online"), 6);
  } finally {
    names.forEach((n, i) => (before[i] ? Object.defineProperty(globalThis, n, before[i] as PropertyDescriptor) : Reflect.deleteProperty(globalThis, n)));
  }
});

test("a line that is doubted is alive if it answers, or is heard a while later; what was on its way before tells nothing", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  const after = (sent: (line: { socket: Socket; hear: () => void; pings: number[] }) => void) => {
    let isDead = false;
    const pings: number[] = [];
    class Line {
      readyState = 1;
      onmessage: ((event: { data: string }) => void) | null = null;
      send = (text: string) => void pings.push(Number((JSON.parse(text) as { payload: string }).payload));
      close = () => {};
    }
    const lines: Line[] = [];
    const Class = class extends Line {
      constructor() {
        super();
        lines.push(this);
      }
    };
    const socket = new Socket({ hear: () => {}, hearAudio: () => {}, dropped: () => (isDead = true), isReady: () => true }, { heartbeatMs: 60_000 });
    socket.dial(Class, "ws://there/");
    socket.probe();
    sent({ socket, hear: () => lines[0]!.onmessage?.({ data: "{}" }), pings });
    t.mock.timers.tick(3_000);
    socket.leave(1000, "");
    return isDead ? "dead" : "alive";
  };
  assert.equal(after(() => {}), "dead");
  assert.equal(after(({ hear }) => hear()), "dead", "it lay there before the page woke");
  assert.equal(after(({ socket, pings }) => socket.answered(pings[0]!)), "alive");
  assert.equal(after(({ socket, pings }) => socket.answered(pings[0]! - 1)), "dead", "the answer to an older one");
  assert.equal(after(({ hear }) => (t.mock.timers.tick(2_000), hear())), "alive", "a slow line with much on its way");
  const doubtedAgain = (line: { socket: Socket; pings: number[] }) => {
    line.socket.answered(line.pings[0]!);
    line.socket.probe();
    t.mock.timers.tick(3_000);
  };
  assert.equal(after(doubtedAgain), "dead", "the answer was to what was asked before");
  assert.equal(after((line) => (doubtedAgain(line), line.socket.answered(line.pings[1]!))), "alive");
});
