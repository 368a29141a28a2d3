/** Every sample once, in order: batches without two of one group, whatever is left over. */
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import type { Skipped } from "../../data/files.ts";
import { classification } from "../../data/index.ts";
import { orderedBatches } from "../../data/ordered-batches.ts";
import { SampleStream } from "../../data/sample-stream.ts";
import type { Source } from "../../data/sources/source.ts";

const sourceOf = (...parts: readonly (readonly string[])[]): Source => ({
  spec: "made",
  weight: 1,
  parts: parts.map((_, i) => `part ${i}`),
  partName: "list",
  isListed: true,
  files: async () => [],
  open: async (part) => ({
    count: parts[part]!.length,
    name: (index) => `${part}/${index}`,
    read: async (index) => {
      const group = parts[part]![index]!;
      if (group === "broken") throw new FileError("it is broken");
      return { name: `${part}/${index}`, group, fields: {} };
    },
  }),
});

async function read(batch: number, ...sources: Source[]) {
  const skipped: Skipped[] = [];
  const onSkip = (one: Skipped) => void skipped.push(one);
  const streams = sources.map(
    (source, i) => new SampleStream(source, i, { seed: 1, buffer: 4, onSkip, note: () => {} }),
  );
  const options = { batch, seed: 1, ahead: 3, onSkip, judge: async (raw: never) => ({ kept: raw }) };
  const batches: string[][] = [];
  for await (const rows of orderedBatches(streams, options as never))
    batches.push(rows.map(({ raw }) => `${raw.group}${raw.name}`));
  return { batches, skipped };
}

describe("ordered batches", () => {
  it("are in the order of specs, parts and samples, and leave the broken out by name", async () => {
    const { batches, skipped } = await read(2, sourceOf(["a", "b"], ["broken", "c"]), sourceOf(["d", "e"], ["f"]));
    expect(batches).toEqual([
      ["a0/0", "b0/1"],
      ["c1/1", "d0/0"],
      ["e0/1", "f1/0"],
    ]);
    expect(skipped).toEqual([{ name: "1/0", reason: "it is broken" }]);
  });

  it("hold no two of a group, and lose none", async () => {
    const groups = ["a", "a", "a", "b", "b", "c", "d", "d"];
    for (const batch of [1, 2, 3, 4, 9]) {
      const { batches } = await read(batch, sourceOf(groups));
      for (const rows of batches) expect(new Set(rows.map((r) => r[0])).size).toBe(rows.length);
      expect(batches.flat().sort()).toEqual(groups.map((g, i) => `${g}0/${i}`).sort());
    }
  });

  it("have no row alone at the end, but where its group is in the batch before it, or where it is all there is", async () => {
    expect((await read(2, sourceOf(["a", "b", "c"]))).batches).toEqual([["a0/0", "b0/1", "c0/2"]]);
    expect((await read(2, sourceOf(["a", "b", "a"]))).batches).toEqual([["a0/0", "b0/1"], ["a0/2"]]);
    expect((await read(2, sourceOf(["a"]))).batches).toEqual([["a0/0"]]);
    expect((await read(2, sourceOf([]))).batches).toEqual([]);
  });
});

describe("classification", () => {
  it("counts what is a class, and the union of each that occurs", () => {
    const found = classification(4);
    found.add([0, 1, 1, 2], [0, 1, 2, 255]);
    found.add(Int32Array.of(0), Int32Array.of(1));
    expect(found.accuracy()).toBe(2 / 4);
    // Class 0: 1 of 2; class 1: 1 of 3; class 2: 0 of 1, as the prediction beside no class does not count; class 3 not
    // at all.
    expect(found.meanIou()).toBeCloseTo((1 / 2 + 1 / 3 + 0) / 3, 12);
    expect(() => found.add([0], [0, 1])).toThrow("got 1 predictions and 2 labels");
    expect(classification(2).accuracy()).toBeNaN();
  });
});
