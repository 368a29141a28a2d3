/** The tarball of `npm pack`, in an empty folder with nothing beside it but what its package.json asks for. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseSync } from "vite";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { blocks, readDoc } from "../golden/snippets.ts";

vi.setConfig({ testTimeout: 300_000 }); // processes start slowly where others compute

const checkout = resolve(import.meta.dirname, "../..");
const root = mkdtempSync(join(tmpdir(), "heddle-package-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Where the package is installed. */
const installed = join(root, "node_modules", "heddle");

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}
let manifest: Manifest;

/** Runs a program in a folder and gives what it printed; throws with all that it said where it fails. */
function run(folder: string, command: string, args: readonly string[]): string {
  const made = spawnSync(command, args, { cwd: folder, encoding: "utf8" });
  if (made.status === 0) return made.stdout;
  throw new Error(`${command} ${args.join(" ")} gave ${made.status}:\n${made.stdout}\n${made.stderr}`);
}
const node = (folder: string, ...args: readonly string[]) => run(folder, process.execPath, args);
const heddle = (folder: string, ...args: readonly string[]) =>
  node(folder, join(installed, manifest.bin.heddle!), ...args);
const typescript = (folder: string) =>
  node(folder, join(checkout, "node_modules/typescript/bin/tsc"), "--pretty", "false", "-p", folder);

