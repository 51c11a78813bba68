// The page in a real Firefox.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openBrowser, openPage } from "./browser.js";
import { pageWorksIn } from "./page.js";
import { startServer } from "./support.js";

pageWorksIn("firefox");

test("where there is nothing to play on no audio context runs, and the recorder takes over", async () => {
  const server = await startServer();
  const browser = await openBrowser("firefox", { speaker: false });
  const faults: string[] = [];
  const page = await openPage(browser, `${server.url}/`, faults);
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 1);
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/Kept: .* all of it/).waitFor();
  await browser.close();
  await server.stop();
  assert.deepEqual(faults, []);
});
