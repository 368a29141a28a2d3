/** A slice of what `npm run fuzz` does: many random graphs interpreted, some on a device, and every graph that was wrong once. */
import { describe, expect, test } from "vitest";
import { makeGraph, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { check, expectation } from "./check.ts";
import { devices, type Executor, interpreters } from "./executors.ts";
import { printFinding } from "./finding.ts";
import { faultsOf, found } from "./found.ts";
import { drawInputs } from "./random-case.ts";
import { runSeed } from "./seeds.ts";
import { shrink } from "./shrink.ts";

const graphs = found.map(({ name, graph }) => [name, graph] as const);
const families = ["software", "gpu"] as const;

/** What is found on seeds, as texts. */
async function findingsOf(executors: readonly Executor[], from: number, to: number): Promise<string[]> {
  const texts: string[] = [];
  for (let seed = from; seed < to; seed++)
    texts.push(...(await runSeed(seed, executors, 200)).findings.map(printFinding));
  return texts;
}

describe.each(interpreters)("kernels on $name", (executor) => {
  test.each(graphs)("%s computes what the reference does", async (_, graph) => {
    expect(await faultsOf(executor, graph)).toEqual([]);
  });

  test("random graphs compute what the reference does", async () => {
    expect(await findingsOf([executor], 0, 250)).toEqual([]);
  });
});

describe.each(families)("a device with the schedules of a %s adapter", (family) => {
  const executor = (list: readonly Executor[]): Executor => list[families.indexOf(family)]!;

  gpuTest.for(graphs)("%s computes what the reference does", async ([, graph], { gpu }) => {
    expect(await faultsOf(executor(devices(gpu)), graph)).toEqual([]);
  });

  gpuTest("random graphs compute what the reference does", async ({ gpu }) => {
    const [from, to] = family === "software" ? [1000, 1010] : [1010, 1020];
    expect(await findingsOf([executor(devices(gpu))], from, to)).toEqual([]);
  });
});

/** An interpreter whose sines are off by a thousandth. */
const wrong: Executor = {
  ...interpreters[0]!,
  run: async (graph, values) => {
    const run = await interpreters[0]!.run(graph, values);
    const scale = graph.outputs.some((o) => o.node.op === "sin" || o.node.operands.some((x) => x.op === "sin"));
    return {
      ...run,
      outputs: new Map([...run.outputs].map(([k, v]) => [k, Array.from(v, (x) => (scale ? x * 1.001 : x))])),
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
  const fails = async (g: typeof graph) => {
    const values = drawInputs(g, 3);
    return (await check(wrong, g, values, expectation(g, values)!))?.kind === "disagreement";
  };
  expect(await fails(graph)).toBe(true);
  const small = await shrink(graph, fails, 500);
  expect(small.outputs.map((o) => o.node.op)).toEqual(["sin"]);
  expect(small.outputs[0]!.node.operands[0]!.op).toBe("input");
  expect(small.outputs[0]!.node.type.axes).toEqual([{ name: "a", size: 1 }]);
});

test("a comparison that roundings flip is no disagreement", () => {
  const x = ops.input("x", "f32", []);
  const y = ops.cast(ops.gt(ops.mul(ops.div(x, 3), 3), x), "i32");
  const graph = makeGraph("g", [{ name: "y", node: y }]);
  const want = expectation(graph, new Map([["x", Float64Array.of(0.7)]]))!.get("y")!;
  expect(want.tolerance[0]!).toBeGreaterThan(1);
});
