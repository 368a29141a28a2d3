/**
 * Tensors larger than kernels or a device reach: one error that names the tensor and the limit, before anything is
 * made.
 */
import { describe, expect, test } from "vitest";
import { bundleOf } from "../../backends/webgpu/bundle/bundle.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { compileKernels, makeGraph, type Node, ops, UnsupportedError } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";

const axis = (name: string, size: number) => ({ name, size });
const graphOf = (node: Node) => makeGraph("g", [{ name: "y", node }]);
const large = () => ops.input("x", "f32", [axis("a", 40000), axis("b", 40000)]);

/** Graphs with a tensor of 1.6e9 elements that a kernel reads or writes, and how the error names it. */
const tooLarge: readonly (readonly [string, () => Node, RegExp])[] = [
  ["an input", () => ops.add(large(), 1), /"x" \(f32\[a=40000, b=40000\]\)/],
  [
    "a parameter",
    () => ops.reduceSum(ops.parameter("w", "f32", large().type.axes, { kind: "constant", value: 1 }), ["b"]),
    /"w" \(f32\[a=40000, b=40000\]\)/,
  ],
  [
    "a result",
    () =>
      ops.contract(
        ops.input("l", "f32", [axis("a", 40000), axis("k", 8)]),
        ops.input("r", "f32", [axis("b", 40000), axis("k", 8)]),
        ["k"],
      ),
    /the result of contract \(f32\[a=40000, b=40000\]\)/,
  ],
];

describe("6.4 GB in one binding", () => {
  test.each(tooLarge)("%s is refused in a bundle", (_, make, name) => {
    const graph = graphOf(make());
    const bundle = () => bundleOf(graph, compileKernels(graph));
    expect(bundle).toThrow(UnsupportedError);
    expect(bundle).toThrow(name);
    expect(bundle).toThrow(/6400000000 bytes .* at most 4294967295/);
  });

  gpuTest.for(tooLarge)("%s is refused by the backend", async ([, make, name], { gpu }) => {
    const compile = webgpuBackend(gpu).compile(graphOf(make()));
    await expect(compile).rejects.toThrow(UnsupportedError);
    await expect(compile).rejects.toThrow(name);
  });
});

test("more elements than an i32 counts are refused when they are compiled", () => {
  const huge = ops.input("x", "f32", [axis("a", 60000), axis("b", 60000)]);
  expect(() => compileKernels(graphOf(ops.reduceSum(huge, ["b"])))).toThrow(/3600000000 elements of "x"/);
  const x = ops.input("x", "f32", [axis("a", 60000)]);
  const y = ops.input("y", "f32", [axis("b", 60000)]);
  const sum = ops.reduceSum(ops.cast(ops.gt(x, y), "i32"), ["a", "b"]);
  expect(() => compileKernels(graphOf(sum))).not.toThrow(); // taken apart into sums that are counted one by one
  const wide = ops.argmax(ops.merge(ops.add(x, y), ["a", "b"], "c"), "c");
  expect(() => compileKernels(graphOf(wide))).toThrow(
    /the result of argmax \(i32\[\]\) is made from 3600000000 elements.*2147483647/s,
  );
});

gpuTest("a binding that WGSL could have and the adapter has not is refused by name", async ({ gpu }) => {
  const elements = gpu.limits.maxStorageBufferBindingSize / 4 + 1;
  if (elements * 4 > 2 ** 32 - 1) return;
  const x = ops.input("x", "f32", [axis("a", elements)]);
  const compile = webgpuBackend(gpu).compile(graphOf(ops.reduceSum(ops.mul(x, x), ["a"])));
  await expect(compile).rejects.toThrow(UnsupportedError);
  await expect(compile).rejects.toThrow(/"x" \(f32\[a=\d+\]\).*binds at most \d+/s);
});
