/** Tiles of pictures beside transformers and Pillow: scripts/reference/tiles.py. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { render } from "../../data/decoding/render.ts";
import { decodeTiles } from "../../data/images.ts";
import { openData } from "../../data/index.ts";
import { tilesFor } from "../../data/tiles.ts";

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8")) as T;
const { grids, digests } = read<{
  readonly grids: readonly (readonly number[])[];
  readonly digests: Readonly<Record<string, Readonly<Record<string, string>>>>;
}>("tiles");
const { files } = read<{ readonly files: Readonly<Record<string, string>> }>("pictures");

describe("a picture", () => {
  it("is worth as many tiles as transformers says, of any size", () => {
    const wrong = grids.filter(([width, height, size, least, most, columns, rows]) => {
      const tiles = tilesFor({ width: width!, height: height! }, { size: size!, least: least!, most: most! });
      return tiles.columns !== columns || tiles.rows !== rows;
    });
    expect(wrong).toEqual([]);
    expect(new Set(grids.map(([, , , , , columns, rows]) => `${columns} ${rows}`)).size).toBeGreaterThan(30);
  });

  it.each(Object.entries(digests))("becomes the tiles that Pillow makes of it: %s", async (name, wanted) => {
    const source = { name, bytes: Buffer.from(files[name]!, "base64") };
    for (const [key, digest] of Object.entries(wanted)) {
      const [size, most] = key.split(" ").map(Number) as [number, number];
      const tiles = await decodeTiles(source, { size, least: 1, most, thumbnail: true });
      expect(tiles.every((t) => t.width === size && t.height === size)).toBe(true);
      const hash = createHash("sha256");
      for (const { data } of tiles) hash.update(data);
      expect([key, hash.digest("hex").slice(0, 16)]).toEqual([key, digest]);
    }
  });

  it("has no thumbnail where it is one tile, or none is asked for", async () => {
    const source = { name: "rgb", bytes: Buffer.from(files.rgb!, "base64") }; // 61 × 40
    const count = async (most: number, thumbnail: boolean) =>
      (await decodeTiles(source, { size: 8, least: 1, most, thumbnail })).length;
    expect(await Promise.all([count(1, true), count(6, true), count(6, false)])).toEqual([1, 7, 6]);
  });

  it("is cut into squares only", async () => {
    const image = { size: [8, 16], fit: "squash", tiles: { least: 1, most: 2, thumbnail: false, room: 2 } } as const;
    const message = "cutting images into tiles needs square images, but these are 8 × 16 (height × width)";
    await expect(openData(["none.json"], "conversations", { seed: 1, batch: 1, image })).rejects.toThrow(message);
    await expect(render({ image: "none.png", seed: 1, keys: [] }, image)).rejects.toThrow(message);
  });

  it("is not cut into numbers of tiles that make no sense", () => {
    for (const [least, most] of [
      [0, 3],
      [3, 2],
      [1, 2.5],
      [1, 2 ** 31], // all grids up to it would be compared
    ] as const)
      expect(() => tilesFor({ width: 2, height: 1 }, { size: 8, least, most })).toThrow(/invalid range of .* tiles/);
  });
});
