// WebKit, the engine of Safari, as Debian has it: MiniBrowser under WebKitWebDriver. Its microphone is one of its own that beeps.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { type Speaker, openSpeaker } from "./browser.js";

const FEATURES = "--features=+MockCaptureDevices,-MockCaptureDevicesPrompt,-GetUserMediaRequiresFocus";
const ARGS = ["--automation", "--enable-media-stream=true", "--enable-mock-capture-devices=true", "--autoplay-policy=allow", FEATURES];
/** The longest that anything on the page may take, in milliseconds. */
const PATIENCE_MS = 20_000;

/** The engine itself crashed or hung, as Debian's does now and then on a busy machine: the page can do nothing for it. */
export class WebKitDied extends Error {}

/** Does `work`; and once more after a `stop` and a new `start`, where WebKit died under it. */
export async function unlessItDies(t: TestContext, work: () => Promise<void>, stop: () => Promise<void>, start: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof WebKitDied)) throw error;
    t.diagnostic(`WebKit died, once more in another: ${error.message}`);
    await stop();
    await start();
    await work();
  }
}

/** A page in WebKit, over the W3C's WebDriver. */
export class WebKitPage {
  private constructor(
    private readonly session: string,
    private readonly children: ChildProcess[],
    private readonly speaker: Speaker,
  ) {}

  /** `dark`: as where the whole desk is dark. */
  static async open(url: string, { dark = false } = {}): Promise<WebKitPage> {
    for (let tries = 1; ; tries++) {
      const page = await WebKitPage.#start(dark);
      try {
        await page.goto(url);
        return page;
      } catch (error) {
        await page.close();
        if (tries === 2 || !(error instanceof WebKitDied)) throw error;
      }
    }
  }

  static async #start(dark: boolean): Promise<WebKitPage> {
    const screen = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"], { stdio: ["ignore", "pipe", "ignore"] });
    const display = await firstLine(screen, "xvfb");
    const port = await freePort();
    const speaker = await openSpeaker();
    const env = { ...process.env, DISPLAY: `:${display}`, PULSE_SERVER: speaker.address, ...(dark && { GTK_THEME: "Adwaita:dark" }) };
    const driver = spawn("WebKitWebDriver", [`--port=${port}`], { env, stdio: "ignore" });
    await once(driver, "spawn").catch(() => missing("webkit2gtk-driver"));
    const root = `http://127.0.0.1:${port}`;
    const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": { args: ARGS } } };
    const started = await patiently(() => call<{ sessionId: string }>("POST", `${root}/session`, { capabilities }));
    const page = new WebKitPage(`${root}/session/${started.sessionId}`, [driver, screen], speaker);
    await page.#call("POST", "timeouts", { script: PATIENCE_MS });
    return page;
  }

  async goto(url: string): Promise<void> {
    await this.#call("POST", "url", { url });
  }

  /** Runs a function in the page. It sees nothing of here but its arguments, which are what JSON can say, as is what it returns. */
  async evaluate<T, A extends unknown[]>(work: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
    const script = `const done = arguments[arguments.length - 1];
      Promise.resolve().then(() => (${work})(...[...arguments].slice(0, -1))).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const answer = await this.#call<{ value: T; error?: string }>("POST", "execute/async", { script, args });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }

  /** Runs a script in the page, as one that the page itself had loaded. */
  async run(script: string): Promise<void> {
    await this.#call("POST", "execute/sync", { script, args: [] });
  }

  /** Types as a person does. */
  async type(selector: string, text: string): Promise<void> {
    await this.#call("POST", `${await this.#element(selector)}/value`, { text });
  }

  /** Makes the window so large; answers with how wide the page is then. */
  async resize(width: number, height: number): Promise<number> {
    await this.#call("POST", "window/rect", { width, height });
    return this.evaluate(() => innerWidth);
  }

  /** Waits until it is true in the page. */
  async until<A extends unknown[]>(holds: (...args: A) => boolean, ...args: A): Promise<void> {
    await patiently(async () => {
      if (!(await this.evaluate(holds, ...args))) throw new Error(`not yet: ${holds}`);
    });
  }

  /** Clicks as a person does: it counts as his act. */
  async click(selector: string): Promise<void> {
    // The driver scrolls no further than to the window's edge, and takes what lies half behind it for out of reach.
    await this.evaluate((s) => document.querySelector(s)?.scrollIntoView({ block: "center" }), selector);
    await this.#call("POST", `${await this.#element(selector)}/click`, {});
  }

  async #element(selector: string): Promise<string> {
    const found = await this.#call<Record<string, string>>("POST", "element", { using: "css selector", value: selector });
    return `element/${Object.values(found)[0]}`;
  }

  async #call<T>(method: string, what: string, body: unknown): Promise<T> {
    try {
      return await call<T>(method, `${this.session}/${what}`, body);
    } catch (error) {
      // Of a death the driver says all manner of things; afterwards it answers nothing.
      const lives = await call("GET", `${this.session}/url`).then(() => true, () => false);
      throw lives ? error : new WebKitDied((error as Error).message);
    }
  }

  async close(): Promise<void> {
    await call("DELETE", this.session).catch(() => {});
    this.children.forEach((c) => c.kill("SIGKILL"));
    this.speaker.close();
  }
}

function missing(what: string): never {
  throw new Error(`the tests in WebKit want it: apt-get install ${what}`);
}

async function call<T>(method: string, url: string, body?: unknown): Promise<T> {
  const signal = AbortSignal.timeout(PATIENCE_MS + 5_000); // after the driver's own
  const answer = await fetch(url, { method, signal, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const { value } = (await answer.json()) as { value: T & { error?: string; message?: string } };
  if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

/** Until it succeeds, or for as long as there is patience. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > end || error instanceof WebKitDied) throw error;
    }
  }
}

async function firstLine(child: ChildProcess, from: string): Promise<string> {
  const line = once(createInterface({ input: child.stdout! }), "line");
  await once(child, "spawn").catch(() => missing(from));
  return String((await line)[0]);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
