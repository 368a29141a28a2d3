import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { fileSystem } from "../../runtime/host/node-host.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { safetensorsBytes, temporaryFolder, writeSafetensorsBytes } from "./support.ts";

const fixture = join(import.meta.dirname, "../fixtures/safetensors/python.safetensors");

async function readFixture(name: string, dtype?: "f16" | "f32") {
  await using file = await openSafetensors(fixture);
  return await file.readTensor(name, dtype && { dtype });
}

describe("a file written by Python's safetensors", () => {
  it.each([
    ["encoder.weight", "f32", [3, 2], [0.5, -1.25, 3e38, 1e-40, 0.1, -0].map(Math.fround)],
    ["encoder.half", "f16", [3], [1, 65504, -0.333251953125]],
    ["encoder.brain", "f32", [2, 3], [1, -2.5, 0.15625, 0, Number.POSITIVE_INFINITY, 65536]],
    ["double", "f32", [2], [0.1, -1e30].map(Math.fround)],
    ["long", "i32", [3], [-(2 ** 31), 2 ** 31 - 1, -1]],
    ["int", "i32", [2], [-7, 7]],
    ["unsigned", "u32", [2], [0, 2 ** 32 - 1]],
    ["byte", "u32", [3], [0, 200, 255]],
    ["signed_byte", "i32", [2], [-128, 127]],
    ["mask", "bool", [3], [1, 0, 1]],
    ["scalar", "f32", [], [2.5]],
    ["empty", "f32", [0, 4], []],
    ["../weird ☃ name/__proto__", "f32", [1], [1]],
    ["__proto__", "f32", [1], [2]],
  ])("holds %s as %s %j", async (name, dtype, shape, values) => {
    const tensor = await readFixture(name);
    expect(tensor.dtype).toBe(dtype);
    expect(tensor.axes.map((axis) => axis.size)).toEqual(shape);
    expect([...tensor.data]).toEqual(values);
  });

  it("has its metadata", async () => {
    await using file = await openSafetensors(fixture);
    expect([...file.metadata]).toEqual([
      ["format", "np"],
      ["note", "grüße"],
    ]);
    expect(file.tensors.size).toBe(14);
  });

  it("is read as another float on request, unless a value does not fit", async () => {
    expect((await readFixture("encoder.half", "f32")).data).toEqual(Float32Array.of(1, 65504, -0.333251953125));
    const reading = readFixture("encoder.brain", "f16");
    await expect(reading).rejects.toThrow(FileError);
    await expect(reading).rejects.toThrow(/"encoder.brain", element 5: 65536 is outside the range of f16/);
    await expect(readFixture("int", "f32")).rejects.toThrow(/"int" is stored as I32 and cannot be read as f32/);
  });

  it("is read by ranges, with axis names, and as bytes", async () => {
    await using file = await openSafetensors(fixture);
    expect([...(await file.readRange("encoder.brain", 1, 2))]).toEqual([-2.5, 0.15625]);
    expect([...(await file.readRange("long", 1, 0))]).toEqual([]);
    expect((await file.readTensor("int", { axes: ["token"] })).axes).toEqual([{ name: "token", size: 2 }]);
    const pieces: number[] = [];
    for await (const piece of file.storedBytes("signed_byte")) pieces.push(...piece);
    expect(pieces).toEqual([128, 127]);
    await expect(file.readRange("long", 2, 2)).rejects.toThrow(UsageError);
    await expect(file.readRange("long", -1, 2)).rejects.toThrow(UsageError);
    await expect(file.readTensor("int", { axes: [] })).rejects.toThrow(/has 1 axes, but 0 axis names were given/);
  });

  it("suggests the nearest name for one that is not there", async () => {
    await expect(readFixture("encoder.wieght")).rejects.toThrow(
      /it has no tensor "encoder.wieght"\n {2}hint: the nearest names are "encoder.weight"/,
    );
    await expect(readFixture("zzzzzzzzzzzz")).rejects.toThrow(/it has 14 tensors, none with a similar name/);
  });
});

