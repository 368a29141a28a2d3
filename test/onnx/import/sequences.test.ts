/** Sequences of tensors are resolved while a file is read: beside onnxruntime, and what is refused of them. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { decodeModel, encodeModel, type GraphProto } from "../../../backends/onnx/wire/proto.ts";
import { computedTwice } from "./in-onnxruntime.ts";
import { type Dims, file, info, type NodeSpec, whole } from "./small-file.ts";

const numbers = [
  ...[-1, 0, 1, 2, 3].map((v) => ({ ...whole(v < 0 ? "last" : `${v}`, [v]), dims: [] })),
  whole("lengths", [1, 4, 2]),
];

/** A file of x [7, 3], and the graph of an attribute `body` of its last node. */
function sequenceFile(nodes: readonly NodeSpec[], y: Dims, body?: GraphProto): Uint8Array {
  const model = decodeModel(file({ x: [7, 3] }, numbers, nodes, { y }));
  if (body) {
    const user = model.graph!.node!.find((n) => n.opType === "SequenceMap" || n.opType === "Loop")!;
    user.attribute = [{ name: "body", type: 5, g: body } as never];
  }
  return encodeModel(model);
}

const listInfo = (name: string) => ({
  name,
  type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } },
});

/** The graph of a subgraph, by its nodes. */
const bodyOf = (nodes: readonly NodeSpec[], inputs: readonly object[], outputs: readonly object[]): GraphProto =>
  ({
    ...decodeModel(file({}, [], nodes, {})).graph!,
    name: "body",
    input: inputs,
    output: outputs,
  }) as GraphProto;

const cases: Readonly<Record<string, readonly [nodes: readonly NodeSpec[], y: Dims, body?: GraphProto]>> = {
  "parts of a length, the last shorter, counted from the end": [
    [
      ["SplitToSequence", ["x", "2"], "parts", { axis: 0 }],
      ["SequenceAt", ["parts", "last"], "y"],
    ],
    [1, 3],
  ],
  "parts of given lengths": [
    [
      ["SplitToSequence", ["x", "lengths"], "parts", { axis: 0 }],
      ["SequenceAt", ["parts", "1"], "y"],
    ],
    [4, 3],
  ],
  "elements without the dimension, stacked along a new one": [
    [
      ["SplitToSequence", ["x"], "parts", { axis: -1, keepdims: 0 }],
      ["ConcatFromSequence", ["parts"], "y", { axis: 0, new_axis: 1 }],
    ],
    [3, 7],
  ],
  "what is inserted and erased": [
    [
      ["Neg", ["x"], "a"],
      ["Abs", ["x"], "b"],
      ["Exp", ["x"], "c"],
      ["SequenceConstruct", ["a", "b", "c"], "list"],
      ["SequenceErase", ["list", "0"], "fewer"],
      ["SequenceInsert", ["fewer", "x", "last"], "more"],
      ["SequenceInsert", ["more", "a"], "most"],
      ["Identity", ["most"], "same"],
      ["ConcatFromSequence", ["same"], "y", { axis: 1 }],
    ],
    [7, 12],
  ],
  "a length": [
    [
      ["SplitToSequence", ["x", "3"], "parts", { axis: 0 }],
      ["SequenceLength", ["parts"], "length"],
      ["Cast", ["length"], "factor", { to: 1 }],
      ["Mul", ["x", "factor"], "y"],
    ],
    [7, 3],
  ],
  "a list that a loop appends to": [
    [
      ["SequenceEmpty", [], "none"],
      ["Loop", ["3", "", "none"], "list"],
      ["ConcatFromSequence", ["list"], "y", { axis: 0 }],
    ],
    [21, 3],
    bodyOf(
      [
        ["Cast", ["round"], "factor", { to: 1 }],
        ["Mul", ["x", "factor"], "part"],
        ["SequenceInsert", ["before", "part"], "after"],
        ["Identity", ["go"], "on"],
      ],
      [info("round", [], 7), info("go", [], 9), listInfo("before")],
      [info("on", [], 9), listInfo("after")],
    ),
  ],
  "a body applied to each, with a tensor that is the same for all": [
    [
      ["SplitToSequence", ["x", "2"], "parts", { axis: 0 }],
      ["ReduceSum", ["x"], "total", { keepdims: 0 }],
      ["SequenceMap", ["parts", "total"], "list"],
      ["ConcatFromSequence", ["list"], "y", { axis: 0 }],
    ],
    [7, 3],
    bodyOf([["Add", ["part", "sum"], "moved"]], [info("part", ["n", 3]), info("sum", [])], [info("moved", ["n", 3])]),
  ],
};

describe("a sequence", () => {
  it.each(Object.entries(cases))("%s", async (_, [nodes, dims, body]) => {
    const values = Array.from({ length: 21 }, (_, i) => Math.sin(i + 1));
    const fed = { x: { type: "float32", dims: [7, 3], values } } as const;
    const [y] = await computedTwice(sequenceFile(nodes, dims, body), fed);
    expect(y!.axes.map((a) => a.size)).toEqual(dims);
    y!.want.forEach((v, i) => {
      expect(y!.made[i]).toBeCloseTo(v, 5);
    });
  });

  it.each<[why: string, nodes: readonly NodeSpec[]]>([
    [
      'node "Neg/y" (Neg): input 0 is a sequence; expected a tensor',
      [
        ["SequenceConstruct", ["x"], "list"],
        ["Neg", ["list"], "y"],
      ],
    ],
    ["(SequenceAt): input 0 is a tensor; expected a sequence", [["SequenceAt", ["x", "0"], "y"]]],
    [
      "(SequenceAt): position 3 is out of range for 1",
      [
        ["SequenceConstruct", ["x"], "list"],
        ["SequenceAt", ["list", "3"], "y"],
      ],
    ],
    [
      'the output "y" is a sequence of 2 tensors; only tensors can be outputs',
      [["SequenceConstruct", ["x", "x"], "y"]],
    ],
    [
      "(ConcatFromSequence): the sequence has no tensors",
      [
        ["SequenceEmpty", [], "none"],
        ["ConcatFromSequence", ["none"], "y", { axis: 0 }],
      ],
    ],
    [
      "(SplitToSequence): parts of 1, 4, 2 do not add up to 3 elements",
      [
        ["SplitToSequence", ["x", "lengths"], "list", { axis: 1 }],
        ["SequenceAt", ["list", "0"], "y"],
      ],
    ],
  ])("%s", async (why, nodes) => {
    await expect(importOnnx(sequenceFile(nodes, [7, 3]))).rejects.toThrow(why);
  });
});
