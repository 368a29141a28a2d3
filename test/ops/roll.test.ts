/** Cyclic shifts beside indices written out, on every executor, with their gradients. */
import { describe, expect, it } from "vitest";
import { differentiate, hostTensor, makeGraph } from "../../compiler/index.ts";
import { axis, input, mul, roll, sum, symbol } from "../../dsl/index.ts";
import { allExecutors, runOnce } from "../models/executors.ts";

const rows = 3;
const size = 7;
const shifts = [1, -2, 6, -9, 700];
const [row, fixed, open] = [axis("row", rows), axis("place", size), axis("place", symbol("n", { min: 6 }))];
const values = (name: string, factor: number) =>
  hostTensor(
    "f32",
    [
      { name: "row", size: rows },
      { name: "place", size },
    ],
    Float32Array.from({ length: rows * size }, (_, i) => factor * (i + 1) + name.length),
  );
const feeds = { x: values("x", 0.25), w: values("w", -0.5) };

/** The element i moves to (i + by) mod size. */
const moved = (data: ArrayLike<number>, by: number) =>
  Array.from({ length: rows * size }, (_, i) => {
    const [r, place] = [Math.floor(i / size), i % size];
    return data[r * size + ((((place - by) % size) + size) % size)]!;
  });

/** For each shift, the result, and the gradient of the sum of (result · w). */
function graphOf(along: typeof fixed, all: readonly number[]) {
  const [x, w] = [input("x", "f32", [row, along]), input("w", "f32", [row, along])];
  const outputs = all.flatMap((by) => {
    const y = roll(x, along, by);
    const [slope] = differentiate(sum(mul(y, w), [row, along]), [x]);
    return [
      { name: `y.${by}`, node: y },
      { name: `slope.${by}`, node: slope! },
    ];
  });
  return makeGraph("rolled", outputs);
}

describe.each(allExecutors)("on $name", (executor) => {
  it.each([
    ["a number", fixed, shifts],
    ["a symbol", open, [1, -2, 6]],
  ])("a shift along an axis whose size is %s", async (_, along, all) => {
    const results = await runOnce(executor, graphOf(along as typeof fixed, all), feeds, new Map());
    for (const by of all) {
      expect([...results[`y.${by}`]!.data], `${by}`).toEqual(moved(feeds.x.data as Float32Array, by));
      expect([...results[`slope.${by}`]!.data], `${by}`).toEqual(moved(feeds.w.data as Float32Array, -by));
    }
  });
});

it("refuses what is no shift, and an axis that may be shorter", () => {
  const x = input("x", "f32", [row, open]);
  expect(roll(x, row, -3)).toBe(x);
  expect(() => roll(x, open, 0.5)).toThrow("roll shifts by a whole number of elements, got the number 0.5");
  expect(() => roll(x, open, 7)).toThrow(
    'roll by 7 needs an axis "place" of at least 7 elements, but its size, n, may be 6',
  );
  // @ts-expect-error: x has no such axis
  expect(() => roll(x, axis("column", 2), 1)).toThrow('a tensor has no axis "column"');
});
