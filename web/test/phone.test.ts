// The page on a phone, by touch: one speaks while walking out of the Wi-Fi and back, the screen is locked, a call comes in, the microphone is unplugged.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, type Page, devices } from "playwright-core";
import { barriers, openBrowser, overflows, readTap, tapMicrophone, watch, wavOf } from "./browser.js";
import { compare } from "./sound.js";
import { FlakyNetwork, OUT_RATE, type TestServer, decoded, noise, readWav, startServer, writeWav } from "./support.js";

const directory = mkdtempSync(join(tmpdir(), "voxgate-phone-"));
const speech = join(directory, "speech.wav");
const faults: string[] = [];
let server: TestServer;
let network: FlakyNetwork;
let browser: Browser;
let page: Page;

before(async () => {
  const samples = noise(60, 16_000);
  writeFileSync(speech, writeWav({ rate: 48_000, channels: 1, samples: Int16Array.from({ length: samples.length * 3 }, (_, i) => samples[Math.floor(i / 3)] as number) }));
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

interface Phone {
  contexts: AudioContext[];
  tracks: MediaStreamTrack[];
  /** Screens kept on: true while it is. */
  locks: WakeLockSentinel[];
  /** As long as it is true no context may go on, as in a call. */
  call: boolean;
}
type PhonePage = typeof globalThis & { phone: Phone };

/** Runs in the page: lets a test be the phone. */
function bePhone(): void {
  const here: Phone = { contexts: [], tracks: [], locks: [], call: false };
  Object.assign(globalThis, { phone: here });
  globalThis.AudioContext = class extends AudioContext {
    constructor(options?: AudioContextOptions) {
      super(options);
      here.contexts.push(this);
    }
    override resume(): Promise<void> {
      return here.call ? Promise.reject(new DOMException("a call", "InvalidStateError")) : super.resume();
    }
  };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (what) => {
    const media = await open(what);
    here.tracks.push(...media.getTracks());
    return media;
  };
  const lock = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (type) => {
    const made = await lock(type);
    here.locks.push(made);
    return made;
  };
}

async function open(path = "/"): Promise<void> {
  const context = await browser.newContext({ ...devices["Pixel 7"], permissions: ["microphone"], acceptDownloads: true });
  page = watch(await context.newPage(), faults);
  const cdp = await context.newCDPSession(page);
  const origin = `http://127.0.0.1:${network.port}`;
  await cdp.send("Browser.grantPermissions", { origin, permissions: ["audioCapture", "wakeLockScreen"] });
  await page.addInitScript(() => void (self.origin !== "null" && localStorage.setItem("voxgate.raw", "1")));
  await page.addInitScript(tapMicrophone);
  await page.addInitScript(bePhone);
  await page.goto(`${origin}${path}`);
  await page.locator("#line[data-state=open]").waitFor();
}

async function close(): Promise<void> {
  await page.context().close();
  assert.deepEqual(faults.splice(0), []);
}

const secondsOver = (id: string, n: number) => page.waitForFunction(([i, s]) => parseFloat(document.getElementById(i as string)!.textContent!) > (s as number), [id, n]);
const secondsUnder = (id: string, n: number) => page.waitForFunction(([i, s]) => parseFloat(document.getElementById(i as string)!.textContent!) < (s as number), [id, n]);

/** Stops it, and holds what was kept to what the device gave, sample for sample. */
async function stopAndCompare(said: RegExp): Promise<Int16Array> {
  await page.getByRole("button", { name: "Stop the microphone" }).tap();
  return keptIsWhatWasHeard(said);
}

async function keptIsWhatWasHeard(said: RegExp): Promise<Int16Array> {
  await page.getByText(said).waitFor();
  assert.equal(await page.locator("#lost").textContent(), "0.0 s");
  const link = page.getByRole("link", { name: /^Download: Microphone/ }).first();
  const [download] = await Promise.all([page.waitForEvent("download"), link.tap()]);
  const kept = readWav(readFileSync(await download.path()));
  assert.deepEqual([kept.rate, kept.channels], [OUT_RATE, 1]);
  assert.deepEqual(kept.samples, await decoded(server, writeWav(wavOf(await page.evaluate(readTap)))));
  return kept.samples;
}

test("one speaks while walking out of the Wi-Fi and back, and plays the recording without a gap", async () => {
  await open();
  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 2);
  // As a phone has it: the lines are dead without a word, and the browser says that there is no network.
  network.away = true;
  await page.context().setOffline(true);
  await page.getByText("Nothing is lost").waitFor({ timeout: 6_000 });
  await secondsOver("waiting", 5);
  network.away = false;
  await page.context().setOffline(false);
  const backAt = Date.now();
  await page.locator("#line[data-state=open]").waitFor();
  await secondsUnder("waiting", 0.5);
  const caughtUp = Date.now() - backAt;
  assert.ok(caughtUp < 5_000, `it took ${caughtUp} ms to come back and send what was kept`);
  await secondsOver("acked", 10);
  const kept = await stopAndCompare(/^Kept: [\d.]+ s, all of it\.$/);

  assert.ok(kept.length > 10 * OUT_RATE);
  const same = compare(kept, await decoded(server, readFileSync(speech)), OUT_RATE / 2, kept.length - OUT_RATE / 4);
  assert.ok(same.windows > 150 && same.median > 0.95, JSON.stringify(same));

  await page.getByRole("button", { name: /^Play: Microphone/ }).first().tap();
  const played = await page.evaluate(async () => {
    const player = document.getElementById("player") as HTMLAudioElement;
    player.playbackRate = 4;
    await new Promise((resolve, reject) => ((player.onended = resolve), (player.onerror = () => reject(player.error))));
    const ranges = player.played;
    return { ranges: ranges.length, from: ranges.start(0), to: ranges.end(0) };
  });
  assert.equal(played.ranges, 1);
  assert.equal(played.from, 0);
  assert.ok(Math.abs(played.to - kept.length / OUT_RATE) < 0.05, JSON.stringify(played));
  assert.equal(await page.locator("#recordings li").count(), 1, "it is one recording");
  await close();
});
