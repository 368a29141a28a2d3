import { cp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { pruneOlderCheckpoints } from "../../runtime/checkpoint/checkpoint.ts";
import { type Json, loadNewestCheckpoint, type SaveOptions, saveCheckpoint } from "../../runtime/index.ts";
import { dyingProcess, smallDisk, temporaryFolder, withoutSync } from "./support.ts";

/** A checkpoint whose every number is its step. */
const content = (step: number, state: Json = { cursor: step }) => {
  const group = (name: string) => [
    { name, dtype: "F32" as const, shape: [100], data: () => [new Float32Array(100).fill(step)] },
  ];
  return { step, state, groups: { model: group("weight"), optimizer: group("moment") } };
};

const save = (folder: string, step: number, options?: SaveOptions) =>
  saveCheckpoint(folder, content(step), { fs: withoutSync, ...options });

/** Loads the newest checkpoint, checks that it is whole, and gives its step (or undefined) and the warnings. */
async function newest(folder: string): Promise<{ step: number | undefined; warnings: string[] }> {
  const warnings: string[] = [];
  const loaded = await loadNewestCheckpoint(folder, (message) => warnings.push(message));
  if (loaded === undefined) return { step: undefined, warnings };
  const { step, state, groups } = loaded;
  expect(state).toEqual({ cursor: step });
  expect(new Set((await groups.model!.readTensor("weight")).data)).toEqual(new Set([step]));
  expect(new Set((await groups.optimizer!.readTensor("moment")).data)).toEqual(new Set([step]));
  await loaded.dispose();
  return { step, warnings };
}

describe("checkpoints", () => {
  it("come back as they were saved", async () => {
    const folder = join(await temporaryFolder(), "run", "checkpoints");
    expect(await newest(folder)).toEqual({ step: undefined, warnings: [] });
    expect(await save(folder, 5)).toBe(join(folder, "step-000005"));
    await save(folder, 123);
    expect((await readdir(join(folder, "step-000123"))).sort()).toEqual([
      "model.safetensors",
      "optimizer.safetensors",
      "state.json",
    ]);
    expect(await newest(folder)).toEqual({ step: 123, warnings: [] });
  });

  it("are removed at resume where a killed process did not, but for newer ones than what is gone on from", async () => {
    const folder = await temporaryFolder();
    for (const step of [1, 2, 3, 4, 5]) await save(folder, step, {});
    const names = (await readdir(folder)).sort();
    await pruneOlderCheckpoints(join(folder, names[3]!), 2);
    expect((await readdir(folder)).sort()).toEqual(names.slice(2));
    await pruneOlderCheckpoints(join(folder, "elsewhere"), 1);
    expect((await readdir(folder)).sort()).toEqual(names.slice(2));
  });

  it("keep the newest few and remove the rest", async () => {
    const folder = await temporaryFolder();
    for (const step of [1, 2, 3, 4]) await save(folder, step, { keep: 2 });
    expect((await readdir(folder)).sort()).toEqual(["step-000003", "step-000004"]);
  });

  it("are newest by the order of saving, and a step may be saved again", async () => {
    const folder = await temporaryFolder();
    for (const step of [10, 20, 15]) await save(folder, step);
    expect((await newest(folder)).step).toBe(15);
    expect(await save(folder, 20)).toBe(join(folder, "step-000020.2"));
    expect((await newest(folder)).step).toBe(20);
    await save(folder, 21, { keep: 1 });
    expect(await readdir(folder)).toEqual(["step-000021"]);
  });

  it("hold any JSON, and refuse what JSON would change", async () => {
    const folder = await temporaryFolder();
    const state: Json = { seed: 7, scale: 65536.5, list: [1, "a", null, true], nested: { "10": 1, "9": [{}] } };
    await saveCheckpoint(folder, content(1, state));
    const loaded = await loadNewestCheckpoint(folder, () => expect.unreachable());
    expect(loaded?.state).toEqual(state);
    await loaded?.dispose();
    const refused: [unknown, RegExp][] = [
      [{ a: [0, Number.NaN] }, /cannot store state\.a\.1: JSON cannot represent NaN/],
      [{ a: undefined }, /state\.a: JSON cannot represent undefined/],
      [{ a: -0 }, /state\.a: JSON cannot represent -0/],
      [{ a: new Float32Array(1) }, /state\.a: JSON cannot represent Float32Array/],
      [1n, /cannot store state: JSON cannot represent 1/],
    ];
    for (const [value, message] of refused) {
      await expect(saveCheckpoint(folder, content(2, value as Json))).rejects.toThrow(UsageError);
      await expect(saveCheckpoint(folder, content(2, value as Json))).rejects.toThrow(message);
    }
  });

  it("refuse steps, groups and numbers to keep that are none", async () => {
    const folder = await temporaryFolder();
    await expect(save(folder, -1)).rejects.toThrow(/step must be a non-negative integer, got -1/);
    await expect(save(folder, 1, { keep: 0 })).rejects.toThrow(/checkpoints to keep must be at least 1, got 0/);
    const escaping = { step: 1, state: null, groups: { "../x": [] } };
    await expect(saveCheckpoint(folder, escaping)).rejects.toThrow(/invalid tensor group name "..\/x"/);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a damaged checkpoint is passed over with a warning", () => {
  const state = (folder: string) => join(folder, "state.json");
  const model = (folder: string) => join(folder, "model.safetensors");

  it.each<[string, (folder: string) => Promise<void>, RegExp]>([
    ["cut off", (folder) => truncate(model(folder), 300), /model\.safetensors has 300 bytes instead of \d+/],
    ["lost", (folder) => rm(model(folder)), /model\.safetensors is missing/],
    [
      "flipped in one bit",
      (folder) => flipBit(model(folder)),
      /content of model\.safetensors changed since it was written/,
    ],
    ["without its state", (folder) => rm(state(folder)), /it has no state\.json/],
    ["with half a state", (folder) => truncate(state(folder), 100), /state\.json is not valid JSON/],
    ["with a state of another step", (folder) => edit(state(folder), '"step": 2', '"step": 3'), /changed or damaged/],
    ["of another format", (folder) => edit(state(folder), "heddle-checkpoint-1", "x"), /has format "x", expected/],
    ["with a state that is no object", (folder) => writeFile(state(folder), "[]"), /has format undefined/],
    ["with a state that is null", (folder) => writeFile(state(folder), "null"), /is not a JSON object/],
  ])("%s", async (_, damage, reason) => {
    const folder = await temporaryFolder();
    await save(folder, 1);
    const path = await save(folder, 2);
    await damage(path);
    const { step, warnings } = await newest(folder);
    expect(step).toBe(1);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`${path} is damaged and was skipped: `);
    expect(warnings[0]).toMatch(reason);

    // The run goes on: the step is saved anew, and is the newest.
    expect(await save(folder, 2)).toBe(`${path}.2`);
    expect((await newest(folder)).step).toBe(2);
  });

  it("and when all are, that is an error", async () => {
    const folder = await temporaryFolder();
    for (const step of [1, 2]) await flipBit(model(await save(folder, step)));
    await expect(loadNewestCheckpoint(folder, () => {})).rejects.toThrow(FileError);
    await expect(loadNewestCheckpoint(folder, () => {})).rejects.toThrow(/all of its 2 checkpoints are damaged/);
  });
});

async function flipBit(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length - 30]! ^= 4;
  await writeFile(path, bytes);
}

async function edit(path: string, from: string, to: string): Promise<void> {
  await writeFile(path, (await readFile(path, "utf8")).replace(from, to));
}

describe("saving that fails leaves what was complete before", () => {
  it("when the disk is full after any number of bytes", async () => {
    const folder = await temporaryFolder();
    await save(folder, 1);
    for (let capacity = 0; capacity < 1400; capacity += 100) {
      await expect(save(folder, 2, { fs: smallDisk(capacity), keep: 1 })).rejects.toThrow(/no space is left/);
      expect(await readdir(folder)).toEqual(["step-000001"]);
    }
    expect(await newest(folder)).toEqual({ step: 1, warnings: [] });
  });

  it("when it is aborted", async () => {
    const folder = await temporaryFolder();
    await save(folder, 1);
    const saving = save(folder, 2, { signal: AbortSignal.abort(), keep: 1 });
    await expect(saving).rejects.toThrow(/was stopped before it was complete/);
    expect(await readdir(folder)).toEqual(["step-000001"]);
  });

  it("when the process dies at any operation, pruning included", async () => {
    const prepared = await temporaryFolder();
    for (const step of [1, 2]) await save(prepared, step);
    let died = 0;
    for (let deadline = 0, isDone = false; !isDone; deadline++) {
      const folder = join(await temporaryFolder(), "checkpoints");
      await cp(prepared, folder, { recursive: true });
      isDone = await save(folder, 3, { fs: dyingProcess(deadline), keep: 2 }).then(
        () => true,
        () => false,
      );
      if (!isDone) died++;
      const { step, warnings } = await newest(folder);
      expect([2, 3]).toContain(step);
      expect(warnings).toEqual([]);

      await save(folder, 4, { keep: 2 }); // the next save clears up what the dead one left
      expect((await readdir(folder)).sort()).toEqual([`step-00000${step}`, "step-000004"]);
    }
    expect(died).toBeGreaterThan(20);
  });

  it("and what is not a checkpoint is left alone", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "notes.partial"), "mine");
    await save(folder, 1);
    await rename(join(folder, "step-000001"), join(folder, "best"));
    await save(folder, 2, { keep: 1 });
    expect((await readdir(folder)).sort()).toEqual(["best", "notes.partial", "step-000002"]);
  });
});
