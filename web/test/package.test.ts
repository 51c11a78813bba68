// The package as npm would have it, in a project of somebody's own: what is in it, whether its types hold, whether what its README says runs.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { transformSync } from "esbuild";
import { ROOT, startServer } from "./support.js";

const WEB = new URL("web/", ROOT).pathname;
const project = mkdtempSync(join(tmpdir(), "voxgate-package-"));
const readme = readFileSync(`${WEB}client/README.md`, "utf8");
const samples = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1] as string);
let files: string[];

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

before(() => {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--silent", "--pack-destination", project], `${WEB}client`).replace(/^[^[]*/, "")) as [{ filename: string; files: { path: string }[] }];
  files = packed.files.map((f) => f.path);
  const home = join(project, "node_modules", "voxgate-client");
  mkdirSync(home, { recursive: true });
  run("tar", ["-xzf", packed.filename, "-C", home, "--strip-components=1"], project);
  mkdirSync(join(project, "node_modules", "@types"));
  for (const other of ["ws", "@types/ws", "@types/node", "undici-types"]) symlinkSync(`${WEB}node_modules/${other}`, join(project, "node_modules", other));
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
});
after(() => rmSync(project, { recursive: true, force: true }));

test("it has what it needs and nothing else", () => {
  for (const wanted of ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "package.json", "dist/index.js", "dist/index.d.ts", "dist/worklet.js"]) assert.ok(files.includes(wanted), wanted);
  assert.deepEqual(files.filter((f) => !/^(README\.md|LICENSE-\w+|package\.json|dist\/[\w.]+)$/.test(f)), []);
  const { dependencies, exports } = JSON.parse(readFileSync(join(project, "node_modules/voxgate-client/package.json"), "utf8"));
  assert.equal(dependencies, undefined, "it needs nothing else to run");
  for (const file of [exports["."].types, exports["."].default, exports["./worklet.js"]]) assert.ok(files.includes(file.slice(2)), file);
});

for (const [resolution, module] of [["nodenext", "nodenext"], ["bundler", "esnext"]] as const) {
  test(`what the README says is true of the types (moduleResolution ${resolution}, strict, libraries checked)`, () => {
    assert.ok(samples.length >= 4);
    const around = 'import { Player, VoxgateClient } from "voxgate-client";\ndeclare const client: VoxgateClient;\n';
    samples.forEach((code, i) => {
      const whole = code.includes("import ") ? `declare function fetchToken(): Promise<string>;\n${code}` : around + code;
      writeFileSync(join(project, `sample${i}.ts`), `${whole}\nexport {};\n`);
    });
    const compilerOptions = { strict: true, noEmit: true, target: "es2022", module, moduleResolution: resolution, lib: ["es2023", "dom", "dom.iterable"], types: ["node"], skipLibCheck: false };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["sample*.ts"] }));
    run(process.execPath, [`${WEB}node_modules/typescript/bin/tsc`, "-p", project], project);
  });
}

test("what the README says of Node runs in it", async () => {
  const server = await startServer();
  try {
    const script = samples.find((code) => code.includes('from "ws"')) as string;
    copyFileSync(new URL("fixtures/audio/studio48.mp3", ROOT), join(project, "talk.mp3"));
    const { code } = transformSync(script.replace("ws://127.0.0.1:8080", server.url), { loader: "ts", format: "esm" });
    writeFileSync(join(project, "script.mjs"), code);
    assert.match(run(process.execPath, ["script.mjs"], project), /reason: 'end'/);
  } finally {
    await server.stop();
  }
});
