// The client library in Node, against the real server and over a network that fails.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { type AudioStream, VoxgateClient } from "../client/src/index.js";
import { BINARY, FlakyNetwork, ROOT, type TestServer, bytesOf, noise, recording, startServer } from "./support.js";

const RATE = 16_000;
const FORMAT = { encoding: "pcm_s16le", sample_rate: RATE, channels: 1 } as const;
let server: TestServer;
let network: FlakyNetwork;
const clients: VoxgateClient[] = [];

before(async () => {
  server = await startServer();
  network = await new FlakyNetwork(server.port).open();
});
after(async () => {
  clients.forEach((c) => c.close());
  network.close();
  await server.stop();
});

function client(options: Partial<ConstructorParameters<typeof VoxgateClient>[0]> = {}): VoxgateClient {
  const made = new VoxgateClient({
    url: `ws://127.0.0.1:${network.port}`,
    WebSocket,
    backoff: { firstMs: 20, maxMs: 100 },
    ...options,
  });
  clients.push(made);
  return made;
}

/** Pushes sound in pieces of 20 ms, and does something every now and then. */
async function speak(stream: AudioStream, samples: Int16Array, everyPieces: number, doing: () => Promise<void> | void) {
  const piece = (RATE / 50) * 2;
  const bytes = bytesOf(samples);
  for (let i = 0, n = 1; i < bytes.length; i += piece, n++) {
    assert.ok(stream.push(bytes.subarray(i, i + piece)));
    if (n % everyPieces === 0) await doing();
    else if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

for (const transport of ["binary", "base64"] as const) {
  test(`a network that is cut again and again costs not one sample (${transport})`, async () => {
    const c = client();
    await c.connect();
    const sound = noise(6, RATE);
    const stream = c.openStream({ format: FORMAT, ackMs: 40, transport });
    let cuts = 0;
    await speak(stream, sound, 15, async () => {
      network.cut();
      cuts += 1;
      await c.once("state", (s) => s.name === "open");
    });
    const ended = await stream.end();
    assert.equal(ended?.reason, "end");
    assert.equal(ended.received_bytes, sound.byteLength);
    const kept = await recording(server, ended.recording!.id);
    assert.ok(cuts >= 20, `${cuts} cuts`);
    assert.deepEqual(bytesOf(kept.samples), bytesOf(sound));
    c.close();
  });
}

/** The packets of a file in Ogg whose pages hold them one after the other (RFC 3533): head and tags first. */
function packetsOf(file: Uint8Array): Uint8Array[] {
  const packets: Uint8Array[] = [];
  let begun: number[] = [];
  for (let at = 0; at < file.length; ) {
    const segments = file[at + 26] as number;
    let from = at + 27 + segments;
    for (const size of file.subarray(at + 27, from)) {
      begun.push(...file.subarray(from, from + size));
      from += size;
      if (size === 255) continue;
      packets.push(Uint8Array.from(begun));
      begun = [];
    }
    at = from;
  }
  return packets;
}

for (const transport of ["binary", "base64"] as const) {
  test(`bare Opus packets, one a frame, come through cuts as they do without (${transport})`, async () => {
    const packets = packetsOf(readFileSync(new URL("fixtures/recorders/firefox-opus.ogg", ROOT))).slice(2);
    assert.ok(packets.length > 300, `${packets.length}`);
    const kept: Int16Array[] = [];
    for (const cutEvery of [0, 25]) {
      const c = client();
      await c.connect();
      const stream = c.openStream({ format: { encoding: "opus", sample_rate: 48_000, channels: 1 }, ackMs: 40, transport });
      for (const [i, packet] of packets.entries()) {
        assert.ok(stream.push(packet));
        if (i % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        if (cutEvery === 0 || i % cutEvery !== cutEvery - 1) continue;
        network.cut();
        await open(c);
      }
      const ended = await stream.end();
      assert.equal(ended?.received_bytes, packets.reduce((sum, p) => sum + p.length, 0));
      kept.push((await recording(server, ended!.recording!.id)).samples);
      c.close();
    }
    assert.ok((kept[0] as Int16Array).length > 6 * RATE);
    assert.deepEqual(kept[1], kept[0]);
  });
}

const open = (c: VoxgateClient) => c.once("state", (s) => s.name === "open");

test("a line that is dead without a word is found out, and nothing is lost by it", async () => {
  const c = client({ heartbeatMs: 20, deadAfterMs: 100 });
  await c.connect();
  const sound = noise(2, RATE);
  const stream = c.openStream({ format: FORMAT, ackMs: 40 });
  stream.push(bytesOf(sound.subarray(0, RATE)));
  await stream.once("progress", (p) => p.acknowledged > 20_000);
  network.dead = true;
  stream.push(bytesOf(sound.subarray(RATE)));
  const away = await c.once("state", (s) => s.name === "waiting");
  assert.match((away as { reason: string }).reason, /dead/);
  network.dead = false;
  network.cut();
  const ended = await stream.end();
  assert.deepEqual(bytesOf((await recording(server, ended!.recording!.id)).samples), bytesOf(sound));
  c.close();
});

test("a line that is dead from the first is not waited for", async () => {
  network.dead = true;
  const c = client({ heartbeatMs: 20, deadAfterMs: 100 });
  const connected = c.connect();
  await c.once("state", (s) => s.name === "waiting");
  network.dead = false;
  await connected;
  c.close();
});

test("a client that is closed leaves nobody waiting", async () => {
  const c = client();
  await c.connect();
  const stream = c.openStream({ format: FORMAT });
  await stream.once("started");
  const asked = c.request({ type: "text", text: "?" }, "audio_ended");
  c.close();
  assert.equal(await stream.ended, null);
  await assert.rejects(asked, /closed/);
  await assert.rejects(c.request({ type: "ping" }, "pong"), /closed/);
});

test("a session that is lost leaves two recordings, and no sample is in neither", async () => {
  const short = await startServer({ "session.resume_window_ms": "1000" });
  const away = await new FlakyNetwork(short.port).open();
  const c = client({ url: `ws://127.0.0.1:${away.port}` });
  await c.connect();
  const sound = noise(4, RATE);
  const stream = c.openStream({ format: FORMAT, ackMs: 100 });
  const ids: string[] = [];
  stream.on("started", (e) => ids.push(e.recording_id!));
  stream.push(bytesOf(sound.subarray(0, 2 * RATE)));
  await stream.once("progress", (p) => p.acknowledged >= RATE * 3);
  away.down = true;
  await fetchUntil(`${short.url}/api/recordings/${ids[0]}`, (r) => r.state !== "recording");
  stream.push(bytesOf(sound.subarray(2 * RATE)));
  away.down = false;
  const [{ from }] = await Promise.all([stream.once("continued"), open(c)]);
  assert.equal((await stream.end())?.reason, "end");
  const [first, second] = await Promise.all(ids.map((id) => recording(short, id)));
  assert.ok(first!.samples.length * 2 >= from, "what was acknowledged is in the first");
  assert.deepEqual(bytesOf(first!.samples), bytesOf(sound.subarray(0, first!.samples.length)));
  assert.deepEqual(bytesOf(second!.samples), bytesOf(sound.subarray(from / 2)));
  c.close();
  away.close();
  await short.stop();
});

async function fetchUntil(url: string, done: (body: { state: string }) => boolean): Promise<void> {
  while (!done((await (await fetch(url)).json()) as { state: string })) await new Promise((resolve) => setTimeout(resolve, 20));
}

test("a server that drains hands a running stream on to the next", async () => {
  const [old, next] = await Promise.all([startServer({ "server.drain_ms": "300" }), startServer()]);
  const road = await new FlakyNetwork(old.port).open();
  const c = client({ url: `ws://127.0.0.1:${road.port}` });
  await c.connect();
  const sound = noise(3, RATE);
  const stream = c.openStream({ format: FORMAT, ackMs: 100 });
  stream.push(bytesOf(sound.subarray(0, RATE)));
  await stream.once("progress", (p) => p.acknowledged >= RATE);
  road.target = next.port; // as a load balancer does
  const continued = stream.once("continued");
  old.drain();
  stream.push(bytesOf(sound.subarray(RATE, 2 * RATE)));
  const { from } = await continued;
  stream.push(bytesOf(sound.subarray(2 * RATE)));
  const ended = await stream.end();
  assert.equal(ended?.reason, "end");
  assert.deepEqual(bytesOf((await recording(next, ended.recording!.id)).samples), bytesOf(sound.subarray(from / 2)));
  c.close();
  road.close();
  await Promise.all([old.stop(), next.stop()]);
});

test("a file that finds little room is written as fast as it is taken", async () => {
  const c = client();
  await c.connect();
  const sound = noise(20, RATE);
  const stream = c.openStream({ format: FORMAT, ringBytes: 64 * 1024 });
  await stream.write(bytesOf(sound));
  const ended = await stream.end();
  assert.deepEqual([ended?.received_bytes, stream.progress.refused], [sound.byteLength, 0]);
  c.close();
});

test("what is said in a conversation over a bad line arrives once, and in order", async () => {
  const [ada, grace] = [client({ clientId: "ada", conversations: ["team"] }), client({ clientId: "grace", url: server.url, conversations: ["team"] })];
  await Promise.all([ada.connect(), grace.connect()]);
  await grace.request({ type: "presence_request", conversation_id: "team" }, "presence");
  const heard: unknown[] = [];
  grace.on("message", (m) => heard.push(m.content));
  for (let i = 0; i < 40; i++) {
    const said = ada.say("team", { i });
    if (i % 4 === 0) network.cut();
    await said;
  }
  while (heard.length < 40) await grace.once("message");
  assert.deepEqual(heard, Array.from({ length: 40 }, (_, i) => ({ i })));
  ada.close();
  grace.close();
});

test("a conversation to be in is joined though the line drops before the answer", async () => {
  const c = client({ conversations: ["early"] });
  await c.connect();
  network.cut();
  assert.equal((await c.say("early", "first")).conversation_id, "early");
  c.close();
});

test("one hears who speaks, from where one began, over a drop too", async () => {
  const [speaker, listener] = [client({ url: server.url, conversations: ["stage"] }), client({ conversations: ["stage"] })];
  await Promise.all([speaker.connect(), listener.connect()]);
  const heard: { at: number; samples: Int16Array }[] = [];
  const ear = listener.listen({ conversationId: "stage" });
  ear.on("audio", ({ audio }) => heard.push({ at: audio.position, samples: audio.samples }));
  await listener.request({ type: "presence_request", conversation_id: "stage" }, "presence");
  const stream = speaker.openStream({ format: FORMAT, conversationId: "stage" });
  const sound = noise(2, RATE);
  const known = ear.once("streams", (s) => s.length === 1);
  stream.push(bytesOf(sound.subarray(0, RATE)));
  assert.equal((await known)[0]!.from.client_id, speaker.hello!.client_id);
  while (!heard.some((h) => h.at + h.samples.length > RATE / 2)) await ear.once("audio");
  const back = open(listener);
  network.cut();
  await back;
  stream.push(bytesOf(sound.subarray(RATE)));
  while (!heard.some((h) => h.at > RATE)) await ear.once("audio");
  for (const { at, samples } of heard) {
    // The resampler of this test's rate is none: what is heard is what was said.
    assert.deepEqual([...samples.subarray(0, 50)], [...sound.subarray(at, at + Math.min(50, samples.length))]);
  }
  ear.stop();
  await stream.end();
  speaker.close();
  listener.close();
});

test("a token opens the door, a wrong one says why, and a close that means it is obeyed", async () => {
  const secret = "a secret of tests that is long enough for HS256";
  const guarded = await startServer({ "auth.mode": "jwt", "auth.hs256_secret": secret });
  const token = spawnSync(BINARY, ["token", "--user", "ada", "--role", "admin", "--secret", secret], { encoding: "utf8" }).stdout.trim();
  const good = client({ url: guarded.url, token: () => Promise.resolve(token) });
  await good.connect();
  const me = await good.request({ type: "connection_info_request" }, "connection_info");
  assert.deepEqual([me.user_id, me.roles], ["ada", ["admin"]]);
  const bad = client({ url: guarded.url, token: token.slice(0, -4) + "AAAA" });
  await assert.rejects(bad.connect(), /token/i);
  assert.equal(bad.state.name, "closed");
  const none = client({ url: guarded.url });
  const closed = none.once("state", (s) => s.name === "closed");
  void none.connect().catch(() => {});
  const victim = client({ url: guarded.url, token });
  await victim.connect();
  const gone = victim.once("state", (s) => s.name === "closed");
  await good.request({ type: "disconnect_user", connection_id: victim.hello!.connection_id }, "admin_result");
  assert.equal(((await gone) as { code: number }).code, 4010);
  good.close();
  none.close();
  await closed;
  await guarded.stop();
});

test("a request that is refused says why", async () => {
  const c = client();
  await c.connect();
  await assert.rejects(c.request({ type: "listen_start", stream_id: "nobody" }, "listening"), { name: "Refused", code: "STREAM_NOT_FOUND" });
  const stream = c.openStream({ format: { encoding: "pcm_s16le", sample_rate: 3, channels: 1 } });
  const fault = await stream.once("error");
  assert.equal(fault.code, "UNSUPPORTED_FORMAT");
  assert.equal(await stream.ended, null);
  c.close();
});
