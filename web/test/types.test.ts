// The types of the client are those the server describes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ROOT, startServer } from "./support.js";

test("the client's types are made from what this server says", async (t) => {
  const server = await startServer();
  try {
    const response = await fetch(`${server.url}/ws/protocol`, { headers: { accept: "application/json" } });
    if (!response.ok) return t.skip("this server does not describe its protocol");
    const { generate } = (await import(new URL("web/scripts/types.mjs", ROOT).href)) as { generate(document: unknown): Promise<string> };
    const made = await generate(await response.json());
    assert.equal(readFileSync(new URL("web/client/src/protocol.ts", ROOT), "utf8"), made, "run `npm run types` in web/ and commit what it makes");
  } finally {
    await server.stop();
  }
});
