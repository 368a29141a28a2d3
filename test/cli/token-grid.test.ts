import { describe, expect, test } from "vitest";
import { gridOf, tokenGrid } from "../../cli/commands/run/token-grid.ts";
import { axis, defineModel, imageAxes, input, linear, merge, type Params, split, trace } from "../../dsl/index.ts";

/** Patches of 4 rows and 1 column of images of 8 by 12. */
const narrow = trace(
  defineModel({
    name: "narrow",
    summary: "patches that are no squares",
    config: {},
    build: (p: Params) => {
      const image = imageAxes([8, 12]);
      const pixels = input("pixels", "f32", [axis("batch", 1), image.channel, image.row, image.column]);
      const [rows, inRow] = [axis("grid_row", 2), axis("patch_row", 4)];
      const mapped = linear(p, split(pixels, image.row, [rows, inRow]), [image.channel, inRow], [axis("embed", 2)]);
      return { "block.0": merge(mapped, [rows, image.column], axis("token", 24)) };
    },
  }),
);
const empty = { size: 8, pairs: [] };

describe("the grid of tokens", () => {
  test("is declared, or a square of a square image", () => {
    expect(gridOf(12, { ...empty, declared: [2, 6] }, "x")).toEqual([2, 6]);
    expect(gridOf(9, empty, "x")).toEqual([3, 3]);
  });

  test("is that of square patches, or the only pair in the graph", () => {
    expect(gridOf(12, { size: [24, 8], pairs: [[24, 8]] }, "x")).toEqual([6, 2]);
    expect(gridOf(12, { size: [24, 8], pairs: [[3, 4]] }, "x")).toEqual([3, 4]);
    const both = [
      [3, 4],
      [6, 2],
    ] as const;
    expect(gridOf(12, { size: [24, 8], pairs: both }, "x")).toEqual([6, 2]);
    expect(gridOf(24, tokenGrid(narrow, [8, 12], undefined), "x")).toEqual([2, 12]); // not 4 by 6
  });

  test.each([
    [24, { size: [8, 13] as const, pairs: [] }, /^x: features must have axes row and column, or tokens .* 8 × 13/],
    [0, empty, /declare their grid as modes.features.grid/],
    [8, empty, /declare their grid/],
    [12, { size: 8, pairs: [[3, 4] as const, [4, 3] as const] }, /declare their grid/],
    [12, { ...empty, declared: [3, 3] as const }, /declares a grid of 3 × 3, not of 12 tokens/],
  ])("of %i tokens is asked for", (tokens, grid, message) => {
    expect(() => gridOf(tokens, grid, "x")).toThrow(message);
  });
});
