// Takes the pictures of docs/images: node scripts/screenshots.mjs [OUT-DIRECTORY [page|dashboard]]. Needs the server built, and Chromium.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

const web = new URL("..", import.meta.url).pathname;
const out = `${web}test/built/screenshots.mjs`;
await build({
  entryPoints: [`${web}test/screenshots.ts`],
  outfile: out,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  define: { "import.meta.url": JSON.stringify(`file://${web}test/support.ts`) },
});
process.exit(spawnSync(process.execPath, [out, ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1);
