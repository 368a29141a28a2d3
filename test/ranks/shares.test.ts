/** How rows of a step and elements of arenas are divided among ranks: all of them, each once, as evenly as can be. */
import { describe, expect, it } from "vitest";
import { rootOf, segmentsOf } from "../../backends/webgpu/runtime/segments.ts";
import { typicalFacts } from "../../cli/typical-gpu.ts";
import { bindSizes, compileKernels, hostTensor, inputName, mulDims, planKernels } from "../../compiler/index.ts";
import {
  add,
  axis,
  constantRate,
  defineStage,
  input,
  mean,
  mul,
  type Params,
  split,
  symbol,
  type Tensor,
  trainingStep,
  uniform,
} from "../../dsl/index.ts";
import { layoutWithin } from "../../dsl/optim/shard.ts";
import { differences, rangesOf } from "../../runtime/collectives/index.ts";
import { addUp } from "../../runtime/collectives/sums.ts";
import { putRows, takeRows } from "../../runtime/training/rows.ts";
import { lengthOf, piecesOf, rankOfRow, sharedJob } from "../../runtime/training/share.ts";
import { jobOf } from "./shared-cases.ts";

it("what ranks differ in says who has what, whichever is the odd one", () => {
  const of = (...values: readonly string[]) => differences(values.map((version) => ({ version, stage: "2" })));
  expect(of("1.0", "1.0", "1.0")).toEqual([]);
  expect(of("0.9", "1.0", "1.0", "1.0")).toEqual(["ranks differ in version: rank 0 has 0.9; ranks 1 to 3 have 1.0"]);
  expect(of("1.0", "1.0", "0.9", "1.0")).toEqual([
    "ranks differ in version: ranks 0, 1 and 3 have 1.0; rank 2 has 0.9",
  ]);
  const [digest, other] = ["a".repeat(64), "b".repeat(64)];
  expect(differences([{ step: digest }, { step: other }])).toEqual([
    "ranks differ in step: rank 0 has one; rank 1 has another",
  ]);
  expect(differences([{}, { version: "1.0" }])).toEqual([
    "ranks differ in version: rank 0 has an unknown one; rank 1 has 1.0",
  ]);
});

describe("rows of a step", () => {
  it.each([
    [1, 8, 2],
    [1, 7, 4],
    [4, 2, 2],
    [3, 4, 2],
    [2, 3, 4],
    [5, 8, 4],
    [2, 9, 3],
    [1, 4, 4],
  ])("%i batches of %i among %i ranks", (batches, rows, size) => {
    const shares = Array.from({ length: size }, (_, rank) => piecesOf(batches, rows, rank, size));
    const all = shares.flatMap(({ pieces }) =>
      pieces.flatMap(({ batch, from, to }) => Array.from({ length: to - from }, (_, i) => batch * rows + from + i)),
    );
    expect(all).toEqual(Array.from({ length: batches * rows }, (_, i) => i)); // in order, each once
    for (const [rank, { pieces }] of shares.entries())
      for (const { batch, from, to } of pieces)
        for (let row = from; row < to; row++) expect(rankOfRow(batches * rows, batch * rows + row, size)).toBe(rank);
    const counts = shares.map(({ pieces }) => pieces.reduce((n, p) => n + lengthOf(p), 0));
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    const lengths = new Set(shares.flatMap(({ pieces }) => pieces.map(lengthOf)));
    const isEven = (batches * rows) % size === 0;
    expect(shares.every((s) => s.isUneven === !isEven)).toBe(true);
    if (isEven) expect(lengths.size).toBe(1);
    expect(shares.map((s) => s.first)).toEqual(
      shares.map((_, r) => shares.slice(0, r).reduce((n, s) => n + s.pieces.length, 0)),
    );
    expect(new Set(shares.map((s) => s.count))).toEqual(new Set([shares.reduce((n, s) => n + s.pieces.length, 0)]));
  });

  it("whole batches of a job where a rank has several", () => {
    expect(piecesOf(4, 8, 1, 2).pieces).toEqual([
      { batch: 2, from: 0, to: 8 },
      { batch: 3, from: 0, to: 8 },
    ]);
  });
});

it("samples that have several rows of the first input are divided by their own number", () => {
  const [batch, rows] = [axis("batch", symbol("batch")), axis("batch", mulDims(4, symbol("batch")))];
  const [tile, embed] = [axis("tile", 4), axis("embed", 3)];
  const loss = (p: Params) => {
    const tiles = mul(input("tiles", "f32", [rows, embed]), p.parameter("w", [embed], uniform(0, 1)));
    const each = mean(split(tiles, rows, [batch, tile]), tile) as Tensor<"batch" | "embed">;
    const moved = add(each, input("offset", "f32", [batch])) as Tensor<"batch" | "embed">;
    return { loss: mean(mul(moved, moved), [batch, embed]) };
  };
  const step = trainingStep(
    defineStage({ name: "tiles", loss, accumulate: 2, optimizer: { rate: constantRate(0.1) } }),
  );
  expect(inputName(step.graph.inputs[0]!)).toBe("tiles");
  const { share } = sharedJob({ ...jobOf("means, accumulated", 1), step, sizes: { batch: 3 } }, 1, 3);
  expect(share).toMatchObject({
    symbol: "batch",
    rows: 3,
    pieces: [
      { batch: 0, from: 2, to: 3 },
      { batch: 1, from: 0, to: 1 },
    ],
  });
});

