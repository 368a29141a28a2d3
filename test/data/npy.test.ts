/** Arrays as NumPy wrote them (scripts/reference/npy_arrays.py), and files that are none. */
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type NumericArray, parseNpy, readNpy } from "../../data/npy.ts";
import rows from "../fixtures/npy-arrays.json" with { type: "json" };
import { temporaryFolder } from "./support.ts";

const fileOf = (name: string): Uint8Array => Buffer.from(rows.find((row) => row.name === name)!.file, "base64");

/** The elements as nested lists. */
function nested({ shape, strides, values }: NumericArray, from = 0, at = 0): unknown {
  if (at === shape.length) return values[from];
  return Array.from({ length: shape[at]! }, (_, i) =>
    nested({ shape, strides, values } as NumericArray, from + i * strides[at]!, at + 1),
  );
}

describe("an array is read", () => {
  const readable = rows.filter((row) => "values" in row);
  it.each(readable.map((row) => [row.name, row] as const))("of %s", (name, { file, values }) => {
    const numbers = name === "bool" ? (values as boolean[][]).map((row) => row.map(Number)) : values;
    expect(nested(parseNpy(Buffer.from(file, "base64"), "x.npy"))).toEqual(numbers);
  });
});

describe("a file is refused", () => {
  it.each([
    ["big-endian", 'its numbers are big-endian: save array.astype("<f4")'],
    ["complex numbers", "its elements are c8; supported are b1, u1, i1"],
    ["texts", "its elements are U2; supported are"],
    ["records", "its elements are records; supported are"],
  ])("of %s", (name, message) => {
    expect(() => parseNpy(fileOf(name), "x.npy")).toThrow(`"x.npy" cannot be read as .npy: ${message}`);
  });

  const changed = (change: (file: Uint8Array) => Uint8Array | undefined) => () => {
    const file = Uint8Array.from(fileOf("<f4"));
    return parseNpy(change(file) ?? file, "x.npy");
  };
  const header = (from: string, to: string) =>
    changed((file) => Buffer.from(Buffer.from(file).toString("latin1").replace(from, to), "latin1"));

  it.each([
    ["without NumPy's mark", changed((f) => void f.fill(0, 0, 1)), "it does not begin as NumPy's files do"],
    ["of nothing", changed(() => new Uint8Array(0)), "it does not begin as NumPy's files do"],
    ["that ends in its header", changed((f) => f.subarray(0, 40)), "it ends in its header"],
    ["that ends before its length", changed((f) => f.subarray(0, 8)), "it ends in its header"],
    ["that ends in its elements", changed((f) => f.subarray(0, -1)), "23 bytes are not 6 elements of 4 bytes"],
    ["with a long header", changed((f) => void f.fill(255, 8, 10)), "its header has 65535 bytes; NumPy reads 10000"],
    ["of a later version", changed((f) => void f.fill(9, 6, 7)), "version 9 of the format is unknown"],
    ["of other sizes", header("(2, 3)", "(2, 4)"), "24 bytes are not 8 elements of 4 bytes"],
    ["with more than its sizes say", header("(2, 3)", "(2, 2)"), "24 bytes are not 4 elements of 4 bytes"],
    ["of negative sizes", header("(2, 3)", "(-2,3)"), "its header is malformed"],
    ["of sizes beyond all memory", header("(2, 3), }  ", "(2, 99999999999999999999), }"), "its header is malformed"],
    ["without an order", header("'fortran_order'", "'fortran_ardor'"), "its header is malformed"],
  ])("%s", (_, read, message) => {
    expect(read).toThrow(`"x.npy" cannot be read as .npy: ${message}`);
  });

  it("that is missing, a folder, or too large", async () => {
    const folder = temporaryFolder();
    await expect(readNpy(join(folder, "none.npy"))).rejects.toThrow(/array ".*none\.npy" cannot be read: it does not/);
    await expect(readNpy(folder)).rejects.toThrow(/array ".*" is not a file/);
    const large = join(folder, "large.npy");
    writeFileSync(large, "");
    truncateSync(large, 2 ** 30 + 1); // of holes only
    await expect(readNpy(large)).rejects.toThrow(/is larger than 1073741824 bytes/);
  });
});
