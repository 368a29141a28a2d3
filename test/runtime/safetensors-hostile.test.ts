import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { parseHeader } from "../../runtime/safetensors/header.ts";
import { JsonFault, parseStrictJson } from "../../runtime/safetensors/strict-json.ts";
import { temporaryFolder, writeSafetensorsBytes } from "./support.ts";

const u8 = (begin: number, end: number) => ({ dtype: "U8", shape: [end - begin], data_offsets: [begin, end] });
const entry = (fields: object) => ({ x: { ...u8(0, 4), ...fields } });

describe("a hostile or damaged file ends in one error", () => {
  it.each<[string, string | Uint8Array | object, number, RegExp]>([
    [
      "a header that is no JSON",
      "{]",
      0,
      /its header is not valid JSON: expected a quoted key \(character 1, at "\]"\)/,
    ],
    ["an empty header", "", 0, /it is empty at its start, as after a broken download/],
    ["a header that is no object", "[1]", 0, /its header is not a JSON object/],
    ["a header that is no UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d), 0, /its header is not UTF-8 text/],
    ["a byte order mark", "\ufeff{}", 0, /expected a JSON value \(character 0/],
    ["text after the header", "{} {}", 0, /more text after the end .*character 3/],
    ["deep nesting", `{"x":${"[".repeat(1e6)}`, 0, /nested deeper than 16 levels/],
    ["a duplicate tensor", `{"x":${JSON.stringify(u8(0, 4))},"\\u0078":{}}`, 4, /duplicate key "x"/],
    ["a duplicate field", '{"x":{"dtype":"U8","dtype":"I8"}}', 4, /duplicate key "dtype"/],
    ["duplicate metadata", '{"__metadata__":{"a":"1","a":"2"}}', 0, /duplicate key "a"/],
    ["metadata that is no object", { __metadata__: "x" }, 0, /its __metadata__ is not a JSON object/],
    ["metadata that is no text", { __metadata__: { a: 1 } }, 0, /entry "a" is not a string/],
    [
      "overlapping tensors",
      { a: u8(0, 3), b: u8(2, 4) },
      4,
      /the data of tensor "b" overlaps that of tensor "a" by 1 bytes/,
    ],
    ["a hole", { a: u8(0, 1), b: u8(3, 4) }, 4, /2 bytes between tensor "a" and tensor "b" belong to no tensor/],
    ["a hole at the start", { a: u8(1, 4) }, 4, /1 bytes between the header and tensor "a"/],
    ["data at the end", { a: u8(0, 3) }, 4, /the last 1 bytes belong to no tensor/],
    ["data without a tensor", {}, 4, /the last 4 bytes belong to no tensor/],
    [
      "reversed offsets",
      entry({ data_offsets: [4, 0] }),
      4,
      /tensor "x": its data ends at byte 0, before it begins at 4/,
    ],
    ["offsets beyond the file", { a: u8(0, 5) }, 4, /its data ends at byte 5, but the file is cut off after 4 bytes/],
    [
      "huge offsets",
      entry({ data_offsets: [0, 2 ** 60] }),
      4,
      /its data_offsets contains something other than integers/,
    ],
    ["negative offsets", entry({ data_offsets: [-4, 0] }), 4, /its data_offsets contains something other/],
    ["three offsets", entry({ data_offsets: [0, 2, 4] }), 4, /data_offsets must have 2 numbers, got 3/],
    ["no offsets", entry({ data_offsets: null }), 4, /its data_offsets is missing or not a list/],
    ["a shape that does not fit", entry({ shape: [5] }), 4, /U8 of shape \[5\] needs 5 bytes, but its offsets span 4/],
    [
      "a dtype that does not fit",
      entry({ dtype: "F32" }),
      4,
      /F32 of shape \[4\] needs 16 bytes, but its offsets span 4/,
    ],
    ["a negative size", entry({ shape: [-4] }), 4, /its shape contains something other than integers/],
    ["a fraction of a size", entry({ shape: [1.5] }), 4, /its shape contains something other than integers/],
    ["a huge size", entry({ shape: [1e300] }), 4, /its shape contains something other than integers/],
    ["a shape that overflows", entry({ shape: [2 ** 40, 2 ** 40, 0] }), 4, /has more elements than any file can hold/],
    ["a shape of texts", entry({ shape: ["4"] }), 4, /its shape contains something other than integers/],
    ["no shape", entry({ shape: 4 }), 4, /its shape is missing or not a list/],
    [
      "an unknown dtype",
      entry({ dtype: "F8_E4M3" }),
      4,
      /its dtype "F8_E4M3" is not supported \(expected one of F64, .*\n {2}hint: store it as F32, F16 or BF16/,
    ],
    ["an inherited dtype", entry({ dtype: "constructor" }), 4, /its dtype "constructor" is not supported/],
    ["no dtype", entry({ dtype: 4 }), 4, /its dtype is missing or not a string/],
    ["an unknown field", entry({ offset: 1 }), 4, /unknown key "offset"/],
    ["an entry that is no object", { x: 3 }, 4, /tensor "x": its entry is not a JSON object/],
    ["a name with control characters", { "\x1b[2J\u202e": 3 }, 0, /tensor "\\u001b\[2J\\u\{202e\}": its entry/],
  ])("%s", async (_, header, dataBytes, message) => {
    const path = await writeSafetensorsBytes(header, dataBytes);
    const opening = openSafetensors(path);
    await expect(opening).rejects.toThrow(FileError);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toThrow(/^[^\n]*model\.safetensors: [^\n]+\n {2}hint: [^\n]+$/);
  });

  it.each<[string, bigint, RegExp]>([
    ["2^60", 2n ** 60n, /its header claims 1152921504606846976 bytes; at most 100000000 are accepted/],
    ["2^64 - 1", 2n ** 64n - 1n, /its header claims 18446744073709551615 bytes/],
    ["100 MB and one", 100_000_001n, /at most 100000000 are accepted/],
    ["more than the file", 50n, /its header claims 50 bytes, but the file ends 44 bytes before that/],
  ])("a header length of %s", async (_, length, message) => {
    const path = await writeSafetensorsBytes("{}", 4, length);
    await expect(openSafetensors(path)).rejects.toThrow(message);
  });

  it.each<[string, string, RegExp]>([
    ["nothing", "", /it has 0 bytes, but a safetensors file has at least 8/],
    [
      "a zip archive",
      "PK\x03\x04\x00\x00\x08\x08 and so on",
      /it is a zip archive, as torch.save and numpy write\n {2}hint: convert it in Python/,
    ],
    [
      "an old pickle",
      "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
      /it is a Python pickle, as older versions of torch.save write\n {2}hint: convert/,
    ],
    ["a git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n", /a git-lfs pointer.*\n.*with git lfs pull/],
    ["GGUF", "GGUF\x03\0\0\0\0\0", /it is a GGUF file\n {2}hint: use the safetensors files/],
    ["HDF5", "\x89HDF\r\n\x1a\n\0", /it is an HDF5 file/],
    ["gzip", "\x1f\x8b\x08\0\0\0\0\0\0", /it is a gzip archive\n {2}hint: unpack it/],
    ["a web page", "<!DOCTYPE html><html>", /it is a web page, not the file itself\n {2}hint: download it again/],
    ["an error message", '{"error":"not found"}', /it is a server's error message/],
    ["zeros", "\0".repeat(100), /it is empty at its start, as after a broken download/],
  ])("a file that holds %s", async (_, content, message) => {
    const path = join(await temporaryFolder(), "model.safetensors");
    await writeFile(path, content, "latin1");
    await expect(openSafetensors(path)).rejects.toThrow(message);
    await rename(path, `${path}.index.json`);
    if (content !== "") await expect(openSafetensors(`${path}.index.json`)).rejects.toThrow(message);
  });

  it("a path that is missing or no file", async () => {
    await expect(openSafetensors(join(await temporaryFolder(), "x"))).rejects.toThrow(/cannot read .*no such file/);
    if (process.platform !== "win32") {
      await expect(openSafetensors("/dev/null")).rejects.toThrow(/it is not a regular file/);
    }
  });

  it("a file that is cut off anywhere", async () => {
    const { bytes } = validHeader();
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(() => parseHeader("f", bytes.subarray(0, cut), 100)).toThrow(FileError);
    }
    expect(() => parseHeader("f", bytes, 99)).toThrow(FileError);
  });
});

describe("names are only names", () => {
  it("whatever they are", async () => {
    const names = [
      "",
      "__proto__",
      "constructor",
      "toString",
      "../../etc/passwd",
      "/abs",
      "a\0b",
      "C:\\x",
      "\u{1f600}",
    ];
    const header = JSON.stringify(Object.fromEntries(names.map((name, i) => [name, u8(i, i + 1)])));
    await using file = await openSafetensors(await writeSafetensorsBytes(header, names.length));
    expect([...file.tensors.keys()].sort()).toEqual([...names].sort());
    for (const [i, name] of names.entries()) expect([...(await file.readTensor(name)).data]).toEqual([i]);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
});

function validHeader() {
  const header = {
    __metadata__: { format: "pt" },
    'a"\\': { dtype: "BF16", shape: [2, 3, 1], data_offsets: [0, 12] },
    b: { dtype: "F32", shape: [], data_offsets: [12, 16] },
    c: { dtype: "I64", shape: [0, 7], data_offsets: [16, 16] },
    "d.é": { dtype: "U8", shape: [84], data_offsets: [16, 100] },
  };
  return { bytes: new TextEncoder().encode(JSON.stringify(header)), dataBytes: 100 };
}

describe("the header parser under random damage", () => {
  const check = (bytes: Uint8Array, dataBytes: number) => {
    let header: ReturnType<typeof parseHeader>;
    try {
      header = parseHeader("f", bytes, dataBytes);
    } catch (error) {
      expect(error).toBeInstanceOf(FileError);
      expect((error as Error).message.length).toBeLessThan(600);
      return;
    }
    // Whatever is accepted is sound: the tensors tile the data exactly.
    const total = [...header.tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0);
    expect(total).toBe(dataBytes);
  };

  it("throws FileError or gives tensors that tile the data: bytes changed", () => {
    const change = fc.record({
      at: fc.nat(1000),
      to: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:0129-\\'))),
    });
    const property = (changes: { at: number; to: number }[], dataBytes: number) => {
      const { bytes } = validHeader();
      for (const { at, to } of changes) bytes[at % bytes.length] = to;
      check(bytes, dataBytes);
    };
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.constantFrom(100, 100, 99, 0), property),
      {
        numRuns: 3000,
      },
    );
  });

  it("throws FileError or gives tensors that tile the data: pieces repeated, moved and removed", () => {
    const property = (from: number, length: number, to: number, isCut: boolean) => {
      const { bytes, dataBytes } = validHeader();
      const piece = bytes.subarray(from % bytes.length, (from % bytes.length) + length);
      const rest = isCut ? Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]) : Buffer.from(bytes);
      const at = to % (rest.length + 1);
      check(Buffer.concat([rest.subarray(0, at), piece, rest.subarray(at)]), dataBytes);
    };
    fc.assert(fc.property(fc.nat(400), fc.nat(60), fc.nat(400), fc.boolean(), property), { numRuns: 1500 });
  });

  it("throws FileError or gives tensors that tile the data: other values in a valid header", () => {
    const numbers = fc.oneof(fc.integer({ min: -3, max: 20 }), fc.double(), fc.constantFrom(2 ** 53, 2 ** 31, 1e308));
    const tensor = fc.record({
      dtype: fc.constantFrom("U8", "F32", "I64", "F8_E4M3", "__proto__"),
      shape: fc.array(numbers, { maxLength: 3 }),
      data_offsets: fc.array(numbers, { minLength: 1, maxLength: 3 }),
    });
    const property = (tensors: Record<string, unknown>, dataBytes: number) =>
      check(new TextEncoder().encode(JSON.stringify(tensors)), dataBytes);
    fc.assert(fc.property(fc.dictionary(fc.string(), tensor, { maxKeys: 4 }), fc.nat(30), property), { numRuns: 1000 });
  });
});

describe("parseStrictJson", () => {
  const plain = (value: unknown): unknown => {
    if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
    return Array.isArray(value) ? value.map(plain) : value;
  };

  it("agrees with JSON.parse on valid texts", () => {
    const property = (text: string) => void expect(plain(parseStrictJson(text))).toEqual(JSON.parse(text));
    fc.assert(fc.property(fc.json({ maxDepth: 4 }), property));
  });

  it("accepts nothing that JSON.parse refuses", () => {
    const characters = fc.constantFrom(...'{}[]",:0.1e-+\\u tn\x01'.split(""), "true", "null", '"a"', '"b":');
    fc.assert(
      fc.property(fc.array(characters, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("");
        try {
          parseStrictJson(text);
        } catch (error) {
          return void expect(error).toBeInstanceOf(JsonFault);
        }
        JSON.parse(text);
      }),
      { numRuns: 5000 },
    );
  });

  it("reads a text of many backslashes in linear time", () => {
    const text = JSON.stringify('\\"'.repeat(200_000));
    expect(parseStrictJson(text)).toBe('\\"'.repeat(200_000));
    expect(() => parseStrictJson(`"${"\\".repeat(400_001)}"`)).toThrow(JsonFault);
  });
});
