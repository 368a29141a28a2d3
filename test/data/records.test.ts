/** Records in lists, shards and folders: each is named by its place, and what is broken is left out and told. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openData, survey, writeShards } from "../../data/index.ts";
import arrays from "../fixtures/npy-arrays.json" with { type: "json" };
import { collect, picture, readOnce, temporaryFolder, writeTar } from "./support.ts";

const red = await picture({ r: 200, g: 0, b: 0 });
const quiet = () => {};

/** All records, read without images. */
async function withoutImages(spec: string) {
  const data = await openData([spec], "records", { batch: 4, seed: 1 });
  const batches = await collect(data.once(quiet));
  expect(batches.every(({ pixels }) => pixels === undefined)).toBe(true);
  const skipped = [...data.skipped()].map(([reason, { example }]) => `${example}: ${reason}`);
  await data.dispose();
  return { samples: batches.flatMap(({ samples }) => samples), skipped };
}

describe("lists", () => {
  it("name records by their lines, and tell which are broken", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "a.jsonl");
    const lines = ['{"x": [1, 2]}', "", '{"x": [1, NaN]}', "[1]", '{"x": [3', '{"x": 4, "image": 7}'];
    await writeFile(path, lines.join("\n"));
    const { samples, skipped } = await withoutImages(path);
    expect(samples).toEqual([
      { id: `${path}:1`, fields: { x: [1, 2] } },
      { id: `${path}:6`, fields: { x: 4, image: 7 } },
    ]);
    expect(skipped.map((text) => text.slice(path.length))).toEqual([
      expect.stringMatching(/^:3: it is not valid JSON: .*: JSON has no NaN and no Infinity$/),
      ":4: it is not a JSON object",
      expect.stringMatching(/^:5: it is not valid JSON: (?!.*NaN)/),
    ]);
  });

  it("need an image in each record where images are read", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "a.json");
    await writeFile(join(folder, "red.png"), red);
    const records = [{ image: "red.png", x: 1 }, { x: 2 }, { image: "none.png", x: 3 }, { image: "../red.png" }];
    await writeFile(path, JSON.stringify(records));
    const { samples, skipped } = await readOnce([path], "records");
    expect(samples).toEqual([{ id: `${path}[0]`, image: join(folder, "red.png"), fields: records[0] }]);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      'it has no "…"',
      expect.stringContaining("it does not exist"),
      'its image "…" is not a path inside the image folder',
    ]);
  });
});

it("folders hold a JSON file for each record, with its image beside it", async () => {
  const folder = temporaryFolder();
  const entries = { "a.json": '{"x": 1}', "a.png": red, "b.json": '{"x": 2}', "c.png": red, "d.json": "{" };
  for (const [name, content] of Object.entries(entries)) await writeFile(join(folder, name), content);
  const { samples, skipped } = await readOnce([folder], "records");
  const a = { id: join(folder, "a.json"), fields: { x: 1 } };
  expect(samples).toEqual([{ ...a, image: join(folder, "a.png") }]);
  expect(skipped.map(({ reason }) => reason)).toEqual([
    "it has no image beside its .json", // b and d
    'it has no record "…"',
  ]);
  expect((await withoutImages(folder)).samples).toEqual([a, { id: join(folder, "b.json"), fields: { x: 2 } }]);
  await writeFile(join(folder, "a.jpg"), red);
  await expect(withoutImages(folder)).rejects.toThrow(/has a\.jpg and a\.png for one record/);
});

it("shards hold them too, and are written with every field as it was", async () => {
  const folder = temporaryFolder();
  const fields = { x: [[1, 2]], source: "a sensor", text: "no caption" };
  const path = await writeTar(join(folder, "0.tar"), [
    ["a.json", JSON.stringify(fields)],
    ["a.png", red],
    ["b.txt", "no record"],
  ]);
  const { samples, skipped } = await readOnce([path], "records");
  expect(samples).toEqual([{ id: `${path}/a`, image: `${path}/a.png`, fields }]);
  expect(skipped.map(({ reason }) => reason)).toEqual(["it has no .json"]);
  const { kept } = await survey([path], "records", { decode: true });
  expect(await writeShards(kept(), join(folder, "out"), 1e6)).toMatchObject({ samples: 1 });
  const again = await readOnce([join(folder, "out")], "records");
  expect(again.samples.map((sample) => sample.fields)).toEqual([fields]);
  expect((await readFile(join(folder, "out/000000.tar"))).includes(red)).toBe(true);
});

