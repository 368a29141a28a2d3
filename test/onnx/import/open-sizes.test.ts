/** Symbolic sizes of a file: which stay open, which must be numbers, and which are one. */
import { expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { evaluate, referenceBackend } from "../../../backends/reference/index.ts";
import { bindSizes, hostTensor, nodesOf } from "../../../compiler/index.ts";
import { file, floats, type NodeSpec, whole } from "./small-file.ts";

it("says which size must be a number, and takes it as one", async () => {
  const bytes = file(
    { x: [1, 3, "height", 8] },
    [floats("w", [4, 3, 3, 3])],
    [["Conv", ["x", "w"], "y", { strides: [2, 2], pads: [1, 1, 1, 1] }]],
    { y: [1, 4, "h", "w"] },
  );
  await expect(importOnnx(bytes)).rejects.toThrow(
    'node "Conv/y" (Conv): a side of the map is height, which the stride 2 may not divide: set height when importing, as in height=640 (--size height=640, or --set height=640 for a command that takes the file itself, or sizes: { height: 640 } in a program); or leave it open as a multiple that all strides divide, as in height=32*n',
  );
  // A size that is computed is given by those that it is computed from.
  const nodes: NodeSpec[] = [
    ["Concat", ["x", "x"], "xx", { axis: 2 }],
    ["Resize", ["xx", "", "scales"], "y"],
  ];
  const larger = file({ x: [1, 3, "height", 8] }, [floats("scales", [4], [1, 1, 1.5, 2])], nodes, {
    y: [1, 3, "h", 16],
  });
  await expect(importOnnx(larger)).rejects.toThrow(/"Resize\/y" \(Resize\): a side of .*height.*: set height when/);
  const misspelt = importOnnx(bytes, { sizes: { heigth: 10 } });
  await expect(misspelt).rejects.toThrow(
    'the file has no symbolic size "heigth"; did you mean "height"? It has height.',
  );
  const { graph } = await importOnnx(bytes, { sizes: { height: 10 } });
  expect(graph.outputs[0]!.node.type.axes.map((a) => a.size)).toEqual([1, 4, 5, 4]);
});

it("leaves a batch open that a resize keeps and a tile repeats", async () => {
  const nodes: NodeSpec[] = [
    ["Shape", ["x"], "shape"],
    ["Slice", ["shape", "zero", "one"], "batch"],
    ["Concat", ["batch", "sides"], "sizes", { axis: 0 }],
    ["Resize", ["x", "", "", "sizes"], "larger"],
    ["Concat", ["batch", "ones"], "repeats", { axis: 0 }],
    ["Tile", ["places", "repeats"], "tiled"],
    ["Add", ["larger", "tiled"], "y"],
  ];
  const constants = [whole("zero", [0]), whole("one", [1]), whole("sides", [1, 4, 2]), whole("ones", [1, 1, 1])];
  const bytes = file({ x: ["n", 1, 2, 2] }, [...constants, floats("places", [1, 1, 4, 2])], nodes, {
    y: ["n", 1, 4, 2],
  });
  const { graph, parameters } = await importOnnx(bytes);
  expect(String(graph.outputs[0]!.node.type.axes[0]!.size)).toBe("n");
  const axes = graph.inputs[0]!.type.axes.map(({ name }, i) => ({ name, size: [3, 1, 2, 2][i]! }));
  const x = hostTensor(
    "f32",
    axes,
    Float32Array.from({ length: 12 }, (_, i) => i),
  );
  const reference = referenceBackend();
  const store = reference.createStore();
  for (const [name, { read }] of parameters) await store.write(name, await read());
  const { y } = await (await reference.compile(graph)).run({ x }, store);
  // Row r of sample b is row floor(r / 2) of x, and place (r, c) adds c / 8 + r / 4 - 0.3.
  const want = Array.from({ length: 24 }, (_, i) => {
    const [b, r, c] = [Math.floor(i / 8), Math.floor((i % 8) / 2), i % 2];
    return b * 4 + Math.floor(r / 2) * 2 + c + c / 8 + r / 4 - 0.3;
  });
  want.forEach((v, i) => {
    expect(y!.data[i]).toBeCloseTo(v, 5);
  });
  // A side resized to the batch's size has no table of positions, whatever the batch is.
  const toBatch = file(
    { x: ["n", 1, 2, 2] },
    [...constants, whole("most", [1, 1, 2])],
    [
      nodes[0]!,
      nodes[1]!,
      ["Concat", ["most", "batch"], "sizes", { axis: 0 }],
      ["Resize", ["x", "", "", "sizes"], "y"],
    ],
    { y: [1, 1, 2, "n"] },
  );
  await expect(importOnnx(toBatch)).rejects.toThrow(/resized.*: set n when importing/);
});

it("leaves out an empty part of a concatenation beside open sizes, as Phi-3's rotary embedding has it", async () => {
  const nodes: NodeSpec[] = [
    ["Slice", ["x", "four", "most", "one"], "rest"],
    ["Neg", ["x"], "turned"],
    ["Concat", ["turned", "rest"], "y", { axis: -1 }],
  ];
  const bounds = [whole("four", [4]), whole("most", [2 ** 31]), whole("one", [1])];
  const { graph } = await importOnnx(file({ x: ["batch", 4] }, bounds, nodes, { y: ["batch", 4] }));
  expect(graph.outputs[0]!.node.op).toBe("neg");
  const alone = importOnnx(file({ x: ["batch", 4] }, bounds, [nodes[0]!, ["Neg", ["rest"], "y"]], { y: ["batch", 0] }));
  await expect(alone).rejects.toThrow("empty tensors are supported only as lists of sizes and as parts of a concat");
});

it("takes two open sizes as one where it is told so", async () => {
  const bytes = file({ a: ["n"], b: ["m"] }, [], [["Add", ["a", "b"], "y"]], { y: ["n"] });
  await expect(importOnnx(bytes)).rejects.toThrow("a dimension is n in one operand and m in another");
  const { graph } = await importOnnx(bytes, { sizes: { m: "n" } });
  const nodes: NodeSpec[] = [
    ["Shape", ["b"], "shape"],
    ["Gather", ["shape", "first"], "rows"],
    ["Concat", ["rows", "rest"], "to", { axis: 0 }],
    ["Reshape", ["a", "to"], "y"],
  ];
  const reshaped = file({ a: ["n", 4], b: ["m", 4] }, [whole("first", [0]), whole("rest", [-1])], nodes, {
    y: ["m", "k"],
  });
  await expect(importOnnx(reshaped)).rejects.toThrow(/are not a multiple of m: .*; or m=n if they are equal/);
  await importOnnx(reshaped, { sizes: { m: "n" } });
  expect(String(graph.outputs[0]!.node.type.axes[0]!.size)).toBe("n");
});

it("says which sizes to give where a shape fits some only", async () => {
  const bytes = file({ x: ["tokens", 4] }, [whole("to", [10, 4])], [["Reshape", ["x", "to"], "y"]], { y: [10, 4] });
  await expect(importOnnx(bytes)).rejects.toThrow(
    "elements do not fill [10, 4] for all sizes; if the file fits some only, set tokens when importing, as in tokens=640",
  );
  const { graph } = await importOnnx(bytes, { sizes: { tokens: 10 } });
  expect(graph.outputs[0]!.node.type.axes.map(({ size }) => size)).toEqual([10, 4]);
  const fixed = file({ x: [9, 4] }, [whole("to", [10, 4])], [["Reshape", ["x", "to"], "y"]], { y: [10, 4] });
  await expect(importOnnx(fixed)).rejects.toThrow(/36 elements do not fill \[10, 4\]$/);
});

it("computes lists of sizes without a node for each", async () => {
  const bytes = file(
    { x: ["tokens", 2] },
    [
      whole("zero", [0]),
      whole("one", [1]),
      whole(
        "rows",
        Array.from({ length: 300 }, (_, i) => i),
      ),
    ],
    [
      ["Shape", ["x"], "shape"],
      ["Slice", ["shape", "zero", "one"], "tokens"],
      ["Mul", ["rows", "tokens"], "starts"],
      ["Sub", ["tokens", "starts"], "back"],
      ["Neg", ["x"], "y"],
    ],
    { y: ["tokens", 2] },
  );
  const { graph } = await importOnnx(bytes, { outputs: ["starts", "back"] });
  expect(nodesOf(graph).length).toBeLessThan(20);
  const made = evaluate(bindSizes(graph, { tokens: 7 }), new Map());
  expect([...made.get("starts")!.data]).toEqual(Array.from({ length: 300 }, (_, i) => 7 * i));
  expect([...made.get("back")!.data]).toEqual(Array.from({ length: 300 }, (_, i) => 7 - 7 * i));
});
