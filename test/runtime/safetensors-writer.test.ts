import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError, type HostData, hostTensor, InternalError, UsageError } from "../../compiler/index.ts";
import {
  openSafetensors,
  type StoredDType,
  type TensorToWrite,
  tensorToWrite,
  writeModel,
  writeSafetensors,
} from "../../runtime/index.ts";
import { smallDisk, temporaryFolder } from "./support.ts";

const fixture = join(import.meta.dirname, "../fixtures/safetensors/python.safetensors");

const tensor = (name: string, dtype: StoredDType, data: HostData, shape = [data.length]): TensorToWrite => ({
  name,
  dtype,
  shape,
  data: () => [data],
});

async function writtenTensor(toWrite: TensorToWrite) {
  const path = join(await temporaryFolder(), "a.safetensors");
  await writeSafetensors(path, [toWrite]);
  await using file = await openSafetensors(path);
  return [...(await file.readTensor(toWrite.name)).data];
}

describe("writeSafetensors", () => {
  it("copies a file of Python's safetensors to the same bytes of each tensor", async () => {
    const path = join(await temporaryFolder(), "copy.safetensors");
    await using original = await openSafetensors(fixture);
    const copies = [...original.tensors.values()].map(({ name, dtype, shape }) => {
      return { name, dtype, shape, data: () => original.storedBytes(name) };
    });
    await writeSafetensors(path, copies, { metadata: Object.fromEntries(original.metadata) });
    await using copy = await openSafetensors(path);
    expect(copy.metadata).toEqual(original.metadata);
    expect([...copy.tensors.keys()].sort()).toEqual([...original.tensors.keys()].sort());
    for (const name of original.tensors.keys()) {
      expect(await copy.readTensor(name)).toEqual(await original.readTensor(name));
    }
  });

  it("writes the layout of the format: length, JSON padded to 8 bytes, data in order", async () => {
    const path = join(await temporaryFolder(), "a.safetensors");
    await writeSafetensors(path, [tensor("b", "BOOL", Uint8Array.of(1)), tensor("a", "I32", Int32Array.of(-2))]);
    const bytes = await readFile(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    expect(bytes.toString("utf8", 8, 8 + length).trimEnd()).toBe(
      '{"__metadata__":{"format":"pt"},' +
        '"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"BOOL","shape":[1],"data_offsets":[4,5]}}',
    );
    expect([...bytes.subarray(8 + length)]).toEqual([254, 255, 255, 255, 1]);
  });

  it.each<[StoredDType, HostData, number[]]>([
    ["F32", Float64Array.of(0.1, Number.NaN), [Math.fround(0.1), Number.NaN]],
    ["F64", Float32Array.of(0.5), [0.5]],
    ["F16", Float32Array.of(1.0004, -65504, Number.NEGATIVE_INFINITY), [1, -65504, Number.NEGATIVE_INFINITY]],
    // Ties go to even: 1 + 2^-8 lies between 1 and 1 + 2^-7, 1 + 3·2^-8 between 1 + 2^-7 and 1 + 2^-6.
    ["BF16", Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, Number.NaN, -3), [1, 1 + 2 ** -6, Number.NaN, -3]],
    ["BF16", Float16Array.of(0.5), [0.5]],
    ["I64", Int32Array.of(-1, 5), [-1, 5]],
    ["U64", Uint32Array.of(2 ** 32 - 1), [2 ** 32 - 1]],
    ["U32", Uint32Array.of(2 ** 32 - 1), [2 ** 32 - 1]],
    ["U8", Uint8Array.of(255), [255]],
    ["BOOL", Uint8Array.of(1, 0), [1, 0]],
  ])("converts to %s", async (dtype, data, values) => {
    expect(await writtenTensor(tensor("x", dtype, data))).toEqual(values);
  });

  it.each<[StoredDType, HostData, RegExp]>([
    ["F16", Float32Array.of(1, 65520), /"x", element 1: 65520 is outside the range of f16/],
    ["F32", Float64Array.of(1e39), /1e\+39 is outside the range of f32/],
    ["BF16", Float32Array.of(3.4e38), /is outside the range of bf16/],
    ["BOOL", Uint8Array.of(3), /a bool must be 0 or 1, got 3/],
  ])("refuses a value that %s cannot hold", async (dtype, data, message) => {
    await expect(writtenTensor(tensor("x", dtype, data))).rejects.toThrow(FileError);
    await expect(writtenTensor(tensor("x", dtype, data))).rejects.toThrow(message);
  });

  it("gives back what random tensors held, in any order and pieces", async () => {
    const folder = await temporaryFolder();
    const arrays = fc.oneof(
      fc.float32Array().map((data) => ["F32", data] as const),
      fc.int32Array().map((data) => ["I32", data] as const),
      fc.uint32Array().map((data) => ["U32", data] as const),
      fc.array(fc.nat(1)).map((data) => ["BOOL", Uint8Array.from(data)] as const),
    );
    const property = async (contents: Record<string, readonly [StoredDType, HostData]>, pieceLength: number) => {
      const tensors = Object.entries(contents).map(([name, [dtype, data]]) => ({
        ...tensor(name, dtype, data),
        data: async function* () {
          for (let at = 0; at < data.length; at += pieceLength) yield data.subarray(at, at + pieceLength);
        },
      }));
      const path = join(folder, "x.safetensors");
      await writeSafetensors(path, tensors);
      await using file = await openSafetensors(path);
      for (const { name } of tensors) expect((await file.readTensor(name)).data).toEqual(contents[name]![1]);
      for (const { byteOffset, dtype } of file.tensors.values())
        expect(byteOffset % (dtype === "BOOL" ? 1 : 4)).toBe(0);
    };
    const names = fc.string({ unit: "binary" }).filter((name) => name.isWellFormed() && name !== "__metadata__");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, arrays, { maxKeys: 6 }), fc.integer({ min: 1, max: 7 }), property),
    );
  });

  it("takes host tensors", async () => {
    const host = hostTensor(
      "f16",
      [
        { name: "a", size: 2 },
        { name: "b", size: 1 },
      ],
      [0.5, 2],
    );
    expect(tensorToWrite("x", host)).toMatchObject({ name: "x", dtype: "F16", shape: [2, 1] });
    expect(await writtenTensor(tensorToWrite("x", host))).toEqual([0.5, 2]);
  });

  it.each<[string, TensorToWrite[], RegExp, unknown]>([
    [
      "two tensors of a name",
      [tensor("x", "U8", Uint8Array.of(1)), tensor("x", "U8", Uint8Array.of(1))],
      /two tensors have the name "x"/,
      UsageError,
    ],
    [
      "the format's own name",
      [tensor("__metadata__", "U8", Uint8Array.of(1))],
      /cannot have the name "__metadata__"/,
      UsageError,
    ],
    ["a name that is no Unicode", [tensor("\ud800", "U8", Uint8Array.of(1))], /cannot have the name/, UsageError],
    [
      "too little data",
      [tensor("x", "F32", Float32Array.of(1), [2])],
      /"x" needs 8 bytes, but its data has 4/,
      InternalError,
    ],
    [
      "too much data",
      [tensor("x", "F32", Float32Array.of(1, 2), [1])],
      /"x" needs 4 bytes, but its data has more/,
      InternalError,
    ],
    [
      "a wrong kind of data",
      [tensor("x", "F32", Int32Array.of(1))],
      /a Int32Array cannot be stored as F32/,
      InternalError,
    ],
    ["a shape that is none", [tensor("x", "F32", Float32Array.of(1), [0.5])], /"x" has no valid layout/, InternalError],
  ])("refuses %s and leaves no file", async (_, tensors, message, kind) => {
    const folder = await temporaryFolder();
    const writing = writeSafetensors(join(folder, "a.safetensors"), tensors);
    await expect(writing).rejects.toThrow(kind as typeof FileError);
    await expect(writing).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([0, 1, 60, 200, 1000])("leaves the old file when the disk is full after %d bytes", async (capacity) => {
    const folder = await temporaryFolder();
    const path = join(folder, "a.safetensors");
    await writeSafetensors(path, [tensor("old", "F32", Float32Array.of(1))]);
    const big = [tensor("new", "F32", new Float32Array(1000))];
    await expect(writeSafetensors(path, big, { fs: smallDisk(capacity) })).rejects.toThrow(/no space is left/);
    await using file = await openSafetensors(path);
    expect([...file.tensors.keys()]).toEqual(["old"]);
    expect(await readdir(folder)).toEqual(["a.safetensors"]);
  });
});

