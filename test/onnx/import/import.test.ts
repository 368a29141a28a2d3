/** Imported graphs: names of axes, operators that are missing, chosen outputs, constants, and names that are twice. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { inputName, printGraph } from "../../../compiler/index.ts";
import { file, floats, whole } from "./small-file.ts";

/** Attention of two heads as exporters write it: shapes are computed from that of the input. */
const attention = file(
  { x: ["batch", "token", 8], mask: ["batch", "token"] },
  [
    floats("layer.q", [8, 8]),
    floats("layer.k", [8, 8]),
    whole("zero", [0]),
    whole("one", [1]),
    whole("heads", [2, 4]),
    whole("after", [1, 2]),
  ],
  [
    ["Shape", ["x"], "shape"],
    ["Gather", ["shape", "zero"], "rows"],
    ["Gather", ["shape", "one"], "tokens"],
    ["Concat", ["rows", "tokens", "heads"], "split", { axis: 0 }],
    ["MatMul", ["x", "layer.q"], "q0"],
    ["Reshape", ["q0", "split"], "q1"],
    ["Transpose", ["q1"], "q", { perm: [0, 2, 1, 3] }],
    ["MatMul", ["x", "layer.k"], "k0"],
    ["Reshape", ["k0", "split"], "k1"],
    ["Transpose", ["k1"], "k", { perm: [0, 2, 3, 1] }],
    ["MatMul", ["q", "k"], "logits"],
    ["Unsqueeze", ["mask", "after"], "wide"],
    ["Add", ["logits", "wide"], "masked"],
    ["Softmax", ["masked"], "weights", { axis: -1 }],
  ],
  { weights: ["batch", 2, "token", "token"] },
);

