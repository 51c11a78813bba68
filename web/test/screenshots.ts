// The pictures of docs/images: the page at work, light, dark, on a phone and without a network; the dashboard after five minutes of load.
// Arguments: where they go, and `page` or `dashboard` for only those.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Page, devices } from "playwright-core";
import { WebSocket } from "ws";
import { VoxgateClient } from "../client/src/index.js";
import { openBrowser, openPage } from "./browser.js";
import { BINARY, FlakyNetwork, ROOT, startServer, writeWav } from "./support.js";

const out = process.argv[2] ?? new URL("docs/images", ROOT).pathname;
mkdirSync(out, { recursive: true });
const wanted = process.argv[3];
const directory = mkdtempSync(join(tmpdir(), "voxgate-shots-"));

/** Something like talk: syllables of a falling voice, with pauses. */
function talk(seconds: number, rate: number): Int16Array {
  let state = 7;
  const dice = () => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x7fffffff;
  const samples = new Int16Array(seconds * rate);
  for (let at = 0.2; at < seconds - 1; ) {
    const length = 0.09 + 0.16 * dice();
    const loud = 900 + 3_200 * dice();
    const pitch = 105 + 45 * dice();
    for (let i = 0; i < length * rate; i++) {
      const t = i / rate;
      const shape = Math.sin((Math.PI * t) / length) ** 0.6;
      let x = 0;
      for (let k = 1; k < 22; k++) {
        const f = k * pitch * (1 - 0.15 * t);
        const formants = Math.exp(-(((f - 620) / 260) ** 2)) + 0.6 * Math.exp(-(((f - 1_500) / 350) ** 2)) + 0.25 * Math.exp(-(((f - 2_500) / 500) ** 2)) + 0.05;
        x += formants * Math.sin(2 * Math.PI * f * t);
      }
      const place = Math.floor(at * rate) + i;
      if (place < samples.length) samples[place] = Math.max(-32_000, Math.min(32_000, x * shape * loud * 0.5));
    }
    at += length + (dice() < 0.18 ? 0.35 + 0.5 * dice() : 0.02 + 0.05 * dice());
  }
  return samples;
}

const speech = join(directory, "talk.wav");
writeFileSync(speech, writeWav({ rate: 48_000, channels: 1, samples: talk(60, 48_000) }));
const server = await startServer();
const network = await new FlakyNetwork(server.port).open();
const browser = await openBrowser("chromium", { microphone: speech });
const faults: string[] = [];
const acked = (page: Page, s: number) => page.waitForFunction((n) => parseFloat(document.getElementById("acked")!.textContent!) > n, s);

/** What is there already when the first picture is taken. */
async function before(): Promise<void> {
  const client = new VoxgateClient({ url: server.url, clientId: "grace", WebSocket });
  await client.connect();
  for (const [name, seconds] of [["Choir_rehearsal", 24], ["Field_notes", 41]] as const) {
    const stream = client.openStream({ name: `${name}--demo`, format: { encoding: "auto" } });
    await stream.write(writeWav({ rate: 16_000, channels: 1, samples: talk(seconds, 16_000) }));
    await stream.end();
  }
  client.close();
}

