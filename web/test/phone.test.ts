// The page on a phone, by touch: one speaks while walking out of the Wi-Fi and back, the screen is locked, a call comes in, the microphone is unplugged.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, type Page, devices } from "playwright-core";
import { WebSocket } from "ws";
import { VoxgateClient } from "../client/src/index.js";
import { barriers, newestLink, openBrowser, overflows, readTap, tapMicrophone, watch, wavOf } from "./browser.js";
import { type PhonePage, bePhone } from "./phone.js";
import { compare } from "./sound.js";
import { FlakyNetwork, OUT_RATE, type TestServer, bytesOf, decoded, microphoneFile, noise, readWav, startServer, writeWav } from "./support.js";

const directory = mkdtempSync(join(tmpdir(), "voxgate-phone-"));
const speech = join(directory, "speech.wav");
const faults: string[] = [];
let server: TestServer;
let network: FlakyNetwork;
let browser: Browser;
let page: Page;

before(async () => {
  microphoneFile(speech, noise(60, 16_000));
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

async function open(path = "/"): Promise<void> {
  const context = await browser.newContext({ ...devices["Pixel 7"], permissions: ["microphone"], acceptDownloads: true });
  page = watch(await context.newPage(), faults);
  const cdp = await context.newCDPSession(page);
  const origin = `http://127.0.0.1:${network.port}`;
  const { targetInfo } = await cdp.send("Target.getTargetInfo");
  await cdp.send("Browser.grantPermissions", { origin, browserContextId: targetInfo.browserContextId!, permissions: ["audioCapture", "wakeLockScreen"] });
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
  const link = await newestLink(page, server);
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
  await page.getByText("Nothing is lost").waitFor({ timeout: 9_000 }); // a silent line alone is found later
  await secondsOver("waiting", 5);
  network.away = false;
  await page.context().setOffline(false);
  const backAt = Date.now();
  await page.locator("#line[data-state=open]").waitFor();
  await secondsUnder("waiting", 0.5);
  const caughtUp = Date.now() - backAt;
  assert.ok(caughtUp < 5_000, `it took ${caughtUp} ms to come back and send what was kept`);
  await secondsOver("acked", 10);
  const kept = await stopAndCompare(/^Kept: [\d.]+ s, all of it/);

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

test("a call takes the microphone away while the network is gone too: it is told, and it goes on afterwards", async () => {
  await open();
  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 1);
  await page.evaluate(async () => {
    const { phone } = globalThis as PhonePage;
    phone.call = true;
    await phone.contexts.at(-1)!.suspend();
  });
  network.away = true;
  await page.getByText("The device has taken the microphone away").waitFor();
  const before = parseFloat((await page.locator("#clock").textContent())!.split(":")[1]!);
  await page.waitForTimeout(2_000); // so long is the call
  assert.ok(parseFloat((await page.locator("#clock").textContent())!.split(":")[1]!) <= before + 1, "time stands still meanwhile");
  network.away = false;
  await page.evaluate(() => {
    (globalThis as PhonePage).phone.call = false;
    document.dispatchEvent(new Event("visibilitychange")); // as when one comes back to the page
  });
  await page.getByText(/the device gave no sound$/).waitFor();
  await secondsOver("acked", 3);
  const kept = await stopAndCompare(/^Kept: [\d.]+ s, all of it; for [\d.]+ s the device gave no sound\.$/);
  assert.ok(kept.length > 3 * OUT_RATE);
  await close();
});

test("a device that mutes itself is told of, and nothing is lost when it is unplugged without a network", async () => {
  await open();
  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 1);
  const mute = (muted: boolean) =>
    page.evaluate((muted) => {
      const track = (globalThis as PhonePage).phone.tracks.at(-1)!;
      Object.defineProperty(track, "muted", { value: muted, configurable: true });
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }, muted);
  await mute(true);
  await page.getByText("only silence is heard now").waitFor();
  await mute(false);
  await page.getByText("only silence is heard now").waitFor({ state: "detached" });
  network.away = true;
  await secondsOver("waiting", 1);
  await page.evaluate(() => (globalThis as PhonePage).phone.tracks.at(-1)!.dispatchEvent(new Event("ended")));
  await page.getByRole("button", { name: "Start the microphone" }).waitFor();
  network.away = false;
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await keptIsWhatWasHeard(/^The microphone is gone\. Kept: [\d.]+ s, all of it/);

  // It can be spoken into again, with what is there now.
  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 1);
  await page.getByRole("button", { name: "Stop the microphone" }).tap();
  await page.getByText(/^Kept: [\d.]+ s, all of it\.$/).waitFor();
  await close();
});

