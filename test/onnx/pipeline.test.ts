/**
 * The pipeline to an ONNX model: every stage is seen, verified and repeatable, whatever the options; and what it leaves
 * alone.
 */
import { describe, expect, it } from "vitest";
import { exportOnnx, onnxStages, settledOptions } from "../../backends/onnx/index.ts";
import {
  beforeAndAfter,
  checkOrder,
  differentiate,
  type Graph,
  inputName,
  isStageFault,
  makeGraph,
  normal,
  ops,
  parseGraph,
  recordingObserver,
  symbol,
} from "../../compiler/index.ts";
import { type Model, trace } from "../../dsl/index.ts";
import type { ChatConfig } from "../../models/index.ts";
import tinyChat from "../cli/tiny-chat.ts";
import { preNormBlock } from "../support/pre-norm-block.ts";

const names = onnxStages(settledOptions()).map((s) => s.name);

const variants = [
  {},
  { opset: 17 },
  { opset: 24, attention: "operator" },
  { dtype: "f16" },
  { dtype: "int8" },
  { dtype: "int8", activations: "int8" },
  { dtype: "int4", opset: 21 },
  { opset: 23, dialect: "onnxruntime", residents: "bound" },
] as const;

function withGradients(graph: Graph): Graph {
  const loss = ops.reduceMean(graph.outputs[0]!.node, ["batch", "token", "embed"]);
  const wanted = graph.inputs.filter((n) => n.op === "parameter");
  const gradients = differentiate(loss, wanted).map((node, i) => ({ name: `d.${inputName(wanted[i]!)}`, node }));
  return makeGraph(graph.name, [...graph.outputs, ...gradients], graph.inputs);
}

const graphs: Readonly<Record<string, () => Graph>> = {
  "a block": preNormBlock,
  "a block with its gradients": () => withGradients(preNormBlock()),
  "a decoder": () => trace(tinyChat as Model<ChatConfig>, {}, { graph: "decode" }),
};

describe("stages", () => {
  it("are the same for all options, in an order that each can work in", () => {
    for (const options of variants) {
      const stages = onnxStages(settledOptions(options));
      expect(stages.map((s) => s.name)).toEqual(names);
      expect(() => checkOrder(stages)).not.toThrow();
    }
    expect(new Set(names).size).toBe(names.length);
  });

  const cases = Object.keys(graphs).flatMap((graph) => variants.map((options) => ({ graph, options })));
  it.each(cases)("of $graph are all seen, and change nothing when they run again: $options", ({ graph, options }) => {
    const recording = recordingObserver();
    const { model } = exportOnnx(graphs[graph]!(), { ...options, observers: [recording], check: "all" });
    expect(recording.reports.map((r) => r.stage)).toEqual(names);
    for (const report of recording.reports) {
      expect(beforeAndAfter(report)).toContain(report.stage);
      expect(report.to.print(report.after).length).toBeGreaterThan(50);
    }
    expect(recording.reports.at(-1)!.to.size(recording.reports.at(-1)!.after)).toBe(
      `${model.graph!.node!.length} nodes`,
    );
  });

  it("hand on what they do not change, so that an observer can tell", () => {
    const recording = recordingObserver();
    exportOnnx(preNormBlock(), { observers: [recording] });
    const changed = recording.reports.filter((r) => r.changed).map((r) => r.stage);
    expect(changed).toEqual([
      "softmax-attention",
      "decompose",
      "plan-export",
      "emit",
      "place-inputs",
      "name-outputs",
      "assemble",
    ]);
  });

  it("do not change what they were given: before still prints as it was", () => {
    const texts: string[] = [];
    const recording = recordingObserver();
    const eager = { onStage: (r: (typeof recording.reports)[number]) => void texts.push(r.from.print(r.before)) };
    exportOnnx(withGradients(preNormBlock()), { dtype: "int8", observers: [eager, recording] });
    expect(recording.reports.map((r) => r.from.print(r.before))).toEqual(texts);
  });
});

