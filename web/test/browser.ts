// Real browsers with a microphone of known sound.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, type Locator, type Page, chromium, firefox } from "playwright-core";
import type { Wav } from "./support.js";

export type Kind = "chromium" | "firefox";

const NAMES: Record<Kind, (string | undefined)[]> = {
  chromium: [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
  firefox: [process.env["FIREFOX"], "/usr/bin/firefox-esr", "/usr/bin/firefox"],
};
/** The tone of Firefox's microphone, in hertz: a wave as long as no chunk is, so that a lost chunk is a step in it. */
export const TONE_HZ = 51;

export interface Devices {
  /** What Chromium's microphone hears. Firefox's has no such thing, and hums. */
  microphone?: string;
  /** False: nothing to play on. Firefox then runs no AudioContext. */
  speaker?: boolean;
}

/** The distribution's own browser, with the devices a machine for tests has not. */
export async function openBrowser(kind: Kind = "chromium", { microphone, speaker = true }: Devices = {}): Promise<Browser> {
  const executablePath = NAMES[kind].find((n) => n && existsSync(n));
  if (!executablePath) throw new Error(`no ${kind}: apt-get install ${kind === "firefox" ? "firefox-esr" : kind}, or set ${kind.toUpperCase()}`);
  if (kind === "firefox") {
    const sound = speaker ? await openSpeaker() : null;
    const browser = await firefox.launch({
      executablePath,
      env: { ...process.env, PULSE_SERVER: sound?.address ?? "unix:/nowhere" },
      channel: "moz-firefox", // over WebDriver BiDi, which a Firefox as it is speaks
      firefoxUserPrefs: {
        "media.navigator.streams.fake": true,
        "media.navigator.audio.fake_frequency": TONE_HZ,
        "media.navigator.permission.disabled": true,
        "media.autoplay.default": 0,
      },
    });
    browser.on("disconnected", () => sound?.close());
    return browser;
  }
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", // for root, as in containers
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      ...(microphone ? [`--use-file-for-fake-audio-capture=${microphone}%noloop`] : []),
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

export interface Speaker {
  /** What `PULSE_SERVER` says. */
  address: string;
  close(): void;
}

/** A sound server that plays to nobody, at the pace of time. */
export async function openSpeaker(): Promise<Speaker> {
  const home = mkdtempSync(join(tmpdir(), "voxgate-sound-"));
  const socket = join(home, "native");
  const modules = ["module-null-sink rate=48000", `module-native-protocol-unix socket=${socket} auth-anonymous=1`];
  const server = spawn("pulseaudio", ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", ...modules.flatMap((m) => ["-L", m])], {
    env: { ...process.env, HOME: home, XDG_RUNTIME_DIR: home },
    stdio: "ignore",
  });
  const failed = new Promise<never>((_, reject) => {
    server.once("error", () => reject(new Error("the browser wants something to play on: apt-get install pulseaudio")));
    server.once("exit", (code) => reject(new Error(`pulseaudio ended with ${code}`)));
  });
  failed.catch(() => {});
  while (!existsSync(socket)) await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 20))]);
  return {
    address: `unix:${socket}`,
    close() {
      server.kill();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** What browsers say of a network that is away: no fault of the page. */
export const AWAY = /ERR_|WebSocket connection|connection to (the server at )?ws:/;

/** Collects a page's complaints, but those `expected`. */
export function watch(page: Page, faults: string[], expected = AWAY): Page {
  const complaint = (text: string) => void (expected.test(text) || faults.push(text));
  page.on("pageerror", (e) => complaint(e.stack ?? String(e)));
  page.on("console", (m) => m.type() === "error" && complaint(m.text()));
  return page;
}

/** The page as a new visitor has it, on what device he may have. Its complaints are collected. */
export async function openPage(browser: Browser, url: string, faults: string[], device: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ ...device, ...(browser.browserType().name() === "chromium" && { permissions: ["microphone"] }), acceptDownloads: true });
  const page = watch(await context.newPage(), faults);
  // On the blank page before it there is no storage.
  await page.addInitScript(() => void (self.origin !== "null" && localStorage.setItem("voxgate.raw", "1")));
  await page.addInitScript(tapMicrophone);
  await page.goto(url);
  await page.locator("#line[data-state=open]").waitFor();
  return page;
}

/** The page's link to the newest recording: the list has it a moment after it was kept. */
export async function newestLink(page: Page, server: { url: string }): Promise<Locator> {
  const { items } = (await (await fetch(`${server.url}/api/recordings?limit=1`)).json()) as { items: { id: string }[] };
  return page.locator(`#recordings [data-id="${items[0]!.id}"]`).getByRole("link", { name: /^Download: Microphone/ });
}

/** Where a page is wider than its window, on a phone, a tablet or a desk: `at 320 pixels 12 too wide`. */
export async function overflows(page: Page, height: number): Promise<string[]> {
  const found: string[] = [];
  for (const width of [320, 390, 768, 1_280]) {
    await page.setViewportSize({ width, height });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) found.push(`at ${width} pixels ${wide} too wide`);
  }
  return found;
}

/** What axe finds wrong with a page as it stands, light and dark: WCAG 2.2 A and AA, and its best practices. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axeSource()); // the page's policy does not bind what a test runs in it
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    found.push(...(await page.evaluate(runAxe)).map((what) => `${colorScheme}: ${what}`));
  }
  await page.emulateMedia({ colorScheme: null });
  return found;
}

export const axeSource = () => readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");

/** Runs in a page that has axe. */
export async function runAxe(): Promise<string[]> {
  const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 120)} ${n.failureSummary.replace(/\s+/g, " ")}`));
}

interface Axe {
  run(where: Document, options: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
}

export interface Tapped {
  tapped?: { rate: number; parts: Uint8Array<ArrayBuffer>[] };
}

/** Runs in the page: keeps a copy of what its microphone's worklet hands out. */
export function tapMicrophone(): void {
  if (typeof AudioWorkletNode !== "function") return;
  const kept = ((globalThis as Tapped).tapped = { rate: 0, parts: [] as Uint8Array<ArrayBuffer>[] });
  globalThis.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(context: BaseAudioContext, name: string, options?: AudioWorkletNodeOptions) {
      super(context, name, options);
      kept.rate = context.sampleRate;
      this.port.addEventListener("message", ({ data }) => data.pcm && kept.parts.push(new Uint8Array(data.pcm.slice(0))));
    }
  };
}

/** Runs in the page: what the microphone has handed out, 16-bit samples in base64. */
export async function readTap(): Promise<{ rate: number; base64: string }> {
  const { rate, parts } = (globalThis as Tapped).tapped as NonNullable<Tapped["tapped"]>;
  const reader = new FileReader();
  reader.readAsDataURL(new Blob(parts));
  await new Promise((resolve) => (reader.onload = resolve));
  return { rate, base64: (reader.result as string).split(",")[1] ?? "" };
}

/** What `readTap` brought, as a recording. */
export function wavOf({ rate, base64 }: { rate: number; base64: string }): Wav {
  return { rate, channels: 1, samples: new Int16Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer) };
}
