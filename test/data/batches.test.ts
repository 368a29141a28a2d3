import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import {
  type BatchRows,
  byteTokenizer,
  type ContrastiveBatch,
  type Cursor,
  contrastiveBatches,
  epochBatches,
  firstBatch,
  type Item,
  imageStore,
  itemBatches,
} from "../../data/index.ts";
import { emojiItems, emojiSet } from "../../examples/emoji/set.ts";
import { collect, picture, skips, temporaryFolder } from "./support.ts";

const item = (group: string, n = 0): Item => ({
  group,
  images: [`${group}-${n}.png`],
  texts: { en: [`${group} ${n}`] },
});
const items = (groups: readonly string[]) => groups.map((group, i) => item(group, i));
const names = ({ rows }: BatchRows) => rows.map(({ images }) => images[0] as string);
/** Rows in groups of very unequal size. */
const groupLists = fc.array(
  fc.integer({ min: 0, max: 12 }).map((n) => `g${Math.floor((n * n) / 12)}`),
  {
    minLength: 1,
    maxLength: 80,
  },
);

describe("epochBatches", () => {
  it("uses every row at most once and never two of a group in a batch", () => {
    fc.assert(
      fc.property(groupLists, fc.integer({ min: 1, max: 8 }), fc.nat(), fc.nat(9), (groups, size, seed, epoch) => {
        const batches = epochBatches(groups, size, seed, epoch);
        const rows = batches.flat();
        expect(new Set(rows).size).toBe(rows.length);
        for (const batch of batches) {
          expect(batch.length).toBe(size);
          expect(new Set(batch.map((row) => groups[row])).size).toBe(size);
        }
        // Nothing is dropped that would have made another batch of different groups.
        const left = groups.filter((_, row) => !rows.includes(row));
        expect(new Set(left).size).toBeLessThan(size);
      }),
    );
  });

  it("drops less than one batch when every row is of its own group", () => {
    const groups = Array.from({ length: 103 }, (_, i) => `${i}`);
    expect(epochBatches(groups, 10, 1, 0).length).toBe(10);
    expect(epochBatches(groups, 10, 1, 0)).toEqual(epochBatches(groups, 10, 1, 0));
    expect(epochBatches(groups, 10, 1, 1)).not.toEqual(epochBatches(groups, 10, 1, 0));
    expect(epochBatches(groups, 10, 2, 0)).not.toEqual(epochBatches(groups, 10, 1, 0));
  });
});

