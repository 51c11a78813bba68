// Bundles the tests named on the command line (all where none is named) and runs them: node scripts/test.mjs [unit|server|chromium|firefox|webkit|phone|opus|meeting|dashboard|package|types ...]
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const web = new URL("..", import.meta.url).pathname;
const wanted = process.argv.slice(2);
const names = readdirSync(`${web}test`).filter((n) => n.endsWith(".test.ts") && (wanted.length === 0 || wanted.some((w) => n.startsWith(w))));
const out = `${web}test/built/`; // beside its sources, so that what is found relative to them is found
rmSync(out, { recursive: true, force: true });
await build({
  entryPoints: names.map((n) => `${web}test/${n}`),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: false,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  sourcemap: "inline",
  define: { "import.meta.url": JSON.stringify(`file://${web}test/support.ts`) },
  logLevel: "warning",
});
const files = names.map((n) => `${out}${n.replace(/\.ts$/, ".mjs")}`);
// A process that is over spins for ever now and then as it puts its handles away (nodejs/node#47748): it leaves at once where Node can be told so.
const [major, minor] = process.versions.node.split(".").map(Number);
const leave = major > 20 || (major === 20 && minor >= 14) ? ["--test-force-exit"] : [];
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-concurrency=1", ...leave, ...files], { stdio: "inherit" });
process.exit(run.status ?? 1);