describe("an imported graph", () => {
  it("has axes with names, the second role of an axis under another one, and shapes that are sizes", async () => {
    const { graph, notes } = await importOnnx(attention);
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "graph @small(%x: f32[batch=batch, token=token, x_dim2=8], %mask: f32[batch=batch, token=token]) {
        %layer.q = parameter "layer.q" init normal(mean=0, std=0.02) : f32[x_dim2=8, x_dim2_2=8]
        %0 = contract %x, %layer.q over [x_dim2]                     : f32[batch=batch, token=token, x_dim2_2=8]
        %1 = split %0 axis x_dim2_2 into [x_dim2_of_0=2, x_dim2_of_1=4] : f32[batch=batch, token=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %layer.k = parameter "layer.k" init normal(mean=0, std=0.02) : f32[x_dim2=8, x_dim2_2=8]
        %2 = contract %x, %layer.k over [x_dim2]                     : f32[batch=batch, token=token, x_dim2_2=8]
        %3 = split %2 axis x_dim2_2 into [x_dim2_of_0=2, x_dim2_of_1=4] : f32[batch=batch, token=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %4 = rename %3 axis token to token_2                         : f32[batch=batch, token_2=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %5 = contract %1, %4 over [x_dim2_of_1]                      : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %6 = rename %mask axis token to token_2                      : f32[batch=batch, token_2=token]
        %7 = add %5, %6                                              : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %8 = softmax %7 axis token_2                                 : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %9 = transpose %8 order [batch, x_dim2_of_0, token, token_2] : f32[batch=batch, x_dim2_of_0=2, token=token, token_2=token]
        return %9 as weights
      }
      "
    `);
    expect(notes).toEqual(['the file has no names for the axes x_dim2 of the input "x"']);
  });

  it("names every operator that is not there, with the nodes that have it, all at once", async () => {
    const bytes = file(
      { x: [2, 3] },
      [],
      [
        ["NonZero", ["x"], "a"],
        ["Abs", ["x"], "b"],
        ["NonZero", ["b"], "c"],
        ["FutureOp", ["a", "c"], "d"],
      ],
      { d: [2] },
    );
    await expect(importOnnx(bytes)).rejects.toThrowErrorMatchingInlineSnapshot(`
      [UnsupportedError: heddle cannot import 2 of the model's operators:
        NonZero: NonZero/a, NonZero/c
        FutureOp: FutureOp/d
        how many elements NonZero returns depends on the data; a graph's sizes are known before it runs
        hint: the part before them can be imported: name its last values as outputs (--outputs, or the option outputs); those that the rest reads are b]
    `);
  });

  it("imports the values that a user names, without operators that only the others need", async () => {
    const bytes = file(
      { x: [2, 3], limit: [1] },
      [floats("w", [3, 4])],
      [
        ["MatMul", ["x", "w"], "/head/scores"],
        ["NonMaxSuppression", ["/head/scores", "limit"], "kept"],
        ["NonZero", ["x"], "unused"],
      ],
      { kept: ["n", 3] },
    );
    const { graph } = await importOnnx(bytes, { outputs: ["/head/scores", "x"] });
    expect(graph.inputs.map(inputName)).toEqual(["x", "w"]);
    expect(graph.outputs.map((o) => o.name)).toEqual(["/head/scores", "x"]);
    await expect(importOnnx(bytes)).rejects.toThrow(/1 of the model's operators:\n {2}NonMaxSuppression/);
    await expect(importOnnx(bytes, { outputs: ["/head/score", "x", "x"] })).rejects.toThrowErrorMatchingInlineSnapshot(`
      [UsageError: the file has no value "/head/score"; did you mean "/head/scores"?
      the output "x" is named twice
        hint: any output of a node can be one; the file's own are kept]
    `);
    await expect(importOnnx(bytes, { outputs: [] })).rejects.toThrow("a list of at least one name");
  });

  it("leaves out an assignment to no elements, as a roll by 0 writes it", async () => {
    const bytes = file(
      { x: [2, 3] },
      [whole("begin", [2]), whole("end", [2]), whole("none", [0, 2]), floats("one", [1])],
      [
        ["Slice", ["x", "begin", "end"], "rows"],
        ["Add", ["rows", "one"], "updates"],
        ["Shape", ["updates"], "shape"],
        ["Expand", ["one", "shape"], "ones"],
        ["ConstantOfShape", ["none"], "index"],
        ["Cast", ["index"], "places", { to: 7 }],
        ["ScatterND", ["x", "places", "ones"], "y"],
      ],
      { y: [2, 3] },
    );
    const { graph } = await importOnnx(bytes);
    expect(printGraph(graph)).toMatch(/^ {2}return %x$/m);
  });
});

it("takes constants of as many elements as the file says", async () => {
  const bytes = file({ x: [2, 6], s: [2] }, [], [["Add", ["x", "s"], "y"]], { y: [2, 6] });
  await expect(importOnnx(bytes, { constants: { s: [3, 2, 2] } })).rejects.toThrow(
    'the input "s" is [2], but its constant has 3 elements',
  );
  await expect(importOnnx(bytes, { constants: { ss: [3, 2] } })).rejects.toThrow(
    /no input "ss"; did you mean "s"[\s\S]*only inputs of the file can be constants: x/,
  );
  await expect(importOnnx(bytes, { constant: { s: [3, 2] } } as never)).rejects.toThrow('did you mean "constants"?');
  await expect(importOnnx(bytes, null as never)).rejects.toThrow("the options of importOnnx must be an object");
  await expect(importOnnx("model.onnx" as never)).rejects.toThrow("as its bytes");
});

describe("two values of one name", () => {
  const w = floats("w", [5, 7]);
  it.each<[string, Uint8Array]>([
    ["w", file({ x: [2, 5] }, [w, w], [["MatMul", ["x", "w"], "y"]], { y: [2, 7] })],
    [
      "t",
      file(
        { x: [2, 5] },
        [],
        [
          ["Relu", ["x"], "t"],
          ["Neg", ["x"], "t"],
        ],
        { t: [2, 5] },
      ),
    ],
    ["x", file({ x: [2, 5] }, [], [["Relu", ["x"], "x"]], { x: [2, 5] })],
  ])("%s are refused", async (name, bytes) => {
    await expect(importOnnx(bytes)).rejects.toThrow(`two values of the model are named "${name}"`);
  });
});
