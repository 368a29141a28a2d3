/** Which tensors of a file are trained: initializers, and those of Constant nodes only where there are no others. */
import { expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { printGraph } from "../../../compiler/index.ts";
import { fileOf } from "./in-onnxruntime.ts";
import { floats, info } from "./small-file.ts";

const constant = (output: string, dims: readonly number[]) => ({
  ...{ opType: "Constant", name: output, input: [], output: [output] },
  attribute: [{ name: "value", type: 4, t: floats("", dims) }],
});
const nodes = [
  constant("offset", [2, 3]),
  { opType: "MatMul", name: "m", input: ["x", "weight"], output: ["m"] },
  { opType: "Add", name: "a", input: ["m", "offset"], output: ["y"] },
];
const imported = async (node: readonly object[], initializer: readonly object[]) => {
  const { graph } = await importOnnx(
    fileOf({ node, initializer, input: [info("x", [2, 4])], output: [info("y", [2, 3])] }),
  );
  return printGraph(graph);
};

it("a tensor of a Constant node is a buffer beside weights that are initializers", async () => {
  const text = await imported(nodes, [floats("weight", [4, 3])]);
  expect(text).toMatch(/parameter "weight" init/);
  expect(text).toMatch(/parameter "offset" .*buffer|buffer .*"offset"/);
});

it("and a weight in a file that has no others", async () => {
  expect(await imported([constant("weight", [4, 3]), ...nodes], [])).not.toContain("buffer");
});
