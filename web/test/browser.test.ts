// The page in a real Chromium, against the real server, over a network that is cut.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { openBrowser, openPage } from "./browser.js";
import { compare } from "./sound.js";
import { FlakyNetwork, type TestServer, noise, readWav, startServer, writeWav } from "./support.js";

const OUT_RATE = 16_000;
const directory = mkdtempSync(join(tmpdir(), "voxgate-page-"));
const speech = join(directory, "speech.wav");
const faults: string[] = [];
let server: TestServer;
let network: FlakyNetwork;
let browser: Browser;
let url: string;

before(async () => {
  // At 48 kHz every sample three times: what is left of it at 16 kHz is plain, and no moment is like another.
  const samples = noise(40, 16_000);
  writeFileSync(speech, writeWav({ rate: 48_000, channels: 1, samples: Int16Array.from({ length: samples.length * 3 }, (_, i) => samples[Math.floor(i / 3)] as number) }));
  server = await startServer();
  network = await new FlakyNetwork(server.port).open();
  url = `http://127.0.0.1:${network.port}/`;
  browser = await openBrowser(speech);
});
after(async () => {
  await browser?.close();
  network?.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** The file as the server's own resampler has it. */
async function reference(): Promise<Int16Array> {
  const response = await fetch(`${server.url}/api/decode?output_rate=${OUT_RATE}`, { method: "POST", body: readFileSync(speech) });
  assert.equal(response.status, 200);
  return readWav(new Uint8Array(await response.arrayBuffer())).samples;
}

test("one speaks, the network goes and comes back, and the recording has every moment", async () => {
  const page = await openPage(browser, url, faults);
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 1);
  network.down = true;
  await page.getByText("Nothing is lost").waitFor();
  await page.waitForFunction(() => parseFloat(document.getElementById("waiting")!.textContent!) > 2);
  network.down = false;
  await page.locator("#line[data-state=open]").waitFor();
  await page.waitForFunction(() => parseFloat(document.getElementById("waiting")!.textContent!) < 0.5);
  network.cut();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 6);
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/Kept: .* all of it/).waitFor();
  assert.equal(await page.locator("#lost").textContent(), "0.0 s");

  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: /^Download: Microphone/ }).first().click(),
  ]);
  const kept = readWav(readFileSync(await download.path()));
  assert.deepEqual([kept.rate, kept.channels], [OUT_RATE, 1]);
  const shown = parseFloat((await page.locator("#acked").textContent())!);
  assert.ok(Math.abs(kept.samples.length / OUT_RATE - shown) < 0.1, "the recording is as long as what was acknowledged");
  const same = compare(kept.samples, await reference(), OUT_RATE / 2, kept.samples.length - OUT_RATE / 4);
  console.log(`# ${JSON.stringify(same)}`);
  assert.ok(same.windows > 80 && same.worst > 0.9 && same.largestStep <= 2, JSON.stringify(same));
  await page.context().close();
  assert.deepEqual(faults, []);
});
