/** Files that a command is given, and those that it is to write: each mistake is one message, and nothing is spoilt. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("files");
afterAll(() => folder.remove());
const onLinux = it.skipIf(process.platform !== "linux");

describe("a file in the place of a model", () => {
  it.each([
    ["throws", 'throw new Error("boom");', /"[^"]+throws\.ts" cannot be loaded: Error at .*throws\.ts:1:7: boom/],
    ["throws-nothing", "throw undefined;", /"[^"]+throws-nothing\.ts" cannot be loaded: undefined was thrown/],
    [
      "is-half-a-model",
      'export default { kind: "heddle.model", name: "half" };',
      /exports a model without its name, config or build: export default defineModel/,
    ],
    ["asks-too-much", "new Array(-1);", /asks-too-much\.ts:1:1: Invalid array length/],
    ["imports", 'import x from "nowhere-at-all";\nexport default x;', /cannot be loaded: .*nowhere-at-all/],
    ["breaks", "export default {", /cannot be loaded: [\s\S]*breaks\.ts:1/],
    [
      "exports",
      "export default 3;",
      /exports no model, and its default export is the number 3: export default defineModel/,
    ],
  ])("that %s", async (name, text, message) => {
    writeFileSync(folder.at(`${name}.ts`), text);
    const ended = await heddle("inspect", folder.at(`${name}.ts`));
    expect(ended).toMatchObject({ status: 1, err: expect.stringMatching(message) });
  });

  it("that is a folder or a device", async () => {
    mkdirSync(folder.at("folder.graph"));
    expect(await heddle("inspect", folder.at("folder.graph"))).toMatchObject({
      status: 1,
      err: expect.stringContaining("is not a file"),
    });
  });

  onLinux("that leads nowhere: a loop of links, a name longer than any file's", async () => {
    symlinkSync("loop", folder.at("loop"));
    for (const path of [folder.at("loop"), "a".repeat(5000)]) {
      const asModel = await heddle("inspect", path);
      expect(asModel).toMatchObject({ status: 1, err: expect.stringMatching(/is not a model|unknown model/) });
      const asWeights = await heddle("export", modelFile("tiny-model.ts"), "--weights", path, "--out", folder.at("w"));
      expect(asWeights).toMatchObject({ status: 1, err: expect.stringMatching(/links form a loop|name is too long/) });
    }
  });

  it("whose mistakes are many: the first are shown", async () => {
    writeFileSync(folder.at("many.graph"), "x\n".repeat(10_000));
    const { status, err } = await heddle("inspect", folder.at("many.graph"));
    expect(status).toBe(1);
    expect(err).toContain("has 10000 mistakes");
    expect(err).toContain("and 9950 more");
    expect(err.length).toBeLessThan(20_000);
  });

  it("whose lines are long and steer a terminal: the place is shown, in plain characters", async () => {
    writeFileSync(folder.at("long.graph"), `graph @a(%x: f32[${"a=1,".repeat(1000)}\u001b[2J]) {\n  return %x\n}\n`);
    const { status, err } = await heddle("inspect", folder.at("long.graph"));
    expect(status).toBe(1);
    expect(err).toContain('"\\u001b" is not expected here');
    expect(err).not.toContain("\u001b");
    for (const line of err.split("\n")) expect(line.length).toBeLessThan(200);
  });
});

describe("export", () => {
  const exporting = (...args: string[]) => heddle("export", modelFile("tiny-model.ts"), ...args);

  it("refuses a folder and a path that leads nowhere, before any work", async () => {
    expect(await exporting("--out", folder.at())).toMatchObject({
      status: 1,
      err: expect.stringContaining("it is a folder"),
    });
    expect(await exporting("--out", folder.at("no", "x.onnx"))).toMatchObject({
      status: 1,
      err: expect.stringContaining("no such file or folder"),
    });
  });

  onLinux("leaves a device what it is", async () => {
    symlinkSync("/dev/null", folder.at("device.onnx"));
    const ended = await exporting("--out", folder.at("device.onnx"));
    expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("it is a device or a pipe") });
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  it("refuses a seed that is none", async () => {
    expect(await exporting("--out", folder.at("x.onnx"), "--seed", "abc")).toMatchObject({ status: 1 });
  });

  onLinux("stopped by Ctrl-C leaves what was there, and nothing else", async () => {
    mkdirSync(folder.at("out"));
    writeFileSync(folder.at("out", "x.onnx"), "old");
    const bin = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
    // Some 500 MB of random weights: many times longer to write than to notice that writing has begun.
    const args = [bin, "export", "internvit-6b", "--set", "depth=1", "--out", folder.at("out", "x.onnx")];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    let told = "";
    child.stderr.on("data", (text) => {
      told += text;
    });
    const ended = new Promise<number | null>((done) => child.on("exit", done));
    while (readdirSync(folder.at("out")).length === 1 && child.exitCode === null)
      await new Promise((done) => setTimeout(done, 20));
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(told).toContain("was interrupted; any existing file is unchanged");
    expect(readdirSync(folder.at("out"))).toEqual(["x.onnx"]);
    expect(readFileSync(folder.at("out", "x.onnx"), "utf8")).toBe("old");
  });

  onLinux("to a reader that has seen enough ends in silence", async () => {
    const bin = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));
    const args = ["-c", `"${process.execPath}" "${bin}" inspect internvit-6b --text | head -c 10`];
    const child = spawn("sh", args, { stdio: ["ignore", "ignore", "pipe"] });
    let told = "";
    child.stderr.on("data", (text) => {
      told += text;
    });
    await new Promise((done) => child.on("exit", done));
    expect(told).toBe("");
  });
});

onLinux("init leaves nothing behind where it cannot write all", async () => {
  mkdirSync(folder.at("project"));
  symlinkSync("train.ts", folder.at("project", "train.ts"));
  const { status, err } = await heddle("init", folder.at("project"));
  expect([status, err]).toEqual([1, expect.stringContaining("its symbolic links form a loop")]);
  expect(readdirSync(folder.at("project"))).toEqual(["train.ts"]);
});

onLinux("a timeline is not written to a pipe, which would wait for a reader for ever", async () => {
  execFileSync("mkfifo", [folder.at("pipe")]);
  const { status, err } = await heddle("--trace", folder.at("pipe"), "models");
  expect([status, err]).toEqual([1, expect.stringContaining("it is a device or a pipe")]);
});

onLinux("a signal in the middle of a write leaves no temporary file", async () => {
  const door = (path: string) => pathToFileURL(modelFile(path)).href;
  const script = `import { leaveNoTemporaries } from "${door("../../cli/interruption.ts")}";
import { writeAtomically } from "${door("../../runtime/index.ts")}";
leaveNoTemporaries();
await writeAtomically(process.argv[1], async (sink) => {
  await sink(new Uint8Array(9));
  process.kill(process.pid, "SIGTERM");
  await new Promise((done) => setTimeout(done, 60_000));
});`;
  mkdirSync(folder.at("killed"));
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, folder.at("killed", "x")]);
  expect(await new Promise((done) => child.on("exit", done))).toBe(143);
  expect(readdirSync(folder.at("killed"))).toEqual([]);
});
