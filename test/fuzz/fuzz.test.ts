/** A slice of `npm run fuzz`: many random graphs interpreted, some on a device, and every graph that once failed. */
import { describe, expect, test } from "vitest";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { type Graph, makeGraph, ops, type Program, printKernel } from "../../compiler/index.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";
import { check, trialsOf } from "./check.ts";
import { devices, type Executor, interpreters } from "./executors.ts";
import { printFinding } from "./finding.ts";
import { faultsOf, found } from "./found.ts";
import { fuzzCase } from "./random-case.ts";
import { recordedExecutors, recordedFor } from "./recorded.ts";
import { runSeed } from "./seeds.ts";
import { shrink } from "./shrink.ts";
import { tileCase } from "./tile-case.ts";
import { disagreement, expected } from "./tolerance.ts";

const graphs = found.map(({ name, graph }) => [name, graph] as const);
const families = ["software", "gpu"] as const;

/** The findings of a range of seeds, as text. */
async function findingsOf(executors: readonly Executor[], from: number, to: number): Promise<string[]> {
  const texts: string[] = [];
  for (let seed = from; seed < to; seed++)
    texts.push(...(await runSeed(seed, executors, 200)).findings.map(printFinding));
  return texts;
}

describe.each(interpreters.filter((e) => !e.open))("kernels on $name", (executor) => {
  test.each(graphs)("%s computes what the reference does", async (_, graph) => {
    expect(await faultsOf(executor, graph)).toEqual([]);
  });
});

test.each(interpreters)("random graphs on $name compute what the reference does", async (executor) => {
  expect(await findingsOf([executor], 0, 150)).toEqual([]);
});

/** Throws what Dawn reports about the WGSL of a program's kernels. */
async function assertValidText({ kernels }: Program): Promise<void> {
  const device = await validatingDevice();
  for (const { kernel } of kernels.flatMap((k) => [...k.special, k])) {
    const module = device.device.createShaderModule({ code: emitWgsl(kernel) });
    const { messages } = await device.settle(module.getCompilationInfo());
    if (messages.length > 0) throw new Error(`${messages[0]!.message} in ${printKernel(kernel)}`);
  }
}

describe("kernels for recorded adapters, in f32 and f16, compute what the reference does, and are valid WGSL", () => {
  test.each([
    ["of products, attention and convolutions", tileCase, 20],
    ["of random graphs", fuzzCase, 50],
  ] as const)("%s", async (_, caseOf, count) => {
    const texts: string[] = [];
    for (let seed = 0; seed < count; seed++) {
      const executors = recordedFor(seed, assertValidText).slice(0, 2);
      texts.push(...(await runSeed(seed, executors, 50, caseOf)).findings.map(printFinding));
    }
    expect(texts).toEqual([]);
  });
});

describe.each(families)("a device with the schedules of a %s adapter", (family) => {
  const own = (list: readonly Executor[]) => list.filter((e) => e.name.includes(family));

  gpuTest.for(graphs)("%s computes what the reference does", async ([, graph], { gpu }) => {
    expect(await faultsOf(own(devices(gpu))[0]!, graph)).toEqual([]);
  });

  gpuTest("random graphs compute what the reference does", async ({ gpu }) => {
    const [from, to] = family === "software" ? [1000, 1008] : [1008, 1016];
    expect(await findingsOf(own(devices(gpu)), from, to)).toEqual([]);
  });
});

/** An interpreter whose results are off by a thousandth where an output is a sine, or computed from one. */
const wrong: Executor = {
  ...interpreters[0]!,
  async prepare(graph) {
    const prepared = await interpreters[0]!.prepare(graph);
    const sine = graph.outputs.some((o) => [o.node, ...o.node.operands].some((n) => n.op === "sin"));
    const off = (values: ArrayLike<number>) => Array.from(values, (v) => (sine ? v * 1.001 : v));
    return {
      ...prepared,
      async run(values, sizes) {
        const run = await prepared.run(values, sizes);
        return { ...run, outputs: new Map([...run.outputs].map(([name, v]) => [name, off(v)])) };
      },
    };
  },
};

