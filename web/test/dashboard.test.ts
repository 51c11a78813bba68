// The dashboard in a real Chromium, against the real server under a little load.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Browser, type Page, devices } from "playwright-core";
import { WebSocket } from "ws";
import { type ClientOptions, VoxgateClient } from "../client/src/index.js";
import { AWAY, barriers, openBrowser, overflows, watch } from "./browser.js";
import { FlakyNetwork, type TestServer, bytesOf, noise, startServer, tokenFor } from "./support.js";

const SECRET = "a secret of tests that is long enough for HS256";
const faults: string[] = [];
let open: TestServer;
let guarded: TestServer;
let browser: Browser;

before(async () => {
  open = await startServer({ "monitoring.sample_interval_s": "1" });
  guarded = await startServer({ "auth.mode": "jwt", "auth.hs256_secret": SECRET });
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await open?.stop();
  await guarded?.stop();
});

/** The dashboard, in a context of its own. That the server says no is no fault of the page. */
async function dashboard(server: TestServer, hash = ""): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1_280, height: 900 } });
  const page = watch(await context.newPage(), faults, new RegExp(`status of 40[13]|${AWAY.source}`));
  page.on("dialog", (d) => void d.accept());
  await page.goto(`${server.url}/monitoring/dashboard${hash}`);
  return page;
}

async function connected(server: TestServer, clientId: string, more: Partial<ClientOptions> = {}): Promise<VoxgateClient> {
  const client = new VoxgateClient({ url: server.url, clientId, WebSocket, ...more });
  await client.connect();
  return client;
}

/** The value below a chart, as it is written. */
const legend = (page: Page, chart: string, line: string) =>
  page.getByRole("group", { name: chart, exact: true }).locator(".u-series", { hasText: line }).locator(".u-value");

test("what happens is seen: connections, streams, audio, and errors by kind on a time line, in each of the three windows", async () => {
  const page = await dashboard(open);
  await page.locator("#live", { hasText: "live" }).waitFor();
  assert.equal(await page.locator("#door").isVisible(), false, "nobody is asked for a token where none is wanted");
  const client = await connected(open, "ada");
  const stream = client.openStream({ format: { encoding: "pcm_s16le", sample_rate: 16_000, channels: 1 }, name: "song" });
  await stream.write(bytesOf(noise(20, 16_000)));
  for (let i = 0; i < 3; i++) await assert.rejects(client.request({ type: "leave_conversation", conversation_id: "nowhere" }, "conversation_left"));
  await assert.rejects(client.request({ type: "join_conversation", conversation_id: "no such name" }, "conversation_joined"));

  const charts = await page.locator("#charts [role=group]").evaluateAll((all) => all.map((chart) => {
    const lines = [...chart.querySelectorAll(".u-series th")].slice(1).map((line) => line.textContent); // after the time
    return `${chart.getAttribute("aria-label")}: ${lines.join(", ")}`;
  }));
  for (const wanted of [
    "Connections: connected, recovering",
    "Streams: open, being recorded",
    "Audio decoded, seconds a second: audio",
    "Acknowledgement latency: p50, p95, p99",
    "Bytes a second: in, out",
    "Waiting in outbound queues: bytes",
    "Audio waiting and dropped: waiting, dropped a second",
    "Processor: this process, of a core, machine",
    "Memory: process, reserved by streams",
  ]) assert.ok(charts.includes(wanted), `${wanted}: ${charts.join("; ")}`);
  const parts = await page.locator("#parts li").allTextContents();
  for (const part of [/^store: healthy/, /^recorder: healthy/, /^breaker recorder: closed/]) assert.ok(parts.some((p) => part.test(p)), `${part}: ${parts.join("; ")}`);

  const row = page.getByRole("row").filter({ hasText: "ada" }).first();
  await row.getByText("open").waitFor();
  await page.getByRole("row").filter({ hasText: "this page" }).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("#errors tbody tr")].length === 4);
  await page.getByRole("heading", { name: "Errors 4" }).waitFor();
  for (const [name, seconds] of [["1 h", 3_600], ["24 h", 86_400], ["5 min", 300]] as const) {
    await page.getByRole("button", { name, exact: true }).click();
    assert.equal(await page.getByRole("button", { name, exact: true }).getAttribute("aria-pressed"), "true");
    await legend(page, "Connections", "connected").getByText("2", { exact: true }).waitFor();
    await page.locator(`#charts[data-seconds="${seconds}"]`).waitFor();
    assert.equal(await page.getByRole("group", { name: "Errors by kind over time" }).locator(".u-series").count(), 3, "two kinds and the time");
  }
  assert.deepEqual(await barriers(page), []);
  await stream.end();
  client.close();
  await page.getByRole("row").filter({ hasText: "ada" }).first().waitFor({ state: "detached" });
  assert.deepEqual(await overflows(page, 800), []);
  await page.context().close();
  assert.deepEqual(faults, []);
});