describe("writeModel", () => {
  const four = ["a", "b", "c", "d"].map((name, i) => tensor(name, "F32", Float32Array.of(i, i)));
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

  it("writes one file where that suffices", async () => {
    const folder = join(await temporaryFolder(), "new", "model");
    await writeModel(folder, four);
    await writeModel(folder, four.slice(1));
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    await using model = await openSafetensors(folder);
    expect([...model.tensors.keys()]).toEqual(["b", "c", "d"]);
  });

  it("writes shards with an index, which read back as one", async () => {
    const folder = await temporaryFolder();
    await writeModel(folder, four, { maxShardBytes: 17 });
    expect((await readdir(folder)).sort()).toEqual([...shards, "model.safetensors.index.json"]);
    expect(JSON.parse(await readFile(join(folder, "model.safetensors.index.json"), "utf8"))).toEqual({
      metadata: { total_size: 32 },
      weight_map: { a: shards[0], b: shards[0], c: shards[1], d: shards[1] },
    });
    await using model = await openSafetensors(folder);
    for (const [i, name] of ["a", "b", "c", "d"].entries()) {
      expect([...(await model.readTensor(name)).data]).toEqual([i, i]);
    }
  });

  it("gives a tensor larger than a shard one of its own", async () => {
    const folder = await temporaryFolder();
    await writeModel(folder, four, { maxShardBytes: 1 });
    await using model = await openSafetensors(folder);
    expect(new Set([...model.tensors.values()].map(({ file }) => file)).size).toBe(4);
  });

  it("leaves nothing when it fails in any shard", async () => {
    for (const capacity of [0, 100, 200, 300, 500]) {
      const folder = await temporaryFolder();
      const writing = writeModel(folder, four, { maxShardBytes: 16, fs: smallDisk(capacity) });
      await expect(writing).rejects.toThrow(/no space is left/);
      const isIndexOnly = capacity === 500; // the shards are complete by then; without an index nothing reads them
      expect(await readdir(folder)).toEqual(isIndexOnly ? shards : []);
    }
  });

  it("refuses to mix with a model that is there", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "model.safetensors"), "");
    await expect(writeModel(folder, four, { maxShardBytes: 16 })).rejects.toThrow(/already in this folder/);
    const other = await temporaryFolder();
    await writeModel(other, four, { maxShardBytes: 16 });
    await expect(writeModel(other, four)).rejects.toThrow(/index\.json: it belongs to a model that is already/);
  });
});