describe("itemBatches", () => {
  it("taken up at any batch gives what an uninterrupted run gives", async () => {
    await fc.assert(
      fc.asyncProperty(
        groupLists,
        fc.integer({ min: 1, max: 5 }),
        fc.nat(),
        fc.nat(10),
        async (groups, size, seed, stop) => {
          fc.pre(new Set(groups).size >= size);
          const whole = await collect(itemBatches(items(groups), size, firstBatch(seed)), stop + 5);
          const at = JSON.parse(JSON.stringify(whole[stop]!.at)) as Cursor; // as a checkpoint would hold it
          const resumed = await collect(itemBatches(items(groups), size, at), 5);
          expect(resumed.map(names)).toEqual(whole.slice(stop).map(names));
          expect(resumed.map((batch) => [...batch.spares].map((spare) => spare.images[0]))).toEqual(
            whole.slice(stop).map((batch) => [...batch.spares].map((spare) => spare.images[0])),
          );
          expect(whole[stop + 1]!.at.epoch >= whole[stop]!.at.epoch).toBe(true);
          for (const [i, batch] of whole.entries()) {
            expect(new Set(batch.rows.map(({ group }) => group)).size).toBe(size);
            const following = whole[i + 1]?.at;
            if (following && following.epoch === batch.at.epoch) expect(following).toEqual(batch.next);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it("taken up at the end of an epoch goes on with the next", async () => {
    const all = items(["a", "b", "c", "d"]);
    const [, last, following] = await collect(itemBatches(all, 2, firstBatch(3)), 3);
    const [resumed] = await collect(itemBatches(all, 2, last!.next), 1);
    expect(following!.at).toEqual({ seed: 3, epoch: 1, position: 0 });
    expect(resumed!.at).toEqual(following!.at);
    expect(names(resumed!)).toEqual(names(following!));
  });

  it("refuses sizes that can never be filled", async () => {
    const all = items(["a", "a", "a", "b"]);
    await expect(collect(itemBatches(all, 3, firstBatch(0)), 1)).rejects.toThrow(/different groups/);
    for (const size of [0, 1.5, -1])
      await expect(collect(itemBatches(all, size, firstBatch(0)), 1)).rejects.toThrow(UsageError);
  });
});

describe("contrastiveBatches", () => {
  const options = () => {
    const { list, onSkip } = skips();
    const images = imageStore({ size: 16, fit: "squash" });
    return { list, batch: { images, tokenizer: byteTokenizer, tokens: 24, onSkip } as const };
  };
  const summary = ({ images, ids, eos, pairs, at, next }: ContrastiveBatch) => ({
    pairs: pairs.map(({ group, imageName, language, text }) => [group, imageName, language, text]),
    tensors: [images, ids, eos].map(({ data }) => [...data]),
    at,
    next,
  });

  it("gives tensors of real emoji that a resumed run repeats bit for bit", async () => {
    const all = emojiItems(await emojiSet(), ["twemoji", "openmoji", "fluent"]).slice(0, 40);
    const { batch, list } = options();
    const varied = {
      ...batch,
      size: 12,
      extraTexts: 0.5,
      augmentation: { scale: [0.6, 1], flip: 0.2, recolour: 0.5 },
    } as const;
    const whole = await collect(contrastiveBatches(itemBatches(all, 8, firstBatch(11)), varied), 7);
    expect(whole[0]!.images.axes.map(({ size }) => size)).toEqual([8, 3, 12, 12]);
    expect(whole[0]!.ids.axes.map(({ size }) => size)).toEqual([8, 24]);
    expect(whole.every(({ images }) => images.data.every(Number.isFinite))).toBe(true);
    const fresh = { ...varied, images: imageStore({ size: 16, fit: "squash" }) };
    const resumed = await collect(contrastiveBatches(itemBatches(all, 8, whole[3]!.next), fresh), 3);
    expect(resumed.map(summary)).toEqual(whole.slice(4).map(summary));
    const pairs = whole.flatMap(({ pairs }) => pairs);
    expect(new Set(pairs.map(({ language }) => language))).toEqual(new Set(["en", "zh", "ar", "es"]));
    expect(pairs.some(({ imageName }) => imageName.endsWith(".svg"))).toBe(true);
    expect(pairs.some(({ imageName }) => imageName.endsWith(".webp"))).toBe(true);
    expect(list).toEqual([]);
  });

  it("puts another item in the place of a broken picture, names it once, and does so again on resuming", async () => {
    const folder = temporaryFolder();
    const groups = Array.from({ length: 12 }, (_, i) => `p${String(i).padStart(2, "0")}`);
    const all = groups.map((group) => ({ group, images: [join(folder, `${group}.png`)], texts: { en: [group] } }));
    for (const [i, group] of groups.entries()) {
      const whole = await picture({ r: i * 20, g: 0, b: 0 });
      await writeFile(join(folder, `${group}.png`), i < 3 ? whole.subarray(0, 50) : whole);
    }
    const { batch, list } = options();
    const batches = await collect(contrastiveBatches(itemBatches(all, 4, firstBatch(2)), batch), 9);
    for (const { pairs } of batches) {
      expect(new Set(pairs.map(({ group }) => group)).size).toBe(4);
      for (const { group } of pairs) expect(groups.indexOf(group)).toBeGreaterThanOrEqual(3);
    }
    expect(new Set(list.map(({ name }) => name)).size).toBe(3);
    expect(list[0]!.reason).toMatch(/image ".*\.png" cannot be read: /);
    const resumed = await collect(contrastiveBatches(itemBatches(all, 4, batches[4]!.at), options().batch), 5);
    expect(resumed.map(summary)).toEqual(batches.slice(4).map(summary));
  });

  it("ends with one clear error when nothing can be read", async () => {
    const { batch } = options();
    const all = items(["a", "b", "c", "d", "e"]);
    const error = await collect(contrastiveBatches(itemBatches(all, 3, firstBatch(0)), batch)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FileError);
    expect((error as Error).message).toBe(
      "batch 0 of epoch 0 cannot be filled: 3 of 3 images cannot be read and no replacement was found",
    );
  });
});