test("a small error is found, and shrunk to the op that makes it", async () => {
  const x = ops.input("x", "f32", [{ name: "a", size: 5 }]);
  const y = ops.add(ops.sin(ops.mul(x, 0.5)), ops.mul(x, x));
  const graph = makeGraph("g", [
    { name: "y", node: y },
    { name: "z", node: ops.neg(x) },
  ]);
  const fails = async (g: Graph) => (await check(wrong, g, trialsOf(g, [{}], 3)))?.kind === "disagreement";
  expect(await fails(graph)).toBe(true);
  const small = await shrink(graph, fails, 500);
  expect(small.outputs.map((o) => o.node.op)).toEqual(["sin"]);
  expect(small.outputs[0]!.node.operands[0]!.op).toBe("input");
  expect(small.outputs[0]!.node.type.axes).toEqual([{ name: "a", size: 1 }]);
});

test("an error of a hundredth is found in f16, whose roundings are no errors", async () => {
  const [exact] = recordedExecutors().filter((e) => e.name.endsWith("nvidia-h200, f16"));
  const axes = [
    { name: "row", size: 40 },
    { name: "sum", size: 64 },
  ];
  const [x, w] = [ops.input("x", "f32", axes), ops.input("w", "f32", [{ name: "column", size: 40 }, axes[1]!])];
  const graph = makeGraph("g", [{ name: "y", node: ops.contract(x, w, ["sum"]) }]);
  const off: Executor = {
    ...exact!,
    async prepare(g) {
      const prepared = await exact!.prepare(g);
      const larger = (values: ArrayLike<number>) => Array.from(values, (v) => v * 1.01);
      return {
        ...prepared,
        async run(values, sizes) {
          const run = await prepared.run(values, sizes);
          return { ...run, outputs: new Map([...run.outputs].map(([name, v]) => [name, larger(v)])) };
        },
      };
    },
  };
  expect(await check(exact!, graph, trialsOf(graph, [{}], 3))).toBeUndefined();
  expect((await check(off, graph, trialsOf(graph, [{}], 3)))?.kind).toBe("disagreement");
});

test("a comparison that roundings flip is no disagreement", () => {
  const x = ops.input("x", "f32", []);
  const y = ops.cast(ops.gt(ops.mul(ops.div(x, 3), 3), x), "i32");
  const graph = makeGraph("g", [{ name: "y", node: y }]);
  const want = expected(graph, new Map([["x", Float64Array.of(0.7)]])).get("y")!;
  expect(want.tolerance[0]!).toBeGreaterThan(1);
});

test("nor is one of values that differ in float64 alone", () => {
  const x = ops.input("x", "f32", []);
  const y = ops.cast(ops.ne(ops.sub(ops.sigmoid(x), 0.5), 0), "i32");
  const graph = makeGraph("g", [{ name: "y", node: y }]);
  const want = expected(graph, new Map([["x", Float64Array.of(1e-9)]])).get("y")!;
  expect(want.values[0]).toBe(1);
  expect(want.tolerance[0]!).toBeGreaterThan(1);
});

test("a sum whose terms cancel is granted what their roundings leave", () => {
  const x = ops.input("x", "f32", [{ name: "a", size: 400 }]);
  const graph = makeGraph("g", [{ name: "y", node: ops.reduceSum(ops.concat([ops.neg(x), x], "a"), ["a"]) }]);
  const values = Float64Array.from({ length: 400 }, (_, i) => Math.fround(Math.sin(i)));
  const added = [...values.map((v) => -v), ...values].reduce((sum, v) => Math.fround(sum + v), 0);
  const want = expected(graph, new Map([["x", values]])).get("y")!;
  expect(disagreement([added], want)).toBeUndefined();
  expect(disagreement([0.01], want)).toMatch(/is 0.01, the reference 0/);
});
