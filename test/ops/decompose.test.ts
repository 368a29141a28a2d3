/** What composites decompose into: the stated type in every dtype, and a fault of ours where it is another. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  build,
  type DType,
  decompose,
  differentiate,
  InternalError,
  makeGraph,
  nodesOf,
  type OpCase,
  opRecords,
  ops,
  type TensorType,
} from "../../compiler/index.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess, graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";

/** A record's case with its f32 operands in f16. */
const inHalf = (c: OpCase): OpCase => ({
  ...c,
  operands: c.operands.map((t): TensorType => (t.dtype === "f32" ? { ...t, dtype: "f16" } : t)),
});

const composites = opRecords().flatMap((record) =>
  record.decompose ? record.cases.map((c, i) => ({ name: `${record.name} case ${i + 1}`, record, c: inHalf(c) })) : [],
);

describe("in f16, a decomposition has the stated type and means what the reference says", () => {
  it.each(composites)("$name", ({ record, c }) => {
    const inputs = inputsOf(c);
    const whole = graphOf("whole", inputs, build(record.name, inputs, c.attrs));
    const parts = decompose(whole, () => false);
    expect(parts.outputs[0]!.node.type).toEqual(whole.outputs[0]!.node.type);
    const values = inputMap(operandsOf(record, c, 2));
    const [want, got] = [whole, parts].map((g) => evaluate(g, values).get("y")!.data);
    expect(excess(got!, want!, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
  });
});

it("the gradient of attention in f16 keeps its row statistics in f32", () => {
  const tensor = (name: string, ...axes: [string, number][]) =>
    ops.input(
      name,
      "f16",
      axes.map(([n, size]) => ({ name: n, size })),
    );
  const q = tensor("q", ["query", 3], ["d", 4]);
  const k = tensor("k", ["key", 5], ["d", 4]);
  const v = tensor("v", ["key", 5], ["w", 2]);
  const mixed = ops.attention(q, k, v, { dot: "d", over: "key", scale: 0.5 });
  const wanted = differentiate(ops.cast(ops.reduceSum(mixed, ["query", "w"]), "f32"), [q, k, v]);
  const graph = makeGraph(
    "attend",
    wanted.map((node, i) => ({ name: `d${i}`, node })),
    [q, k, v],
  );
  const parts = decompose(graph, () => false);
  const dtypeOf = (op: string): DType[] => nodesOf(parts).flatMap((n) => (n.op === op ? [n.type.dtype] : []));
  expect(dtypeOf("log")).toEqual(["f32"]);
  const values = inputValues(graph, 3);
  const [want, got] = [evaluate(graph, values), evaluate(parts, values)];
  for (const [name, { data }] of want) expect(excess(got.get(name)!.data, data, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
});

/** Another op with the operands of softmax, under its name, for as long as `body` runs. */
function withDecomposition(change: (x: ReturnType<typeof ops.exp>) => ReturnType<typeof ops.exp>, body: () => void) {
  const record = opRecords().find((r) => r.name === "softmax")! as { decompose: unknown };
  const before = record.decompose;
  record.decompose = ([x]: readonly ReturnType<typeof ops.exp>[]) => change(x!);
  try {
    body();
  } finally {
    record.decompose = before;
  }
}

it.each([
  ["dtype", (x: ReturnType<typeof ops.exp>) => ops.cast(x, "f16")],
  ["shape", (x: ReturnType<typeof ops.exp>) => ops.reduceSum(x, ["a"])],
] as const)("a decomposition of another %s is a fault that names the op", (_, change) => {
  const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
  const graph = makeGraph("g", [{ name: "y", node: ops.softmax(x, "a") }], [x]);
  withDecomposition(change, () => {
    expect(() => decompose(graph, () => false)).toThrow(InternalError);
    expect(() => decompose(graph, () => false)).toThrow(/decompose: softmax is f32\[a=3\]/);
  });
});

it("stays in the module of what it replaces, born where that was", () => {
  const embed = { name: "embed", size: 4 };
  const position = ops.parameter("position", "f32", [embed], { kind: "constant", value: 0 });
  const weight = ops.parameter("block.norm.weight", "f32", [embed], { kind: "constant", value: 1 });
  const bias = ops.parameter("block.norm.bias", "f32", [embed], { kind: "constant", value: 0 });
  const norm = ops.layerNorm(ops.add(ops.input("x", "f32", [embed]), position), weight, bias, ["embed"], 1e-6);
  const { outputs } = decompose(makeGraph("g", [{ name: "y", node: norm }]), () => false);
  const made = nodesOf(makeGraph("made", outputs)).filter((n) => n.op === "reduce_sum");
  expect(made.length).toBeGreaterThan(0);
  for (const { path, birth } of made) expect([path, birth]).toEqual(["block.norm", norm.birth]);
});