test("an administrator cuts a connection, which may not come back by itself", async () => {
  const page = await dashboard(open);
  const client = await connected(open, "eve");
  const closed = new Promise<number>((resolve) => client.on("state", (s) => s.name === "closed" && resolve(s.code)));
  await page.getByRole("button", { name: "Disconnect eve" }).click();
  assert.equal(await closed, 4010);
  await page.getByRole("button", { name: "Disconnect eve" }).waitFor({ state: "detached" });
  assert.equal(await page.getByRole("button", { name: "Disconnect dashboard" }).count(), 0, "nobody cuts the page he looks at by mistake");
  await page.context().close();
  assert.deepEqual(faults, []);
});

test("where a token is wanted, an administrator's opens it and nobody else's, and nothing is asked before", async () => {
  const someone = await connected(guarded, "grace", { token: tokenFor("grace", SECRET) });
  const page = await dashboard(guarded);
  const asked: string[] = [];
  await page.getByRole("heading", { name: "For administrators" }).waitFor();
  page.on("request", (r) => asked.push(r.url()));
  page.on("websocket", (s) => asked.push(s.url()));
  const signIn = async (token: string) => {
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  await signIn("not-a-token");
  await page.getByText(/^Refused: /).waitFor();
  await signIn(tokenFor("grace", SECRET));
  await page.getByText(/admin role/).waitFor();
  assert.deepEqual(await barriers(page), []);
  assert.equal(asked.length, 2, `one question a token: ${asked}`);
  assert.equal(await page.getByRole("button", { name: /^Disconnect/ }).count(), 0);

  await signIn(tokenFor("ada", SECRET, "admin"));
  await page.locator("#live", { hasText: "live" }).waitFor();
  await page.getByRole("button", { name: "Disconnect grace" }).waitFor();
  await page.reload();
  await page.getByRole("button", { name: "Disconnect grace" }).waitFor(); // the tab remembers
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "For administrators" }).waitFor(); // and has forgotten
  await page.context().close();

  const linked = await dashboard(guarded, `#token=${tokenFor("ada", SECRET, "admin")}`);
  await linked.getByRole("button", { name: "Disconnect grace" }).waitFor();
  assert.equal(new URL(linked.url()).hash, "", "the token does not stay in the address");
  await linked.context().close();
  someone.close();
  assert.deepEqual(faults, []);
});

test("on a phone it notices that it walked out of the Wi-Fi, and is live again as soon as it is back", async () => {
  const network = await new FlakyNetwork(open.port).open();
  const context = await browser.newContext(devices["Pixel 7"]);
  const page = watch(await context.newPage(), faults);
  await page.goto(`http://127.0.0.1:${network.port}/monitoring/dashboard`);
  const live = page.locator("#live");
  await live.getByText("live").waitFor();
  network.away = true;
  await live.getByText("reconnecting").waitFor({ timeout: 20_000 });
  network.away = false;
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await live.getByText("live").waitFor({ timeout: 2_000 });
  await page.locator("#problems").waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "1 h", exact: true }).tap();
  await page.locator('#charts[data-seconds="3600"]').waitFor();
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(await overflows(page, 800), []);
  await context.close();
  network.close();
  assert.deepEqual(faults, []);
});