it("rotary frequencies are a table in the file, not computed at every token", () => {
  const { model } = exportOnnx(graphs["a decoder"]!());
  const constants = new Set(model.graph!.initializer!.map((t) => t.name));
  const computed = model.graph!.node!.filter((n) => n.input!.every((i) => constants.has(i)));
  expect(computed).toEqual([]);
  expect(model.graph!.node!.map((n) => n.opType)).not.toContain("Exp");
});

describe("the common passes on an export", () => {
  it("join what a runtime would do twice", () => {
    const graph = parseGraph(`graph @g(%x: f32[batch=batch, row=9]) {
  %0 = slice %x axis row start 1 length 7
  %1 = slice %0 axis row start 2 length 4
  return %1 as y
}`);
    expect(exportOnnx(graph).model.graph!.node!.map((n) => n.opType)).toEqual(["Slice"]);
  });

  it("find attention that is spelled out, and say it as asked", () => {
    const graph =
      parseGraph(`graph @g(%q: f32[batch=2, heads=2, row=5, d=4], %k: f32[batch=2, heads=2, key=5, d=4], %v: f32[batch=2, heads=2, key=5, d=4]) {
  %0 = contract %q, %k over [d]
  %1 = softmax %0 axis key
  %2 = contract %1, %v over [key]
  return %2 as y
}`);
    const types = (attention: "operator" | "primitives") =>
      exportOnnx(graph, { opset: 23, attention }).model.graph!.node!.map((n) => n.opType);
    expect(types("operator")).toContain("Attention");
    expect(types("operator")).not.toContain("Softmax");
    expect(types("primitives")).toContain("Softmax");
    expect(types("primitives")).not.toContain("Attention");
  });

  it("leave a parameter a tensor of its own, under its name, whatever constants are about it", () => {
    const w = ops.parameter("layer.weight", "f32", [{ name: "a", size: 3 }], normal(1));
    const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
    const y = ops.add(x, ops.mul(ops.mul(ops.neg(w), 2), 3));
    const { stored, model } = exportOnnx(makeGraph("g", [{ name: "y", node: y }], [x]));
    expect(stored.flatMap((t) => t.parts.map((p) => p.name))).toEqual(["layer.weight"]);
    expect(model.graph!.input!.map((i) => i.name)).toEqual(["x"]);
  });

  it("leave every input that a run is fed, states and random numbers without a reader too; weights without one are not stored", () => {
    const a = { name: "a", size: 3 };
    const x = ops.input("x", "f32", [a]);
    const unread = [
      ops.input("spare", "f32", [a]),
      ops.state("kept", "f32", [a]),
      ops.state("open", "f32", [{ name: "a", size: symbol("n") }]),
      ops.random("drop", [a], { kind: "bernoulli", p: 0.9 }),
      ops.parameter("w", "f32", [a], normal(1)),
    ];
    const { model, stored } = exportOnnx(makeGraph("g", [{ name: "y", node: ops.neg(x) }], [x, ...unread]));
    expect(model.graph!.input!.map((i) => i.name)).toEqual(["x", "spare", "kept", "open", "drop"]);
    expect(stored).toEqual([]);
  });
});

describe("a fault in a stage", () => {
  it("names the stage and holds what it was given", () => {
    const dim = { name: "a", size: 3 };
    const x = ops.input("x", "f32", [dim]);
    const odd = { ...ops.neg(x), type: { dtype: "i32" as const, axes: [dim] } };
    let fault: unknown;
    try {
      exportOnnx(makeGraph("g", [{ name: "y", node: odd }], [x]));
    } catch (error) {
      fault = error;
    }
    expect(isStageFault(fault) && fault.stage).toBe(names[0]);
    expect(isStageFault(fault) && fault.before).toContain("graph @g(");
  });
});