test("the screen stays on while one speaks; a page that was frozen goes on where it was", async () => {
  await open();
  const locks = () => page.evaluate(() => (globalThis as PhonePage).phone.locks.map((l) => !l.released));
  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 1);
  assert.deepEqual(await locks(), [true]);
  await page.evaluate(async () => {
    await (globalThis as PhonePage).phone.locks[0]!.release(); // as browsers do with a page that is not seen
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForFunction(() => (globalThis as PhonePage).phone.locks.length === 2);

  const { processInfo } = await (await browser.newBrowserCDPSession()).send("SystemInfo.getProcessInfo");
  const pages = processInfo.filter((p) => p.type === "renderer").map((p) => p.id);
  const frozen = (how: "SIGSTOP" | "SIGCONT") => pages.forEach((id) => process.kill(id, how));
  frozen("SIGSTOP"); // as a phone does: no thread of it runs
  network.away = true;
  await new Promise((resolve) => setTimeout(resolve, 4_000)); // so long it sleeps
  network.away = false;
  frozen("SIGCONT");
  await page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
  const wokeAt = Date.now();
  const at = parseFloat((await page.locator("#acked").textContent())!);
  await secondsOver("acked", at + 2);
  const took = Date.now() - wokeAt;
  assert.ok(took < 10_000, `it took ${took} ms to go on`);
  await secondsUnder("waiting", 0.5);
  await stopAndCompare(/^Kept: [\d.]+ s, all of it/);
  assert.deepEqual(await locks(), [false, false]);
  await close();
});

test("who listens while a call comes in hears nothing of it twice or at once afterwards", async () => {
  await open("/?conversation_id=team");
  await page.evaluate(() => {
    Object.defineProperty(navigator, "audioSession", { value: { type: "auto" } }); // as Safari has it
    const played: [number, number][] = [];
    Object.assign(globalThis, { played });
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (when = 0) {
      played.push([when, when + this.buffer!.duration]);
      start.call(this, when);
    };
  });
  const session = () => page.evaluate(() => (navigator as Navigator & { audioSession?: { type: string } }).audioSession!.type);
  await page.getByRole("switch", { name: "Listen live" }).tap();
  assert.equal(await session(), "playback", "the switch at its side does not mute whom one listens to");

  const grace = new VoxgateClient({ url: server.url, clientId: "grace", WebSocket });
  await grace.connect();
  await grace.join("team");
  const stream = grace.openStream({ format: { encoding: "pcm_s16le", sample_rate: OUT_RATE, channels: 1 }, conversationId: "team" });
  const speaks = setInterval(() => stream.push(bytesOf(noise(1, OUT_RATE).slice(0, OUT_RATE / 10))), 100);
  const played = () => page.evaluate(() => (globalThis as typeof globalThis & { played: [number, number][] }).played);
  const morePlayed = (than: number) => page.waitForFunction((n) => (globalThis as typeof globalThis & { played: unknown[] }).played.length > n, than);
  const heardMore = async () => {
    const heard = Number(await page.locator("body").getAttribute("data-heard"));
    await page.waitForFunction((n) => Number(document.body.dataset["heard"]) > n, heard + OUT_RATE);
  };
  await morePlayed(5);
  await page.evaluate(async () => {
    const { phone } = globalThis as PhonePage;
    phone.call = true;
    await phone.contexts.at(-1)!.suspend();
  });
  const before = (await played()).length;
  await heardMore();
  assert.equal((await played()).length, before, "nothing waits to be played");
  await page.evaluate(() => void ((globalThis as PhonePage).phone.call = false));
  await page.getByRole("heading", { name: "Conversation" }).tap();
  await morePlayed(before + 5);
  clearInterval(speaks);
  const parts = (await played()).slice(before);
  parts.slice(1).forEach(([from], i) => assert.ok(from >= (parts[i] as [number, number])[1] - 0.001, `one after the other: ${JSON.stringify(parts)}`));

  await page.getByRole("button", { name: "Start the microphone" }).tap();
  await secondsOver("acked", 0.5);
  assert.equal(await session(), "auto", "playback may use no microphone");
  await page.getByRole("button", { name: "Stop the microphone" }).tap();
  await page.getByText(/^Kept/).waitFor();
  assert.equal(await session(), "playback");
  grace.close();
  await close();
});

test("everything is large enough for fingers and eyes, and as wide as the phone", async () => {
  await open("/?conversation_id=team");
  await page.getByRole("textbox", { name: "Your message" }).fill("Is anybody here?");
  await page.getByRole("button", { name: "Send" }).tap();
  await page.locator("#log li:not([data-waits])").waitFor();
  assert.ok(!(await page.getByText("The key M").isVisible()), "a phone has no keys");
  const small = () =>
    page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, select, .icon, input:not([type=file])")]
        .filter((e) => e.checkVisibility() && !e.closest(".sr"))
        .flatMap((e) => {
          // What is ticked is tapped by its label, which is larger.
          const box = (e.matches("[type=checkbox], [type=radio]") ? e.closest("label")! : e).getBoundingClientRect();
          const zooms = e.matches("select, input") && parseFloat(getComputedStyle(e).fontSize) < 16;
          return box.height < 44 || box.width < 44 || zooms ? [`${e.id || e.outerHTML.slice(0, 60)}: ${box.width} × ${box.height}, ${getComputedStyle(e).fontSize}`] : [];
        }),
    );
  assert.deepEqual(await small(), []);
  assert.deepEqual(await barriers(page), []);
  await page.locator("#settings-open").tap();
  await page.getByRole("dialog", { name: "Settings" }).waitFor();
  assert.deepEqual(await small(), []);
  await page.getByRole("button", { name: "Cancel" }).tap();
  assert.deepEqual(await overflows(page, 800), []);
  await close();
});