it.each([
  [64 * 10, 4],
  [1000, 3],
  [64, 4],
  [64 * 1001, 8],
])("%i elements among %i ranks are divided within one alignment", (count, size) => {
  const ranges = rangesOf(count, size);
  expect(ranges[0]!.from).toBe(0);
  expect(ranges.at(-1)!.to).toBe(count);
  for (const [i, { from, to }] of ranges.entries()) {
    if (i > 0) expect(from).toBe(ranges[i - 1]!.to);
    expect(from % 64).toBe(0);
    expect(Math.abs(to - from - count / size)).toBeLessThanOrEqual(64);
  }
});

it("what lies within a range of an arena is counted from its beginning", () => {
  const entry = (name: string, offset: number, length: number) =>
    ({ name, offset, length, type: { dtype: "f32", axes: [] } }) as const;
  const layout = { entries: [entry("a", 0, 100), entry("b", 128, 30), entry("c", 192, 64)], size: 256 };
  const within = (from: number, to: number) =>
    layoutWithin(layout, { from, to }).entries.map(({ name, offset, length }) => [name, offset, length]);
  expect(within(0, 64)).toEqual([["a", 0, 64]]);
  expect(within(64, 192)).toEqual([
    ["a", 0, 36],
    ["b", 64, 30],
  ]);
  expect(within(192, 256)).toEqual([["c", 0, 64]]);
});

it("rows are taken and put along any axis", () => {
  const sizes = [
    { name: "a", size: 2 },
    { name: "row", size: 4 },
    { name: "b", size: 3 },
  ];
  const all = hostTensor(
    "f32",
    sizes,
    Array.from({ length: 24 }, (_, i) => i),
  );
  const taken = takeRows(all, "row", 1, 3);
  expect(taken.axes.map((a) => a.size)).toEqual([2, 2, 3]);
  expect([...taken.data]).toEqual([3, 4, 5, 6, 7, 8, 15, 16, 17, 18, 19, 20]);
  const into = hostTensor("f32", sizes, new Float32Array(24));
  for (const [from, to] of [
    [0, 1],
    [1, 3],
    [3, 4],
  ] as const)
    putRows(into, "row", from, takeRows(all, "row", from, to).data);
  expect([...into.data]).toEqual([...all.data]);
});

it("sums are rounded once, whatever they are of", () => {
  const floats = new Float32Array(1);
  addUp(floats, [Float32Array.of(2 ** 24), Float32Array.of(1), Float32Array.of(1)]);
  expect(floats[0]).toBe(2 ** 24 + 2); // one after the other in f32 it stays 2^24
  const whole = new Int32Array(1);
  addUp(whole, [Int32Array.of(2 ** 31 - 1), Int32Array.of(2)]);
  expect(whole[0]).toBe(-(2 ** 31) + 1);
});

it.each([8, 10, 12, 16])("updates of several ranges bind no more than %i buffers at once", (maxBindings) => {
  const { inParts } = jobOf("layers, in parts of gradients", 1).step;
  for (const divided of [undefined, "gradients", "weights"] as const)
    for (const first of [0, 1]) {
      const own = { count: 2, own: { first, count: 1 }, largestArena: 128 };
      const shard = (elements: number) => rangesOf(elements, 2)[first]!;
      const { accumulation } = inParts!({ ...own, shard, ...(divided && { divided }) });
      const { bound } = planKernels(accumulation!.update, { ...typicalFacts, maxBindings }, {});
      for (const { bindings } of bound.kernels) expect(bindings.length).toBeLessThanOrEqual(maxBindings);
    }
});

it("sums of gradients are whole one after the other while a step runs, and nothing writes one afterwards", () => {
  const { inParts } = jobOf("layers, in parts of gradients", 1).step;
  const { graph } = inParts!({ count: 2, own: { first: 0, count: 1 }, largestArena: 64 * 32 });
  const program = compileKernels(bindSizes(graph, { batch: 4 }), typicalFacts);
  const names = Object.keys(graph.updates).filter((name) => name.startsWith("gradients"));
  const segments = segmentsOf(program, names);
  expect(segments.flatMap((s) => s.names).sort()).toEqual(names);
  expect(segments.filter((s) => s.names.length > 0).length).toBe(4);
  expect(segments.at(-1)!.to).toBe(program.kernels.length);
  const outputs = new Map(program.graph.outputs.map((o) => [o.name, o.node]));
  for (const { to, names } of segments)
    for (const name of names) {
      const root = rootOf(program, outputs.get(name)!);
      const writes = program.kernels.map(({ kernel, bindings }) =>
        bindings.some((b, k) => b.root === root && kernel.buffers[k]!.access !== "read"),
      );
      expect(writes.lastIndexOf(true)).toBe(to - 1);
    }
});
