// The page in a real WebKit: the microphone, a network that goes, and the recorder.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readTap, tapMicrophone, wavOf } from "./browser.js";
import { FlakyNetwork, OUT_RATE, type TestServer, decoded, readWav, startServer, writeWav } from "./support.js";
import { WebKitPage } from "./webkit.js";

let server: TestServer;
let network: FlakyNetwork;
let page: WebKitPage;
let url: string;

const lineIs = (state: string) => document.getElementById("line")!.dataset["state"] === state;
const secondsOver = (id: string, n: number) => parseFloat(document.getElementById(id)!.textContent!) > n;
const said = (pattern: string) => new RegExp(pattern).test(document.getElementById("say")!.textContent!);

before(async () => {
  server = await startServer();
  network = await new FlakyNetwork(server.port).open();
  url = `http://127.0.0.1:${network.port}/`;
  page = await WebKitPage.open(url);
});
after(async () => {
  await page?.close();
  network?.close();
  await server?.stop();
});

/** The newest of so many recordings, by the link that downloads it. */
async function newest(count: number): Promise<Int16Array> {
  await page.until((n) => document.querySelectorAll("#recordings a[download]").length === n, count);
  const href = await page.evaluate(() => document.querySelector<HTMLAnchorElement>("#recordings a[download]")!.href);
  return readWav(new Uint8Array(await (await fetch(href)).arrayBuffer())).samples;
}

test("one speaks, the network goes and comes back, and the recording has every moment", async () => {
  await page.until(lineIs, "open");
  await page.evaluate(tapMicrophone);
  await page.click("#talk");
  await page.until(secondsOver, "acked", 1);
  network.down = true;
  await page.until(secondsOver, "waiting", 2);
  network.down = false;
  await page.until(lineIs, "open");
  await page.until((id, n) => parseFloat(document.getElementById(id)!.textContent!) < n, "waiting", 0.5);
  network.cut();
  await page.until(secondsOver, "acked", 6);
  await page.click("#talk");
  await page.until(said, "^Kept: .* all of it");
  const kept = await newest(1);
  assert.ok(kept.length > 5 * OUT_RATE && kept.some((x) => Math.abs(x) > 3_000), "it is the microphone that beeps");
  assert.deepEqual(kept, await decoded(server, writeWav(wavOf(await page.evaluate(readTap)))));
});

test("what its recorder makes is decoded, over a cut too", async () => {
  await page.goto(url);
  await page.until(lineIs, "open");
  await page.evaluate(() => Reflect.deleteProperty(globalThis, "AudioWorkletNode"));
  await page.click("#talk");
  await page.until(secondsOver, "acked", 2);
  network.cut();
  await page.until(secondsOver, "acked", 4);
  await page.click("#talk");
  await page.until(said, "^Kept: .* all of it");
  assert.ok((await newest(2)).some((x) => Math.abs(x) > 3_000));
});