function project(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(root, name);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

beforeAll(() => {
  // What is packed is a copy, so that the checkout's own dist/ is left as it is.
  const staging = join(root, "staging");
  for (const path of ["package.json", "README.md", "LICENSE", "bin"])
    cpSync(join(checkout, path), join(staging, path), { recursive: true });
  node(checkout, "scripts/build.ts", join(staging, "dist"));
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  run(staging, npm, [
    "pack",
    "--ignore-scripts",
    "--silent",
    "--no-update-notifier",
    "--offline",
    "--pack-destination",
    root,
  ]);
  const tarball = readdirSync(root).find((name) => name.endsWith(".tgz"))!;
  mkdirSync(installed, { recursive: true });
  run(root, "tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
  manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Manifest;
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    mkdirSync(dirname(join(root, "node_modules", name)), { recursive: true });
    symlinkSync(join(checkout, "node_modules", name), join(root, "node_modules", name), "junction");
  }
}, 300_000);

/** Options of TypeScript that check what the package declares. */
const strictly = { module: "nodenext", target: "esnext", strict: true, noEmit: true, types: [] as string[] };

/** All texts below a value. */
const texts = (value: unknown): string[] =>
  typeof value === "string" ? [value] : Object.values(value as Readonly<Record<string, unknown>>).flatMap(texts);

/** What a file imports, by the names that it says. */
function importsOf(path: string, code: string): string[] {
  const { module } = parseSync(path, code);
  return [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) => entries.map(({ moduleRequest }) => moduleRequest?.value ?? ".")),
    ...module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
      const literal = /^["'`]([^"'`$]+)["'`]$/.exec(code.slice(start, end));
      return literal ? [literal[1]!] : [];
    }),
    ...[...code.matchAll(/\brequire\("([^"]+)"\)/g)].map(([, name]) => name!),
  ];
}

describe("what is in it", () => {
  test("is all that its package.json names", () => {
    const named = [...texts(manifest.bin), ...texts(manifest.exports)];
    expect(named.filter((path) => !existsSync(join(installed, path)))).toEqual([]);
    expect(named.length).toBeGreaterThan(20);
  });

  test("imports nothing but itself, Node and what it depends on", () => {
    const known = new Set(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
    const foreign = new Set<string>();
    for (const path of readdirSync(join(installed, "dist"), { recursive: true, encoding: "utf8" })) {
      if (!/\.(js|d\.ts)$/.test(path)) continue;
      for (const name of importsOf(path, readFileSync(join(installed, "dist", path), "utf8"))) {
        const [first, second] = name.split("/");
        const owner = name.startsWith("@") ? `${first}/${second}` : first!;
        const isNode = name.startsWith("node:") || builtinModules.includes(owner);
        if (!isNode && !/^[.#]/.test(name) && !known.has(owner)) foreign.add(`${path}: ${name}`);
      }
    }
    expect([...foreign]).toEqual([]);
  });

  test("says one version of Node: engines, bin and README", () => {
    const oldest = /^>=(\d+)$/.exec(manifest.engines.node)![1]!;
    expect(readFileSync(join(installed, "bin/heddle.js"), "utf8")).toContain(`const oldest = ${oldest};`);
    expect(readFileSync(join(installed, "README.md"), "utf8")).toMatch(new RegExp(`Node(\\.js)? ${oldest}\\b`));
  });
});

/** A line through points, trained and written as ONNX. */
const program = `
  const point = h.axis("point", 5);
  const line = (p) => h.mul(h.input("x", "f32", [point]), p.parameter("slope", [], h.zeros));
  const stage = h.defineStage({
    name: "line",
    optimizer: { rate: h.constantRate(0.1) },
    loss: (p) => {
      const off = h.sub(line(p), h.input("y", "f32", [point]));
      return { loss: h.mean(h.mul(off, off), point) };
    },
  });
  const model = h.defineModel({ name: "line", summary: "a line", config: {}, build: (p) => ({ y: line(p) }) });
  const tensor = (data) => h.hostTensor("f32", [{ name: "point", size: 5 }], Float32Array.from(data));
  async function main() {
    const device = await h.openDevice("cpu");
    const batch = () => ({ x: tensor([1, 2, 3, 4, 5]), y: tensor([2, 4, 6, 8, 10]) });
    const { weights } = await h.train({ stage, steps: 80, batch }, { device });
    const session = await h.session(device, model, { weights });
    const { y } = await session.run({ x: tensor([10, 20, 30, 40, 50]) });
    const onnx = await h.exportOnnx(model, { weights });
    console.log(JSON.stringify({ slope: Math.round(y.data[0]) / 10, onnx: onnx.length > 100 }));
    session.dispose();
    device.dispose();
  }
  void main();
`;

describe("import and require", () => {
  test("of an ECMAScript module", () => {
    const folder = project("esm", {
      "package.json": '{ "type": "module" }',
      "main.js": `import * as h from "heddle";${program}`,
    });
    expect(JSON.parse(node(folder, "main.js"))).toEqual({ slope: 2, onnx: true });
  });

  test("of CommonJS, as npm init makes projects", () => {
    const folder = project("cjs", {
      "package.json": '{ "type": "commonjs" }',
      "main.js": `const h = require("heddle");${program}`,
    });
    expect(JSON.parse(node(folder, "main.js"))).toEqual({ slope: 2, onnx: true });
  });
});

describe("docs/package.md", () => {
  const [inNode, inPage] = blocks(readDoc("package.md"), "ts") as [string, string];
  const folder = () =>
    project("documented", {
      "package.json": '{ "type": "module" }',
      "node.ts": inNode,
      "page.ts": inPage,
      "tiny-vit.ts": `import * as h from "heddle/browser";
        const a = h.axis("channel", 3);
        const build = (p: h.Params) => ({ logits: h.mul(h.input("pixels", "f32", [a]), p.parameter("w", [a], h.ones)) });
        export default h.defineModel({ name: "m", summary: "", config: {}, build });`,
      "run.ts":
        'import { slope } from "./node.ts"; if (Math.abs((await slope("runs/line", "reference")) - 2) > 0.1) throw new Error("it is not 2");',
      "tsconfig.json": JSON.stringify({ compilerOptions: { ...strictly, allowImportingTsExtensions: true } }),
    });

  test("has programs without type errors, of which Node's does what it says", () => {
    const at = folder();
    expect(typescript(at)).toBe("");
    node(at, "run.ts");
  });
});

test("all of its declarations pass TypeScript without skipLibCheck and without the types of Node", () => {
  const doors = Object.keys(manifest.exports).filter((path) => path !== "./package.json");
  const code = doors.map((path, i) => `export * as door${i} from "heddle${path.slice(1)}";\n`).join("");
  const folder = project("types", {
    "package.json": '{ "type": "module" }',
    "all.ts": code,
    "tsconfig.json": JSON.stringify({ compilerOptions: strictly }),
  });
  expect(typescript(folder)).toBe("");
});

describe("heddle init", () => {
  const folder = () => join(root, "My Project");

  test("writes a project that type-checks, trains and exports, also where it is made CommonJS", () => {
    heddle(root, "init", "My Project");
    expect(JSON.parse(readFileSync(join(folder(), "package.json"), "utf8"))).toMatchObject({ name: "my-project" });
    expect(typescript(folder())).toBe("");
    heddle(folder(), "train", "train.ts", "--device", "cpu", "--set", "steps=60", "--json");
    const losses = readFileSync(join(folder(), "runs/spirals/metrics.jsonl"), "utf8").trim().split("\n");
    const [first, last] = [losses[0]!, losses.at(-1)!].map((line) => (JSON.parse(line) as { loss: number }).loss);
    expect(losses).toHaveLength(60);
    expect(last!).toBeLessThan(0.7 * first!);
    writeFileSync(join(folder(), "package.json"), '{ "type": "commonjs" }');
    const exported = heddle(
      folder(),
      "export",
      "model.ts",
      "--weights",
      "runs/spirals",
      "--out",
      "s.onnx",
      "--verify",
      "--json",
    );
    expect(JSON.parse(exported)).toMatchObject({ dynamic: ["batch"], verified: { maxRelDiff: expect.any(Number) } });
  });

  test("writes over nothing", () => {
    expect(() => heddle(root, "init", "My Project")).toThrow(/already has package.json, .*: choose another folder/);
  });
});