async function scene(scheme: "light" | "dark", width: number, height: number, away: boolean, name: string): Promise<void> {
  const room = { "page-light": "studio", "page-dark": "choir", "page-phone": "field" }[name] ?? name;
  const page = await openPage(browser, `http://127.0.0.1:${network.port}/?client_id=ada&conversation_id=${room}`, faults, name === "page-phone" ? devices["Pixel 7"] : {});
  const other = await openPage(browser, `${server.url}/?client_id=grace&conversation_id=${room}`, faults);
  await page.emulateMedia({ colorScheme: scheme });
  if (width > 600) await page.setViewportSize({ width, height });
  await other.getByRole("textbox", { name: "Your message" }).fill("Good morning. I can hear you well.");
  await other.keyboard.press("Enter");
  await page.getByRole("log").getByText("Good morning").waitFor();
  await page.getByRole("textbox", { name: "Your message" }).fill("Then I begin.");
  await page.keyboard.press("Enter");
  await page.locator("#file").setInputFiles({ name: "interview.wav", mimeType: "audio/wav", buffer: Buffer.from(writeWav({ rate: 16_000, channels: 1, samples: talk(20, 16_000) })) });
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await acked(page, 9);
  if (away) {
    network.down = true;
    await page.waitForFunction(() => parseFloat(document.getElementById("waiting")!.textContent!) > 3);
  }
  if (!away) await other.getByRole("textbox", { name: "Your message" }).pressSequentially("The level is");
  // Of a phone all of the page: a full picture of an emulated one has an empty end.
  if (width < 600) await page.setViewportSize({ width: 412, height: await page.evaluate(() => document.documentElement.scrollHeight) });
  await page.screenshot({ path: join(out, `${name}.png`) });
  network.down = false;
  await page.locator("#line[data-state=open]").waitFor();
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/Kept:/).waitFor();
  await page.locator("#transfers").getByText(/kept$/).waitFor();
  await page.context().close();
  await other.context().close();
}

/** Streams that come and go for five minutes, and a client that makes mistakes. */
async function load(): Promise<void> {
  const bench = (streams: number, seconds: number) =>
    once(spawn(BINARY, ["bench", "--url", `${server.url.replace("http", "ws")}/ws`, "--streams", `${streams}`, "--seconds", `${seconds}`], { stdio: "ignore" }), "exit");
  const clumsy = new VoxgateClient({ url: server.url, clientId: "clumsy", WebSocket });
  await clumsy.connect();
  const mistakes = setInterval(() => {
    const which = Math.random();
    if (which < 0.5) clumsy.send({ type: "join_conversation", conversation_id: "no such name" });
    else if (which < 0.8) clumsy.send({ type: "leave_conversation", conversation_id: "nowhere" });
    else clumsy.openStream({ format: { encoding: "auto" } }).push(Buffer.from("no sound at all ".repeat(300)));
  }, 2_500);
  const named = await Promise.all(["grace", "studio-2", "phone-7"].map(async (clientId) => {
    const client = new VoxgateClient({ url: server.url, clientId, WebSocket });
    await client.connect();
    const stream = client.openStream({ format: { encoding: "pcm_s16le", sample_rate: 16_000, channels: 1 } });
    const sound = setInterval(() => stream.push(new Uint8Array(6_400)), 200);
    return () => (clearInterval(sound), client.close());
  }));
  await bench(30, 45);
  await Promise.all([bench(60, 240), (async () => (await bench(40, 60), await bench(70, 80)))()]);
  clearInterval(mistakes);
  setTimeout(() => [...named, () => clumsy.close()].forEach((close) => close()), 15_000);
}

async function dashboard(): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1_400, height: 1_000 }, colorScheme: "light" });
  const page = await context.newPage();
  await page.goto(`${server.url}/monitoring/dashboard`);
  await load();
  await page.screenshot({ path: join(out, "dashboard.png"), fullPage: true });
  for (const [name, more] of [["dashboard-dark", { viewport: { width: 1_400, height: 1_000 } }], ["dashboard-phone", devices["Pixel 7"]]] as const) {
    // As somebody has it who looks while it is at work.
    const another = await (await browser.newContext({ ...more, colorScheme: "dark" })).newPage();
    await another.goto(`${server.url}/monitoring/dashboard`);
    await another.locator("#connections tbody tr").first().waitFor();
    await another.waitForTimeout(2_500); // a point or two of its own
    await another.screenshot({ path: join(out, `${name}.png`), fullPage: true });
    await another.context().close();
  }
  await context.close();
}

if (wanted !== "dashboard") {
  await before();
  await scene("light", 1_080, 1_000, false, "page-light");
  await scene("dark", 1_080, 1_000, true, "page-dark");
  await scene("light", 390, 800, false, "page-phone");
}
if (wanted !== "page") await dashboard();
await browser.close();
network.close();
await server.stop();
rmSync(directory, { recursive: true, force: true });
if (faults.length > 0) throw new Error(faults.join("\n"));
