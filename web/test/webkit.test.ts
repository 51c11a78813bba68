// The page in a real WebKit: the microphone, a network that goes, calls, the recorder, files, recordings, a conversation, narrow and dark.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { VoxgateClient } from "../client/src/index.js";
import { axeSource, readTap, runAxe, tapMicrophone, wavOf } from "./browser.js";
import { type PhonePage, bePhone } from "./phone.js";
import { FlakyNetwork, OUT_RATE, type TestServer, bytesOf, decoded, noise, readWav, startServer, writeWav } from "./support.js";
import { WebKitDied, WebKitPage, unlessItDies } from "./webkit.js";

let server: TestServer;
let network: FlakyNetwork;
let page: WebKitPage;
let url: string;
/** Recordings that are on the server. */
let kept: number;

const lineIs = (state: string) => document.getElementById("line")!.dataset["state"] === state;
const secondsOver = (id: string, n: number) => parseFloat(document.getElementById(id)!.textContent!) > n;
const said = (pattern: string) => new RegExp(pattern).test(document.getElementById("say")!.textContent!);

async function start(): Promise<void> {
  server = await startServer();
  network = await new FlakyNetwork(server.port).open();
  url = `http://127.0.0.1:${network.port}/`;
  kept = 0;
  page = await WebKitPage.open(url);
}
async function stop(): Promise<void> {
  await page?.close();
  network?.close();
  await server?.stop();
}
before(start);
after(stop);

function testInWebKit(name: string, work: () => Promise<void>): void {
  test(name, (t) => unlessItDies(t, work, stop, start));
}

/** Speaks for four seconds, the network cut in the middle. */
async function speakOverACut(): Promise<void> {
  await page.click("#talk");
  await page.until(secondsOver, "acked", 2);
  network.cut();
  await page.until(secondsOver, "acked", 4);
  await page.click("#talk");
  await page.until(said, "^Kept: .* all of it");
}

/** The recording that was just made, by the link that downloads it. */
async function newest(): Promise<Int16Array> {
  kept += 1;
  await page.until((n) => document.querySelectorAll("#recordings a[download]").length === n, kept);
  const href = await page.evaluate(() => document.querySelector<HTMLAnchorElement>("#recordings a[download]")!.href);
  return readWav(new Uint8Array(await (await fetch(href)).arrayBuffer())).samples;
}

/** Plays the newest. WebKitGTK's player now and then stands still at the first moments and says it loads; pressing again helps. */
async function playToItsEnd(): Promise<void> {
  for (let presses = 1; ; presses++) {
    await page.click("#recordings .play");
    try {
      return await page.until(() => (document.getElementById("player") as HTMLAudioElement).ended);
    } catch (error) {
      if (error instanceof WebKitDied || presses === 3) throw error;
      console.log(`the player stood still, press ${presses}`);
    }
  }
}

testInWebKit("one speaks, the network goes and comes back, and the recording has every moment", async () => {
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
  const recorded = await newest();
  assert.ok(recorded.length > 5 * OUT_RATE && recorded.some((x) => Math.abs(x) > 3_000), "it is the microphone that beeps");
  assert.deepEqual(recorded, await decoded(server, writeWav(wavOf(await page.evaluate(readTap)))));
});

testInWebKit("what its recorder makes is decoded, over a cut too", async () => {
  await page.goto(url);
  await page.until(lineIs, "open");
  await page.evaluate(() => Reflect.deleteProperty(globalThis, "AudioWorkletNode"));
  await speakOverACut();
  assert.ok((await newest()).some((x) => Math.abs(x) > 3_000));
});

testInWebKit("who saves data sends Opus where it can be encoded, and samples where it cannot", async () => {
  await page.evaluate(() => localStorage.setItem("voxgate.opus", "1"));
  await page.goto(url);
  await page.until(lineIs, "open");
  const before = network.bytesUp;
  await speakOverACut();
  const encodes = await page.evaluate(() => typeof AudioEncoder === "function");
  if (encodes) assert.ok(network.bytesUp - before < 50_000, `${network.bytesUp - before} bytes`);
  assert.ok((await newest()).some((x) => Math.abs(x) > 3_000));
  await page.evaluate(() => localStorage.removeItem("voxgate.opus"));
});