describe("values that the host type cannot hold", () => {
  const file = (dtype: string, bytes: number) => ({ x: { dtype, shape: [1], data_offsets: [0, bytes] } });

  it.each([
    ["I64", Buffer.from([0, 0, 0, 128, 0, 0, 0, 0]), /"x", element 0: it needs more than 32 bits/],
    ["I64", Buffer.from([0, 0, 0, 0, 255, 255, 255, 255]), /it needs more than 32 bits/],
    ["U64", Buffer.from([0, 0, 0, 0, 1, 0, 0, 0]), /it needs more than 32 bits/],
    ["F64", Buffer.from(Float64Array.of(-1e300).buffer), /-1e\+300 is outside the range of f32/],
    ["BOOL", Buffer.from([2]), /a bool must be 0 or 1, got 2/],
  ])("are an error: %s %j", async (dtype, bytes, message) => {
    const path = join(await temporaryFolder(), "a.safetensors");
    await writeFile(path, Buffer.concat([safetensorsBytes(file(dtype, bytes.length), 0), bytes]));
    await using reader = await openSafetensors(path);
    await expect(reader.readTensor("x")).rejects.toThrow(FileError);
    await expect(reader.readTensor("x")).rejects.toThrow(message);
  });
});

describe("large tensors", () => {
  it("are converted in pieces that join without a seam", async () => {
    const count = 600_000; // more than a piece of 1 MiB
    const path = join(await temporaryFolder(), "a.safetensors");
    const data = Uint16Array.from({ length: count }, (_, i) => i & 0x3fff);
    const header = { x: { dtype: "BF16", shape: [count], data_offsets: [0, 2 * count] } };
    await writeFile(path, Buffer.concat([safetensorsBytes(header, 0), Buffer.from(data.buffer)]));
    await using reader = await openSafetensors(path);
    const bits = new Uint32Array((await reader.readTensor("x")).data.buffer);
    expect(bits.findIndex((word, i) => word !== (i & 0x3fff) << 16)).toBe(-1);
  });

  it("are not read before they are asked for", async () => {
    const path = await writeSafetensorsBytes({ x: { dtype: "U8", shape: [5000], data_offsets: [0, 5000] } }, 5000);
    let bytesRead = 0;
    const fs = {
      ...fileSystem,
      open: async (...args: Parameters<typeof fileSystem.open>) => {
        const file = await fileSystem.open(...args);
        const read = file.read.bind(file);
        file.read = async (buffer, offset, length, position) => {
          bytesRead += length;
          return await read(buffer, offset, length, position);
        };
        return file;
      },
    };
    await using reader = await openSafetensors(path, { fs });
    expect(bytesRead).toBeLessThan(200);
    await reader.readRange("x", 4000, 10);
    expect(bytesRead).toBeLessThan(210);
  });
});

