// The page in a real browser, against the real server, over a network that is cut.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { type Kind, TONE_HZ, barriers, newestLink, openBrowser, openPage, overflows, readTap, wavOf } from "./browser.js";
import { compare, follow } from "./sound.js";
import { FlakyNetwork, OUT_RATE, ROOT, type TestServer, decoded, microphoneFile, noise, readWav, startServer, tokenFor, writeWav } from "./support.js";

async function downloaded(page: Page, link: Locator): Promise<Uint8Array> {
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  return readFileSync(await download.path());
}

/** What the link would download: Firefox does not tell where it puts it. */
async function fetched(link: Locator): Promise<Uint8Array> {
  const response = await fetch(await link.evaluate((a) => (a as HTMLAnchorElement).href));
  return new Uint8Array(await response.arrayBuffer());
}

/** Speaks for four seconds, the network cut in the middle. */
async function speakOverACut(page: Page, network: FlakyNetwork): Promise<void> {
  await page.getByRole("button", { name: "Start the microphone" }).click();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 2);
  network.cut();
  await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 4);
  await page.getByRole("button", { name: "Stop the microphone" }).click();
  await page.getByText(/Kept: .* all of it/).waitFor();
}

/** Tests of the page in a browser of this kind. */
export function pageWorksIn(kind: Kind): void {
  const directory = mkdtempSync(join(tmpdir(), "voxgate-page-"));
  const speech = join(directory, "speech.wav");
  const faults: string[] = [];
  let server: TestServer;
  let network: FlakyNetwork;
  let browser: Browser;
  let url: string;

  before(async () => {
    // No moment of it is like another.
    microphoneFile(speech, noise(40, 16_000));
    server = await startServer();
    network = await new FlakyNetwork(server.port).open();
    url = `http://127.0.0.1:${network.port}/`;
    browser = await openBrowser(kind, { microphone: speech });
  });
  after(async () => {
    await browser?.close();
    network?.close();
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

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

    const link = await newestLink(page, server);
    const kept = readWav(kind === "firefox" ? await fetched(link) : await downloaded(page, link));
    assert.deepEqual([kept.rate, kept.channels], [OUT_RATE, 1]);
    const shown = parseFloat((await page.locator("#acked").textContent())!);
    assert.ok(Math.abs(kept.samples.length / OUT_RATE - shown) < 0.1, "the recording is as long as what was acknowledged");
    // Sample for sample what the device gave; and the device gave what was spoken, but for what it drops itself where the machine is busy.
    const heard = await decoded(server, writeWav(wavOf(await page.evaluate(readTap))));
    assert.ok(kept.samples.length > 5 * OUT_RATE);
    assert.deepEqual(kept.samples, heard);
    const [from, to] = [OUT_RATE / 2, kept.samples.length - OUT_RATE / 4];
    if (kind === "firefox") {
      const tone = follow(kept.samples, OUT_RATE, TONE_HZ, from, to);
      assert.ok(Math.abs(tone.hz - TONE_HZ) < 0.1, JSON.stringify(tone));
    } else {
      const same = compare(kept.samples, await decoded(server, readFileSync(speech)), from, to);
      assert.ok(same.windows > 80 && same.median > 0.95, JSON.stringify(same));
    }
    await page.context().close();
    assert.deepEqual(faults, []);
  });

  test("two pages: who is there, who types, what is written, and one hears the other speak", async () => {
    const [ada, grace] = [
      await openPage(browser, `${url}?client_id=ada&conversation_id=team`, faults),
      await openPage(browser, `${url}?client_id=grace`, faults),
    ];
    await grace.getByRole("textbox", { name: "Name of the conversation" }).fill("team");
    await grace.getByRole("button", { name: "Join" }).click();
    for (const [page, names] of [[ada, ["ada (you)", "grace"]], [grace, ["ada", "grace (you)"]]] as const) {
      await page.waitForFunction((n) => [...document.querySelectorAll("#people li")].map((l) => l.textContent).join() === n, names.join());
    }
    const field = ada.getByRole("textbox", { name: "Your message" });
    await field.pressSequentially("Can you <b>hear</b> me?");
    await grace.getByText("ada writes…").waitFor();
    await field.press("Enter");
    await grace.getByRole("log").getByText("Can you <b>hear</b> me?").waitFor();
    await grace.getByText("ada writes…").waitFor({ state: "detached" });
    assert.equal(await ada.locator("#log li[data-waits]").count(), 0, "it was accepted");

    await grace.getByRole("switch", { name: "Listen live" }).click();
    await ada.keyboard.press("Escape");
    await ada.locator("#microphone").focus();
    await ada.keyboard.press("m");
    await grace.locator("#people li[data-speaking][data-name=ada]").waitFor();
    await grace.waitForFunction(() => Number(document.body.dataset["heard"]) > 16_000);
    await ada.keyboard.press("m");
    await grace.locator("#people li[data-speaking]").waitFor({ state: "detached" });

    await grace.getByRole("button", { name: "Leave" }).click();
    await ada.waitForFunction(() => document.querySelectorAll("#people li").length === 1);
    await grace.getByRole("button", { name: "Join" }).click();
    await grace.getByRole("log").getByText("Can you <b>hear</b> me?").waitFor(); // the history is there again
    await ada.context().close();
    await grace.context().close();
    assert.deepEqual(faults, []);
  });

  test("files that are dropped or chosen are streamed, at once or in their own time; recordings are played and deleted", async () => {
    const page = await openPage(browser, url, faults);
    const mp3 = readFileSync(new URL("fixtures/audio/studio48.mp3", ROOT));
    const webm = readFileSync(new URL("fixtures/recorders/chromium-opus.webm", ROOT));
    await page.getByRole("radio", { name: "at once" }).check();
    const transfer = await page.evaluateHandle((base64) => {
      const made = new DataTransfer();
      made.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "from the studio.mp3", { type: "audio/mpeg" }));
      return made;
    }, mp3.toString("base64"));
    await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
    await page.locator("#transfers li", { hasText: "from the studio.mp3" }).getByText("0:01, kept").waitFor();

    await page.getByRole("radio", { name: "in real time" }).check();
    const began = Date.now();
    await page.locator("#file").setInputFiles({ name: "memo.webm", mimeType: "audio/webm", buffer: webm });
    await page.locator("#transfers li", { hasText: "memo.webm" }).getByText("0:06, kept").waitFor();
    const took = Date.now() - began;
    assert.ok(took > 5_000, `6.3 s of sound were sent in ${took} ms`);
    await page.locator("#file").setInputFiles({ name: "letter.txt", mimeType: "text/plain", buffer: Buffer.from("no sound at all ".repeat(9_000)) });
    await page.locator("#transfers li", { hasText: "letter.txt" }).locator("[data-tone=bad]").waitFor();

    const list = page.getByRole("listitem").filter({ has: page.getByRole("button", { name: /^Play: memo,/ }) });
    await list.getByRole("button", { name: /^Play/ }).press("Enter");
    await page.waitForFunction(() => (document.getElementById("player") as HTMLAudioElement).currentTime > 0.2);
    await Promise.all([page.waitForResponse(/api\/recordings\?/), page.evaluate(() => document.getElementById("refresh")!.click())]);
    assert.match((await page.evaluate(() => document.activeElement?.getAttribute("aria-label"))) ?? "", /^Play: memo,/, "the keyboard keeps its place");
    page.on("dialog", (d) => void d.accept());
    const before = await page.locator("#recordings li").count();
    await list.getByRole("button", { name: /^Delete/ }).click();
    await page.waitForFunction((n) => document.querySelectorAll("#recordings li").length === n - 1, before);
    await page.context().close();
    assert.deepEqual(faults, []);
  });

  test("a browser without an audio worklet sends what its recorder makes", async () => {
    const page = await openPage(browser, url, faults);
    await page.evaluate(() => Reflect.deleteProperty(globalThis, "AudioWorkletNode"));
    await speakOverACut(page, network);
    await page.context().close();
    assert.deepEqual(faults, []);
  });

  test("who saves data sends Opus, over a cut too, where the browser can encode it", async () => {
    const page = await openPage(browser, url, faults);
    await page.evaluate(() => localStorage.setItem("voxgate.opus", "1"));
    const before = network.bytesUp;
    await speakOverACut(page, network);
    const bytesPerSecond = (network.bytesUp - before) / parseFloat((await page.locator("#acked").textContent())!);
    assert.equal(await page.evaluate(() => typeof AudioEncoder), "function");
    assert.ok(bytesPerSecond < 9_000, `${bytesPerSecond}`);
    const kept = readWav(await fetched(await newestLink(page, server))).samples;
    assert.ok(kept.length > 3.5 * OUT_RATE && kept.some((x) => Math.abs(x) > 1_000));
    await page.context().close();
    assert.deepEqual(faults, []);
  });

  test("everything can be reached and is named without a mouse and without eyes", async () => {
    const page = await openPage(browser, url, faults);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a, input, select, [role=meter], canvas")].filter((e) => {
        const labels = (e as HTMLInputElement).labels;
        return !e.textContent?.trim() && !e.getAttribute("aria-label") && !labels?.length;
      }).map((e) => e.outerHTML),
    );
    assert.deepEqual(nameless, []);
    const reached: string[] = [];
    for (let i = 0; i < 14; i++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.className || ""));
    }
    for (const id of ["skip", "settings-open", "talk", "device", "room", "join-button", "log", "file", "refresh"]) assert.ok(reached.includes(id), `${id}: ${reached}`);
    if (kind === "chromium") {
      await page.locator("#file").setInputFiles({ name: "memo.wav", mimeType: "audio/wav", buffer: Buffer.from(writeWav({ rate: OUT_RATE, channels: 1, samples: noise(1, OUT_RATE) })) });
      await page.getByText("0:01, kept").waitFor();
      await page.getByRole("textbox", { name: "Name of the conversation" }).fill("room");
      await page.getByRole("button", { name: "Join" }).click();
      await page.getByRole("textbox", { name: "Your message" }).fill("Is anybody here?");
      await page.keyboard.press("Enter");
      await page.getByRole("log").getByText("Is anybody here?").waitFor();
      await page.locator("#log li[data-waits]").waitFor({ state: "detached" });
      assert.deepEqual(await barriers(page), []);
    }
    await page.locator("#settings-open").focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Settings" }).waitFor();
    if (kind === "chromium") assert.deepEqual(await barriers(page), []);
    await page.getByRole("textbox", { name: "Your name here" }).fill("someone_else");
    await page.keyboard.press("Enter");
    await page.locator("#client-id", { hasText: "someone_else" }).waitFor();
    assert.deepEqual(await overflows(page, 700), []);
    await page.context().close();
    assert.deepEqual(faults, []);
  });

  test("where the server asks for a token the page asks for it, and everything on it uses it", async () => {
    const secret = "a secret of tests that is long enough for HS256";
    const guarded = await startServer({ "auth.mode": "jwt", "auth.hs256_secret": secret });
    const token = tokenFor("ada", secret);
    const page = await openPage(browser, `${guarded.url}/#token=${token}`, faults);
    assert.equal(new URL(page.url()).hash, "", "the token does not stay in the address");
    await page.getByRole("button", { name: "Start the microphone" }).click();
    await page.waitForFunction(() => parseFloat(document.getElementById("acked")!.textContent!) > 1);
    await page.getByRole("button", { name: "Stop the microphone" }).click();
    await page.getByRole("button", { name: /^Play: Microphone/ }).click();
    await page.waitForFunction(() => (document.getElementById("player") as HTMLAudioElement).currentTime > 0.1);
    await page.context().close();
    assert.deepEqual(faults, []);

    const stranger = await (await browser.newContext()).newPage();
    await stranger.goto(`${guarded.url}/#token=not-a-token`);
    await stranger.getByRole("dialog", { name: "Settings" }).waitFor();
    assert.match((await stranger.locator("#line").textContent())!, /token/);
    await stranger.getByLabel("Access token").fill(token);
    await stranger.getByRole("button", { name: "Save" }).click();
    await stranger.locator("#line[data-state=open]").waitFor();
    await stranger.context().close();
    await guarded.stop();
  });
}
