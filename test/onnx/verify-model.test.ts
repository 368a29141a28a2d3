/** The verifier of ONNX models on their way, broken once for each thing that it checks. */
import { describe, expect, it } from "vitest";
import { planExport } from "../../backends/onnx/emit/plan-export.ts";
import { type ExportPlan, planForm } from "../../backends/onnx/forms/plan.ts";
import { verifyModel } from "../../backends/onnx/forms/verify.ts";
import { exportOnnx } from "../../backends/onnx/index.ts";
import { settledOptions } from "../../backends/onnx/options.ts";
import type { GraphProto, ModelProto, NodeProto } from "../../backends/onnx/wire/proto.ts";
import { makeGraph, ops } from "../../compiler/index.ts";

const axis = { name: "a", size: 3 };
const x = ops.input("x", "f32", [axis]);
const graph = makeGraph("g", [{ name: "y", node: ops.exp(ops.neg(x)) }], [x]);
const model = exportOnnx(graph).model;

const changed = (change: (g: Required<GraphProto>) => GraphProto): ModelProto => ({
  ...model,
  graph: { ...model.graph, ...change(model.graph as Required<GraphProto>) },
});
const nodes = (change: (list: NodeProto[]) => NodeProto[]) => changed((g) => ({ node: change(g.node!) }));
const first = (change: NodeProto) => nodes(([n, ...rest]) => [{ ...n, ...change }, ...rest]);

describe("a model is refused", () => {
  it.each([
    {
      what: "a name nobody defines",
      bad: first({ input: ["nowhere"] }),
      says: 'reads "nowhere", which is not defined',
    },
    {
      what: "a use before its definition",
      bad: nodes((l) => [...l].reverse()),
      says: "which is not defined before it",
    },
    { what: "two nodes of one result", bad: nodes((l) => [l[0]!, ...l]), says: 'two values are named "neg"' },
    { what: "a result named as an input", bad: first({ output: ["x"] }), says: 'two values are named "x"' },
    { what: "a result without a name", bad: first({ output: [""] }), says: 'node "neg" (Neg) has no name' },
    { what: "an output that nothing makes", bad: nodes((l) => l.slice(0, -1)), says: 'nothing makes the output "y"' },
    {
      what: "an output twice",
      bad: changed((g) => ({ output: [...g.output!, ...g.output!] })),
      says: 'are the value "y"',
    },
    {
      what: "an input of an unknown type",
      bad: changed((g) => ({ input: [{ ...g.input![0], type: { tensorType: { elemType: 99 } } }] })),
      says: 'the type of "x" is unknown',
    },
    {
      what: "an initializer of an unknown type",
      bad: changed(() => ({ initializer: [{ name: "constant", dims: [], dataType: 0 }] })),
      says: 'the type of "constant" is unknown',
    },
    {
      what: "an operator of a domain not imported",
      bad: first({ domain: "com.example" }),
      says: 'domain "com.example"',
    },
  ])("for $what", ({ bad, says }) => {
    expect(() => verifyModel(model, "test")).not.toThrow();
    expect(() => verifyModel(bad, "test")).toThrow('after stage "test": ');
    expect(() => verifyModel(bad, "test")).toThrow(says);
  });
});

describe("a plan is refused", () => {
  const plan = planExport(graph, settledOptions());
  const y = graph.outputs[0]!.node;
  it.each([
    {
      what: "an input from nowhere",
      bad: { ...plan, kinds: new Map() },
      says: 'nobody says where the input "x" comes',
    },
    {
      what: "a layout of a node that is not there",
      bad: { ...plan, wishes: new Map([[ops.neg(y), { order: ["a"] }]]) },
      says: "which the graph lacks",
    },
    {
      what: "a layout with an axis twice",
      bad: { ...plan, wishes: new Map([[y, { order: ["a", "a"] }]]) },
      says: 'has the axis "a" wrong',
    },
    { what: "an output without a name", bad: { ...plan, outputs: {} }, says: 'the output "y" has no name in the file' },
    {
      what: "two outputs of one name",
      bad: {
        ...plan,
        graph: makeGraph("g", [...graph.outputs, { name: "z", node: x }], [x]),
        outputs: { y: "y", z: "y" },
      },
      says: "two outputs are named alike: y, y",
    },
  ] as readonly { what: string; bad: ExportPlan; says: string }[])("for $what", ({ bad, says }) => {
    expect(() => planForm.verify(plan, "test")).not.toThrow();
    expect(() => planForm.verify(bad, "test")).toThrow(says);
  });
});
