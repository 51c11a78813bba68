// Three browsers and a command line meet in a conversation and hear each other while they speak.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { openBrowser, openPage } from "./browser.js";
import { BINARY, OUT_RATE, type TestServer, decoded, noise, readWav, recording, startServer, writeWav } from "./support.js";
import { WebKitPage, unlessItDies } from "./webkit.js";

const faults: string[] = [];
let directory: string;
let server: TestServer;
let listener: ChildProcess;

/** What all three can do, whatever drives them. */
interface Guest {
  name: string;
  evaluate<T, A>(work: (arg: A) => T, arg: A): Promise<T>;
  until<A>(holds: (arg: A) => boolean, arg: A): Promise<unknown>;
  click(selector: string): Promise<void>;
  close(): Promise<void>;
}
let guests: Guest[] = [];

async function played(name: string, kind: "chromium" | "firefox", url: string): Promise<Guest> {
  const browser = await openBrowser(kind);
  const page: Page = await openPage(browser, url, faults);
  return {
    name,
    evaluate: (work, arg) => page.evaluate(work as never, arg as never),
    until: (holds, arg) => page.waitForFunction(holds as never, arg as never),
    click: (selector) => page.locator(selector).click(),
    close: () => browser.close(),
  };
}

async function webkit(name: string, url: string): Promise<Guest> {
  const page = await WebKitPage.open(url);
  return {
    name,
    evaluate: (work, arg) => page.evaluate(work as never, arg) as never,
    until: (holds, arg) => page.until(holds, arg),
    click: (selector) => page.click(selector),
    close: () => page.close(),
  };
}

async function start(): Promise<void> {
  directory = mkdtempSync(join(tmpdir(), "voxgate-meeting-"));
  guests = [];
  server = await startServer();
  const seat = (name: string) => `${server.url}/?client_id=${name}&conversation_id=team`;
  guests.push(await played("ada", "chromium", seat("ada")));
  guests.push(await played("grace", "firefox", seat("grace")));
  guests.push(await webkit("linus", seat("linus")));
}
async function stop(): Promise<void> {
  listener?.kill("SIGKILL");
  for (const guest of guests) await guest.close();
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
}
before(start);
after(stop);

/** Samples a page has heard. */
const heard = (guest: Guest) => guest.evaluate((_) => Number(document.body.dataset["heard"] ?? 0), 0);
/** Waits until everyone but `speaker` has heard a second more. */
async function heardByAllBut(speaker: string | null, work: () => Promise<unknown>): Promise<void> {
  const others = guests.filter((g) => g.name !== speaker);
  const had = await Promise.all(others.map(heard));
  await work();
  await Promise.all(others.map((g, i) => g.until((n) => Number(document.body.dataset["heard"]) > n, (had[i] as number) + OUT_RATE)));
}

const files = () => Array.from({ length: 4 }, (_, i) => join(directory, i === 0 ? "heard.wav" : `heard-${i + 1}.wav`));

test("three browsers and a command line meet in a conversation and hear each other live", (t) =>
  unlessItDies(t, meet, stop, start));

async function meet(): Promise<void> {
  for (const guest of guests) await guest.until((n) => document.querySelectorAll("#people li").length === n, 3);
  for (const guest of guests) await guest.click("#listen");
  const url = `${server.url.replace("http", "ws")}/ws`;
  listener = spawn(BINARY, ["listen", "--conversation", "team", "--url", url, "-o", files()[0] as string], { stdio: "ignore" });
  await until(async () => (await listeners()) === guests.length + 1);

  for (const speaker of guests) {
    await heardByAllBut(speaker.name, () => speaker.click("#talk"));
    await speaker.click("#talk");
    await speaker.until((_) => /^Kept: .* all of it/.test(document.getElementById("say")!.textContent!), 0);
  }
  const speech = join(directory, "speech.wav");
  const sound = writeWav({ rate: OUT_RATE, channels: 1, samples: noise(3, OUT_RATE) });
  writeFileSync(speech, sound);
  await heardByAllBut(null, async () => {
    const replay = spawn(BINARY, ["replay", speech, "--conversation", "team", "--url", url], { stdio: "ignore" });
    assert.deepEqual(await once(replay, "exit"), [0, null]);
  });

  listener.kill("SIGINT");
  await once(listener, "exit");
  const kept = await (await fetch(`${server.url}/api/recordings`)).json() as { items: { id: string }[] };
  assert.equal(kept.items.length, 4);
  const recordings = (await Promise.all(kept.items.map(({ id }) => recording(server, id)))).reverse();
  for (const [i, file] of files().entries()) {
    assert.ok(existsSync(file), file);
    assert.deepEqual(readWav(readFileSync(file)), recordings[i], `what the command line heard of stream ${i + 1} is what was recorded of it`);
  }
  assert.deepEqual(recordings[3]?.samples, await decoded(server, sound), "and that is what was sent");
  assert.deepEqual(faults, []);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 10_000; !(await holds()); await new Promise((resolve) => setTimeout(resolve, 50))) {
    assert.ok(Date.now() < end, `not yet: ${holds}`);
  }
}

/** Who has asked to listen, by the server's own count. */
async function listeners(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^voxgate_messages_received_total{type="listen_start"} (\d+)/m.exec(text)?.[1]);
}
