// Builds what the server embeds (dist/) and, with "client", the package (client/dist/).
// Usage: node scripts/build.mjs [client] [--check]   --check: fails where dist/ is not what the sources make.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const web = new URL("..", import.meta.url).pathname;
const flags = new Set(process.argv.slice(2));
const worklet = async () => {
  const { outputFiles } = await build({ entryPoints: [`${web}client/src/worklet.ts`], write: false, format: "esm", logLevel: "warning" });
  const module = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  return module.WORKLET_SOURCE;
};

async function page() {
  const common = { bundle: true, minify: true, write: false, charset: "utf8", target: ["chrome100", "firefox100", "safari15.4"], legalComments: "none" };
  const js = await build({ ...common, entryPoints: [`${web}page/app.ts`], format: "esm", logLevel: "warning" });
  const css = await build({ ...common, entryPoints: [`${web}page/app.css`], logLevel: "warning" });
  return {
    "index.html": readFileSync(`${web}page/index.html`, "utf8"),
    "icon.svg": readFileSync(`${web}page/icon.svg`, "utf8"),
    "app.js": js.outputFiles[0].text,
    "app.css": css.outputFiles[0].text,
    "worklet.js": await worklet(),
  };
}

async function client() {
  const out = `${web}client/dist`;
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  for (const licence of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(`${web}../${licence}`, `${web}client/${licence}`);
  await build({ entryPoints: [`${web}client/src/index.ts`], outfile: `${out}/index.js`, bundle: true, format: "esm", target: "es2022", sourcemap: true, logLevel: "warning" });
  writeFileSync(`${out}/worklet.js`, await worklet());
  const tsc = spawnSync(process.execPath, [`${web}node_modules/typescript/bin/tsc`, "-p", `${web}client`], { stdio: "inherit" });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
}

if (flags.has("client")) {
  await client();
} else {
  mkdirSync(`${web}dist`, { recursive: true });
  let differ = false;
  for (const [name, text] of Object.entries(await page())) {
    const path = `${web}dist/${name}`;
    if (!flags.has("--check")) writeFileSync(path, text);
    else if (readFileSync(path, "utf8") !== text) {
      differ = true;
      console.error(`dist/${name} is not what its sources make: run \`npm run build\` in web/ and commit it`);
    }
  }
  if (differ) process.exit(1);
}