describe("arrays", () => {
  const array = Buffer.from(arrays.find(({ name }) => name === "<f4")!.file, "base64");
  const read = {
    depth: expect.objectContaining({ shape: [2, 3], values: new Float32Array([-1, -0.75, -0.5, -0.25, 0, 0.25]) }),
  };

  it("are named by lists and folders, inside the folder only", async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, "maps"));
    await writeFile(join(folder, "maps/a.npy"), array);
    await writeFile(join(folder, "a.json"), '{"depth": "maps/a.npy"}');
    await writeFile(join(folder, "b.json"), '{"depth": "../a.npy"}');
    const path = join(folder, "c.jsonl");
    await writeFile(path, '{"depth": "maps/a.npy"}\n{"depth": "/etc/a.npy"}\n{"depth": "b.npy"}');
    const listed = await withoutImages(path);
    expect(listed.samples).toEqual([{ id: `${path}:1`, fields: read }]);
    expect(listed.skipped.map((text) => text.slice(path.length))).toEqual([
      ':2: its "…" "…" is not a path inside the folder',
      ':3: array "…" cannot be read: it does not exist',
    ]);
    const { samples, skipped } = await withoutImages(folder);
    expect(samples).toEqual([{ id: join(folder, "a.json"), fields: read }]);
    expect(skipped.map((text) => text.slice(folder.length))).toEqual([
      '/b.json: its "…" "…" is not a path inside the folder',
    ]);
  });

  it("are beside the JSON of shards, or alone, and are written as they were", async () => {
    const folder = temporaryFolder();
    const path = await writeTar(join(folder, "0.tar"), [
      ["a.json", '{"x": 1}'],
      ["a.Depth.npy", array],
      ["b.Depth.npy", array],
      ["c.Depth.npy", array.subarray(0, -1)],
    ]);
    const expected = [{ x: 1, Depth: read.depth }, { Depth: read.depth }];
    const { samples, skipped } = await withoutImages(path);
    expect(samples.map(({ fields }) => fields)).toEqual(expected);
    expect(skipped.map((text) => text.slice(path.length))).toEqual([
      '/c: "…" cannot be read as .npy: # bytes are not # elements of # bytes',
    ]);
    const { kept } = await survey([path], "records", { decode: true });
    expect(await writeShards(kept(), join(folder, "out"), 1e6)).toMatchObject({ samples: 2 });
    const written = await readFile(join(folder, "out/000000.tar"), "latin1");
    expect(written.match(/\{"x":1,[^}]*\}/)![0]).not.toContain("Depth"); // its JSON
    const again = await withoutImages(join(folder, "out"));
    expect(again.samples.map(({ fields }) => fields)).toEqual(expected.map((one) => expect.objectContaining(one)));
  });
});

it("continue anywhere, in an order that only the seed decides", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "a.jsonl");
  await writeFile(path, Array.from({ length: 7 }, (_, x) => `{"x": ${x}}\n`).join(""));
  const take = async (cursor: unknown, count: number) => {
    const data = await openData([path], "records", { batch: 3, seed: 5 });
    const found = await collect(data.batches(cursor, quiet), count);
    await data.dispose();
    return found;
  };
  const whole = await take(undefined, 6);
  const ofFirstEpoch = whole.flatMap(({ samples }) => samples.map(({ fields }) => fields.x)).slice(0, 7);
  expect([...ofFirstEpoch].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(ofFirstEpoch).not.toEqual([0, 1, 2, 3, 4, 5, 6]);
  const cursor = JSON.parse(JSON.stringify(whole[2]!.cursor)) as unknown;
  expect(await take(cursor, 3)).toEqual(whole.slice(3));
});
