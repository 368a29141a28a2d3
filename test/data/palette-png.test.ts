/** Annotations with a palette, as PASCAL VOC's: the indices are read, whatever their colours. */
import { crc32, deflateSync } from "node:zlib";
import { expect, it } from "vitest";
import { decodeClasses } from "../../data/images.ts";

const [width, height] = [5, 3];
const numbers = Uint8Array.from({ length: width * height }, (_, i) => (i === 14 ? 255 : i));

function chunk(type: string, data: Uint8Array): Buffer {
  const checked = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [size, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  size.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(checked));
  return Buffer.concat([size, checked, check]);
}

/** A PNG with a palette; `bits` of an index. */
function palettePng(bits: 4 | 8): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([bits, 3], 8);
  const rows = Array.from({ length: height }, (_, y) => [0, ...numbers.subarray(y * width, (y + 1) * width)]);
  const colours = Uint8Array.from({ length: 768 }, (_, i) => (i * 67) % 256);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("PLTE", colours.subarray(0, 3 * 2 ** bits)),
    chunk("tRNS", Uint8Array.of(0)), // the first class is transparent
    chunk("IDAT", deflateSync(Uint8Array.from(rows.flat()))),
    chunk("IEND", new Uint8Array()),
  ]);
}

it("are read as the indices", async () => {
  const read = await decodeClasses({ name: "mask", bytes: palettePng(8) });
  expect(read).toMatchObject({ width, height });
  expect([...read.data]).toEqual([...numbers]);
});

it.each([
  ["fewer bits", palettePng(4), "expected an 8-bit PNG of class numbers"],
  ["its end missing", palettePng(8).subarray(0, -20), 'mask "mask" cannot be read'],
])("are refused with %s", async (_, bytes, message) => {
  await expect(decodeClasses({ name: "mask", bytes })).rejects.toThrow(message);
});