describe("a sharded model", () => {
  const shard = (name: string) => safetensorsBytes({ [name]: { dtype: "U8", shape: [3], data_offsets: [0, 3] } }, 3);

  async function shardedModel(weightMap: unknown, files: Record<string, Uint8Array | string>): Promise<string> {
    const folder = await temporaryFolder();
    const index = typeof weightMap === "string" ? weightMap : JSON.stringify({ metadata: {}, weight_map: weightMap });
    await writeFile(join(folder, "model.safetensors.index.json"), index);
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
    return folder;
  }

  it("is one set of tensors, opened by its folder or its index", async () => {
    const folder = await shardedModel(
      { a: "1.safetensors", b: "2.safetensors" },
      {
        "1.safetensors": shard("a"),
        "2.safetensors": shard("b"),
      },
    );
    for (const path of [folder, join(folder, "model.safetensors.index.json")]) {
      await using model = await openSafetensors(path);
      expect([...model.tensors.keys()]).toEqual(["a", "b"]);
      expect([...(await model.readTensor("b")).data]).toEqual([0, 1, 2]);
    }
  });

  it.each<[string, unknown, Record<string, Uint8Array | string>, RegExp]>([
    [
      "missing shards",
      { a: "1.st", b: "2.st", c: "3.st" },
      { "1.st": shard("a") },
      /2 of the 3 shards .* missing: "2.st", "3.st"/,
    ],
    ["a tensor its shard has not", { a: "1.st", b: "1.st" }, { "1.st": shard("a") }, /1\.st: it lacks tensors .*: "b"/],
    [
      "a tensor in two shards",
      { a: "1.st", b: "2.st" },
      { "1.st": shard("a"), "2.st": shard("a") },
      /"a" is in two shards/,
    ],
    ["a path that climbs out", { a: "../1.st" }, {}, /"..\/1.st" is not a path inside its folder/],
    ["an absolute path", { a: "/etc/passwd" }, {}, /is not a path inside its folder/],
    ["a Windows path", { a: "C:1.st" }, {}, /is not a path inside its folder/],
    ["a backslash", { a: "..\\1.st" }, {}, /is not a path inside its folder/],
    ["a NUL", { a: "1.st\0" }, {}, /is not a path inside its folder/],
    ["a shard that is no text", { a: 3 }, {}, /the shard of tensor "a" is not a string/],
    ["no weight map", [1], {}, /it has no "weight_map" object/],
    [
      "a duplicate tensor",
      '{"weight_map":{"a":"1.st","a":"2.st"}}',
      {},
      /not valid JSON: duplicate key "a" \(character 26/,
    ],
    [
      "an index that is no JSON",
      '{"weight_map":{',
      {},
      /not valid JSON: expected a quoted key \(character 15, its end\)/,
    ],
  ])("ends in one error for %s", async (_, weightMap, files, message) => {
    const folder = await shardedModel(weightMap === null ? "{}" : weightMap, files);
    await expect(openSafetensors(folder)).rejects.toThrow(FileError);
    await expect(openSafetensors(folder)).rejects.toThrow(message);
  });

  it.skipIf(process.platform === "win32")(
    "is refused when a link leads out of its folder, except to the blobs of a Hugging Face cache",
    async () => {
      const outside = await shardedModel({}, { "secret.st": shard("a") });
      const folder = await shardedModel({ a: "1.st" }, {});
      await symlink(join(outside, "secret.st"), join(folder, "1.st"));
      await expect(openSafetensors(folder)).rejects.toThrow(/"1.st" is a link that points outside its folder/);

      const cache = join(await temporaryFolder(), "models--x");
      const snapshot = join(cache, "snapshots", "abc");
      await mkdir(snapshot, { recursive: true });
      await mkdir(join(cache, "blobs"));
      await writeFile(join(cache, "blobs", "00ff"), shard("a"));
      await symlink("../../blobs/00ff", join(snapshot, "model.safetensors"));
      await using model = await openSafetensors(snapshot);
      expect([...model.tensors.keys()]).toEqual(["a"]);
    },
  );

  it("is not guessed where a folder holds both kinds, neither, or PyTorch files", async () => {
    const both = await shardedModel({ a: "model.safetensors" }, { "model.safetensors": shard("a") });
    await expect(openSafetensors(both)).rejects.toThrow(/it contains both .*\n {2}hint: name the one to use/);
    const folder = await temporaryFolder();
    await expect(openSafetensors(folder)).rejects.toThrow(/it contains no model.safetensors/);
    await writeFile(join(folder, "pytorch_model.bin"), "");
    await expect(openSafetensors(folder)).rejects.toThrow(/"pytorch_model.bin" looks like a PyTorch file/);
    await writeFile(join(folder, "adapter.safetensors"), "");
    await expect(openSafetensors(folder)).rejects.toThrow(/name the file to use: "adapter.safetensors"/);
  });
});
