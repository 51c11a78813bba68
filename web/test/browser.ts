// A real Chromium whose microphone is a file.
import { existsSync } from "node:fs";
import { type Browser, type Page, chromium } from "playwright-core";

const NAMES = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function openBrowser(microphone?: string): Promise<Browser> {
  const executablePath = NAMES.find((n) => n && existsSync(n));
  if (!executablePath) throw new Error("no Chromium: apt-get install chromium, or set CHROMIUM");
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

/** Collects a page's complaints, but those `expected`. A network that is away is no fault of the page. */
export function watch(page: Page, faults: string[], expected = /ERR_|WebSocket connection/): Page {
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("console", (m) => {
    if (m.type() === "error" && !expected.test(m.text())) faults.push(m.text());
  });
  return page;
}

/** The page as a new visitor has it. Its complaints are collected. */
export async function openPage(browser: Browser, url: string, faults: string[]): Promise<Page> {
  const context = await browser.newContext({ permissions: ["microphone"], acceptDownloads: true });
  const page = watch(await context.newPage(), faults);
  await page.addInitScript(() => localStorage.setItem("voxgate.raw", "1"));
  await page.goto(url);
  await page.locator("#line[data-state=open]").waitFor();
  return page;
}
