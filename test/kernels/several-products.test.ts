/**
 * Products of the same few rows: one kernel reads all their matrices, and what joins their results is computed in it.
 */
import { describe, expect, it } from "vitest";
import { compileKernels, type Graph, kernelIr, type lowering, makeGraph, ops } from "../../compiler/index.ts";
import { runProgram } from "../../compiler/pipelines/run-program.ts";
import { adapters } from "./support.ts";

const { recordedAdapters } = kernelIr;
const all: Readonly<Record<string, lowering.AdapterFacts>> = {
  ...adapters,
  h200: { ...adapters.gpu!, ...recordedAdapters["nvidia-h200"].facts },
};

interface Sizes {
  readonly rows: number;
  readonly depth: number;
  readonly results: number;
}

/** silu(x · gate) · (x · up), and a third product by itself. */
function gated({ rows, depth, results }: Sizes, dtype: "f32" | "f16"): Graph {
  const [row, deep, result] = [
    { name: "row", size: rows },
    { name: "deep", size: depth },
    { name: "result", size: results },
  ];
  const x = ops.input("x", "f32", [row, deep]);
  const matrix = (name: string) => ops.cast(ops.input(name, dtype, [result, deep]), "f32");
  const product = (name: string) => ops.contract(x, matrix(name), ["deep"]);
  const y = ops.mul(ops.silu(product("gate")), product("up"));
  return makeGraph("gated", [
    { name: "y", node: y },
    { name: "z", node: ops.add(product("third"), 1) },
  ]);
}

const drawn = (length: number, seed: number) =>
  Array.from({ length }, (_, i) => Math.f16round(Math.sin(i * 12.9898 + seed) * 1.5));

const product = (x: readonly number[], w: readonly number[], { rows, depth, results }: Sizes): number[] =>
  Array.from({ length: rows * results }, (_, at) => {
    const [r, c] = [Math.floor(at / results), at % results];
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += x[r * depth + k]! * w[c * depth + k]!;
    return sum;
  });

describe.each(Object.keys(all))("products of the same few rows, on a %s adapter", (adapter) => {
  const facts = all[adapter]!;

  it.each([
    [{ rows: 1, depth: 256, results: 64 }, "f16"],
    [{ rows: 1, depth: 131, results: 13 }, "f32"],
    [{ rows: 5, depth: 136, results: 67 }, "f16"],
    [{ rows: 8, depth: 1056, results: 9 }, "f32"],
  ] as const)("%o in %s are one kernel", (sizes, dtype) => {
    const program = compileKernels(gated(sizes, dtype), facts);
    expect(program.kernels.map((k) => k.kind)).toEqual(["contraction"]);
    const { rows, depth, results } = sizes;
    const x = drawn(rows * depth, 1);
    const [gate, up, third] = [2, 3, 4].map((seed) => drawn(results * depth, seed)) as [number[], number[], number[]];
    const inputs = new Map(Object.entries({ x, gate, up, third }));
    const { outputs } = runProgram(program, inputs);
    const [g, u, t] = [gate, up, third].map((w) => product(x, w, sizes)) as [number[], number[], number[]];
    const close = (made: ArrayLike<number>, want: readonly number[]) => {
      expect(made).toHaveLength(want.length);
      for (const [i, w] of want.entries()) expect(Math.abs(made[i]! - w)).toBeLessThan(1e-3 * (1 + Math.abs(w)));
    };
    close(
      outputs.get("y")!,
      g.map((v, i) => (v / (1 + Math.exp(-v))) * u[i]!),
    );
    close(
      outputs.get("z")!,
      t.map((v) => v + 1),
    );
  });

  it("stay apart where rows are many", () => {
    const program = compileKernels(gated({ rows: 9, depth: 64, results: 64 }, "f32"), facts);
    expect(program.kernels.filter((k) => k.kind === "contraction").length).toBe(3);
  });
});

it("takes few-rows on hardware, each matrix read once", () => {
  const [kernel] = compileKernels(gated({ rows: 1, depth: 4096, results: 1024 }, "f16"), all.h200!).kernels;
  expect(kernel!.schedule).toBe("few-rows");
  expect(kernel!.bytesRead).toBe(3 * 4096 * 1024 * 2 + 4096 * 4);
});