testInWebKit("a call takes the microphone away, and it goes on afterwards", async () => {
  await page.goto(url);
  await page.until(lineIs, "open");
  await page.evaluate(bePhone);
  await page.evaluate(tapMicrophone);
  await page.click("#talk");
  await page.until(secondsOver, "acked", 1);
  await page.evaluate(async () => {
    const { phone } = globalThis as PhonePage;
    phone.call = true;
    await phone.contexts.at(-1)!.suspend();
  });
  await page.until(said, "taken the microphone away");
  network.away = true;
  await new Promise((resolve) => setTimeout(resolve, 2_000)); // so long is the call
  network.away = false;
  await page.evaluate(() => {
    (globalThis as PhonePage).phone.call = false;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.until(secondsOver, "acked", 3);
  await page.click("#talk");
  await page.until(said, "^Kept: .* all of it; for .* the device gave no sound");
  assert.deepEqual(await newest(), await decoded(server, writeWav(wavOf(await page.evaluate(readTap)))));
});

testInWebKit("a file that is dropped is streamed; recordings are listed, played to their end, and deleted", async () => {
  await page.goto(url);
  await page.until(lineIs, "open");
  await page.click("input[name=pace][value=once]");
  const sound = writeWav({ rate: 48_000, channels: 1, samples: noise(2, 48_000) });
  await page.evaluate((base64) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "two seconds.wav", { type: "audio/wav" }));
    document.getElementById("drop")!.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, Buffer.from(sound).toString("base64"));
  await page.until(() => /0:02, kept/.test(document.getElementById("transfers")!.textContent!));
  assert.deepEqual(await newest(), await decoded(server, sound));
  await playToItsEnd();
  const played = await page.evaluate(() => (document.getElementById("player") as HTMLAudioElement).played.end(0));
  assert.ok(Math.abs(played - 2) < 0.05, `${played} of 2 s were played`);
  await page.evaluate(() => void (globalThis.confirm = () => true));
  await page.click("#recordings button[aria-label^=Delete]");
  await page.until((n) => document.querySelectorAll("#recordings li").length === n, --kept);
});

testInWebKit("who is there, who types, what is written, and hearing who speaks", async () => {
  const grace = new VoxgateClient({ url: server.url, clientId: "grace", WebSocket });
  await grace.connect();
  await grace.join("team");
  await page.goto(`${url}?client_id=ada&conversation_id=team`);
  await page.until(() => [...document.querySelectorAll("#people li")].map((l) => l.textContent).join() === "ada (you),grace");
  const typed = new Promise((resolve) => grace.on("typing", (e) => e.active && resolve(e.from.client_id)));
  const written = new Promise((resolve) => grace.on("message", (e) => resolve(e.content)));
  await page.type("#text", "Can you hear me?");
  assert.equal(await typed, "ada");
  await page.click("#write button");
  assert.deepEqual(await written, { text: "Can you hear me?" });
  await grace.say("team", { text: "I can" });
  await page.until(() => /I can/.test(document.getElementById("messages")!.textContent!));

  await page.click("#listen");
  const stream = grace.openStream({ format: { encoding: "pcm_s16le", sample_rate: OUT_RATE, channels: 1 }, conversationId: "team" });
  const speaks = setInterval(() => stream.push(bytesOf(noise(1, OUT_RATE).slice(0, OUT_RATE / 10))), 100);
  await page.until((n) => Number(document.body.dataset["heard"]) > n, OUT_RATE);
  await page.until(() => document.querySelector("#people li[data-speaking]")?.getAttribute("data-name") === "grace");
  clearInterval(speaks);
  await stream.end();
  grace.close();
});

testInWebKit("it is as wide as a phone, and bars nobody, light and dark", async () => {
  const dark = await WebKitPage.open(url, { dark: true });
  try {
    for (const [one, scheme] of [[page, "light"], [dark, "dark"]] as const) {
      await one.goto(`${url}?conversation_id=team`);
      await one.until(lineIs, "open");
      assert.equal(await one.evaluate((s) => matchMedia(`(prefers-color-scheme: ${s})`).matches, scheme), true, scheme);
      await one.run(axeSource());
      for (const width of [390, 1_280]) {
        const wide = await one.resize(width, 900);
        assert.ok(width > 1_000 || wide < 450, `the window is ${wide} wide`);
        assert.ok((await one.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${scheme}, ${width}`);
        assert.deepEqual(await one.evaluate(runAxe), [], `${scheme}, ${width}`);
      }
    }
  } finally {
    await dark.close();
  }
});

testInWebKit("the dashboard is live, draws, is as wide as a phone, and bars nobody", async () => {
  await page.goto(`${server.url}/monitoring/dashboard`);
  await page.until(() => document.getElementById("live")!.textContent === "live");
  await page.until(() => document.querySelectorAll("#connections tbody tr").length > 0);
  await page.until(() => [...document.querySelectorAll("#charts canvas")].length >= 12);
  // A line that grows: there is a point a second.
  await page.until(() => /^\d/.test(document.querySelector("[aria-label='Memory'] .u-series:nth-child(2) .u-value")!.textContent!));
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("[aria-label='Memory'] canvas")!;
    return canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height).data.some((x) => x > 0);
  });
  assert.ok(drawn);
  await page.run(axeSource());
  for (const width of [390, 1_280]) {
    await page.resize(width, 900);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${width}`);
    assert.deepEqual(await page.evaluate(runAxe), [], `${width}`);
  }
});
