// The page in a real Chromium, saving data: its own encoder makes Opus packets of the microphone, and a cut costs none of them.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { WebSocket } from "ws";
import { VoxgateClient } from "../client/src/index.js";
import { newestLink, openBrowser, openPage } from "./browser.js";
import { compare } from "./sound.js";
import { FlakyNetwork, OUT_RATE, type TestServer, decoded, microphoneFile, noise, readWav, recording, startServer } from "./support.js";

const directory = mkdtempSync(join(tmpdir(), "voxgate-opus-"));
const speech = join(directory, "speech.wav");
const faults: string[] = [];
let server: TestServer;
let network: FlakyNetwork;
let browser: Browser;

/** Noise as dull as a voice: what an encoder keeps of it has its shape still. */
function murmur(seconds: number, rate: number): Int16Array {
  let low = 0;
  let lower = 0;
  return noise(seconds, rate).map((x) => {
    low += 0.25 * (x - low);
    lower += 0.25 * (low - lower);
    return 3 * lower;
  });
}

before(async () => {
  microphoneFile(speech, murmur(40, 16_000));
  server = await startServer();
  network = await new FlakyNetwork(server.port).open();
  browser = await openBrowser("chromium", { microphone: speech });
});
after(async () => {
  await browser?.close();
  network?.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

type Tapped = typeof globalThis & { packets: number[][] };

/** Runs in the page: keeps a copy of what its encoder hands out. */
function tapEncoder(): void {
  const packets: number[][] = ((globalThis as Tapped).packets = []);
  globalThis.AudioEncoder = class extends AudioEncoder {
    constructor({ output, error }: AudioEncoderInit) {
      super({
        error,
        output(chunk, more) {
          const bytes = new Uint8Array(chunk.byteLength);
          chunk.copyTo(bytes);
          packets.push([...bytes]);
          output(chunk, more);
        },
      });
    }
  };
}

test("one speaks in Opus, the network goes and comes back, and the recording has every packet and is what was spoken", async () => {
  const page = await openPage(browser, `http://127.0.0.1:${network.port}/`, faults);
  await page.evaluate(tapEncoder);
  await page.locator("#settings-open").click();
  await page.getByRole("switch", { name: /^Save data/ }).check();
  await page.getByRole("button", { name: "Save" }).click();
  const secondsOver = (id: string, n: number) => page.waitForFunction(([i, s]) => parseFloat(document.getElementById(i as string)!.textContent!) > (s as number), [id, n]);
  const before = network.bytesUp;
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await secondsOver("acked", 1);
  network.down = true;
  await page.getByText("Nothing is lost").waitFor();
  await secondsOver("waiting", 2);
  network.down = false;
  await page.locator("#line[data-state=open]").waitFor();
  await secondsOver("acked", 4);
  network.cut();
  await secondsOver("acked", 6);
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/^Kept: .* all of it/).waitFor();
  const shown = parseFloat((await page.locator("#acked").textContent())!);
  const bytesPerSecond = (network.bytesUp - before) / shown;
  assert.ok(bytesPerSecond < 9_000, `${bytesPerSecond} bytes a second, where samples would be 96,000`);

  const link = await newestLink(page, server);
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  const kept = readWav(readFileSync(await download.path())).samples;
  const packets = await page.evaluate(() => (globalThis as Tapped).packets);
  assert.ok(packets.length > 300);
  assert.ok(Math.abs(kept.length - packets.length * (OUT_RATE / 50)) <= OUT_RATE / 50, `${kept.length} samples of ${packets.length} packets`);
  assert.ok(Math.abs(kept.length / OUT_RATE - shown) < 0.1);

  // The same packets over a line that holds.
  const client = new VoxgateClient({ url: server.url, WebSocket });
  await client.connect();
  const stream = client.openStream({ format: { encoding: "opus", sample_rate: 48_000, channels: 1 } });
  for (const packet of packets) await stream.write(Uint8Array.from(packet));
  const ended = await stream.end();
  client.close();
  assert.deepEqual(kept, (await recording(server, ended!.recording!.id)).samples);

  const same = compare(kept, await decoded(server, readFileSync(speech)), OUT_RATE / 2, kept.length - OUT_RATE / 4);
  assert.ok(same.windows > 80 && same.median > 0.9, JSON.stringify(same));
  await page.context().close();
  assert.deepEqual(faults, []);
});

test("a browser that cannot encode is not offered it, and sends samples where it is asked for all the same", async () => {
  const page = await openPage(browser, `http://127.0.0.1:${network.port}/`, faults);
  await page.addInitScript(() => {
    Reflect.deleteProperty(globalThis, "AudioEncoder");
    localStorage.setItem("voxgate.opus", "1");
  });
  await page.reload();
  await page.locator("#line[data-state=open]").waitFor();
  await page.locator("#settings-open").click();
  assert.equal(await page.getByRole("switch", { name: /^Save data/ }).count(), 0);
  await page.keyboard.press("Escape");
  const before = network.bytesUp;
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 1);
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/^Kept: .* all of it/).waitFor();
  assert.ok(network.bytesUp - before > 80_000);
  await page.context().close();
  assert.deepEqual(faults, []);
});
