// The client library in Node, against the real server and over a network that fails.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { type AudioStream, type SocketClass, VoxgateClient } from "../client/src/index.js";
import { FlakyNetwork, type TestServer, bytesOf, noise, recording, startServer } from "./support.js";

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
    WebSocket: WebSocket as unknown as SocketClass,
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
