/** Checkpoints that several processes write and check together: the bytes of one process, and whole or not there. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, expect, it } from "vitest";
import { hostTensor } from "../../compiler/index.ts";
import { loadNewestCheckpoint, saveCheckpoint, saveTogether } from "../../runtime/checkpoint/checkpoint.ts";
import { combined } from "../../runtime/checkpoint/crc32-combine.ts";
import type { Together } from "../../runtime/checkpoint/folders.ts";
import type { SharedFile, TensorPiece } from "../../runtime/checkpoint/shared-file.ts";
import { fileSystem as nodeFileSystem } from "../../runtime/host/node-host.ts";
import { tensorToWrite } from "../../runtime/safetensors/writer.ts";
import { seeded } from "../support/samples.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-together-"));
afterAll(() => rmSync(root, { recursive: true }));

/** Ranks of one process that meet at every word. */
function together(size: number): Together[] {
  const met: { said: unknown[]; all: PromiseWithResolvers<readonly unknown[]> }[] = [];
  return Array.from({ length: size }, (_, rank) => {
    let turn = 0;
    const tell = async <T>(own: T): Promise<readonly T[]> => {
      const meeting = (met[turn++] ??= { said: [], all: Promise.withResolvers() });
      meeting.said[rank] = structuredClone(own);
      if (Object.keys(meeting.said).length === size) meeting.all.resolve(meeting.said);
      return (await meeting.all.promise) as readonly T[];
    };
    const decide = async <T>(find: () => T | Promise<T>): Promise<T> =>
      (await tell(rank === 0 ? await find() : undefined))[0] as T;
    return { rank, size, tell, decide };
  });
}

const shapes = { "a.weight": [5, 7], "b.weight": [40], c: [], "d.weight": [3, 4, 2] } as const;
const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: "F32" as const, shape }));
const count = (shape: readonly number[]) => shape.reduce((n, s) => n * s, 1);
const all = new Map(
  tensors.map(({ name, shape }, i) => {
    const next = seeded(i + 1);
    return [name, Float32Array.from({ length: count(shape) }, () => next())];
  }),
);

/** Rank r's part of all elements, one tensor after another. */
function share(rank: number, size: number): SharedFile {
  const total = [...all.values()].reduce((n, d) => n + d.length, 0);
  const [first, end] = [Math.floor((total * rank) / size), Math.floor((total * (rank + 1)) / size)];
  async function* pieces(): AsyncGenerator<TensorPiece> {
    let at = 0;
    for (const [name, data] of all) {
      const [from, to] = [Math.max(0, first - at), Math.min(data.length, end - at)];
      if (from < to) yield { name, from, data: data.subarray(from, to) };
      at += data.length;
    }
  }
  return { tensors, pieces };
}

const one = [...all].map(([name, data]) =>
  tensorToWrite(
    name,
    hostTensor(
      "f32",
      shapes[name as keyof typeof shapes].map((size, i) => ({ name: `d${i}`, size })),
      data,
    ),
  ),
);
const counters = [tensorToWrite("n", hostTensor("i32", [], [3]))];

const saved = (folder: string, size: number, step: number) =>
  Promise.all(
    together(size).map((ranks) =>
      saveTogether(
        folder,
        { step, state: { size }, groups: { counters }, shared: { model: share(ranks.rank, size) } },
        ranks,
        { keep: 2 },
      ),
    ),
  );

it.each([1, 2, 3, 5])("%i processes write the files of one", async (size) => {
  const [alone, folder] = [join(root, `one-${size}`), join(root, `many-${size}`)];
  const path = await saveCheckpoint(alone, { step: 4, state: null, groups: { model: one } });
  await saved(folder, size, 4);
  const file = join(folder, "step-000004", "model.safetensors");
  expect(readFileSync(file).equals(readFileSync(join(path, "model.safetensors")))).toBe(true);
  for (const readers of [1, 2, 4]) {
    const found = await Promise.all(
      together(readers).map((t) => loadNewestCheckpoint(folder, (text) => expect(text).toBe(""), { together: t })),
    );
    for (const loaded of found) {
      expect(loaded?.step).toBe(4);
      expect([...(await loaded!.groups.model!.readTensor("b.weight")).data]).toEqual([...all.get("b.weight")!]);
      await loaded!.dispose();
    }
  }
});

it("a changed byte is found by whoever reads it, and all take the checkpoint before", async () => {
  const folder = join(root, "damaged");
  await saved(folder, 2, 1);
  await saved(folder, 2, 2);
  const file = join(folder, "step-000002", "model.safetensors");
  const bytes = readFileSync(file);
  bytes[bytes.length - 3]! ^= 1;
  writeFileSync(file, bytes);
  const told: string[] = [];
  const found = await Promise.all(
    together(3).map((t) => loadNewestCheckpoint(folder, (text) => told.push(text), { together: t })),
  );
  expect(found.map((f) => f?.step)).toEqual([1, 1, 1]);
  expect(told.length).toBe(3);
  expect(told[0]).toContain("the content of model.safetensors changed since it was written");
  for (const one of found) await one?.dispose();
});

it("a process that ends while it writes leaves the checkpoint before, and what it left is removed by the next", async () => {
  const folder = join(root, "killed");
  await saved(folder, 2, 1);
  const ranks = together(2);
  const content = (rank: number) => ({ step: 2, state: null, groups: {}, shared: { model: share(rank, 2) } });
  const broken = {
    ...nodeFileSystem,
    open: () => Promise.reject(Object.assign(new Error("full"), { code: "ENOSPC" })),
  };
  saveTogether(folder, content(0), ranks[0]!).catch(() => {}); // it waits for a word that never comes
  await expect(saveTogether(folder, content(1), ranks[1]!, { fs: broken })).rejects.toThrow("no space");
  expect(readdirSync(folder).sort()).toEqual(["step-000001", "step-000002.partial"]);
  const loaded = await loadNewestCheckpoint(folder, () => {});
  expect(loaded?.step).toBe(1);
  await loaded!.dispose();
  await saved(folder, 3, 3);
  expect(readdirSync(folder).sort()).toEqual(["step-000001", "step-000003"]);
});

it("the CRC of a whole is had from those of its parts", () => {
  const next = seeded(5);
  for (const [a, b] of [
    [0, 7],
    [1, 0],
    [3, 1],
    [1000, 12_345],
    [70_000, 65_536],
  ] as const) {
    const bytes = Uint8Array.from({ length: a + b }, () => Math.floor(256 * next()));
    const sum = (part: Uint8Array) => ({ crc32: crc32(part), bytes: part.length });
    expect(combined(sum(bytes.subarray(0, a)), sum(bytes.subarray(a)))).toEqual(sum(bytes));
  }
});
