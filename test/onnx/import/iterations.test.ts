/** Loops and scans that do not iterate. */
import { expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { attribute, info, whole } from "./small-file.ts";

const node = (opType: string, input: readonly string[], output: readonly string[], attributes: object[] = []) => ({
  ...{ opType, name: opType, input, output },
  attribute: attributes,
});

/** Doubles x [2] in each iteration, and stacks what it was. */
function loop(rounds: number, outputs: readonly string[]): Uint8Array {
  const body = {
    name: "body",
    input: [info("i", [], 7), info("go", [], 9), info("s", [2])],
    output: [info("goes", [], 9), info("twice", [2]), info("was", [2])],
    node: [node("Identity", ["go"], ["goes"]), node("Add", ["s", "s"], ["twice"]), node("Identity", ["s"], ["was"])],
  };
  const attributes = [{ name: "body", type: 5, g: body }];
  return fileOf(whole("n", [rounds]), [node("Loop", ["n", "", "x"], outputs, attributes)]);
}

/** Adds the first `rows` rows of z [4, 2] to x [2], and stacks the sums. */
function scan(rows: number, outputs: readonly string[]): Uint8Array {
  const body = {
    name: "body",
    input: [info("s", [2]), info("e", [2])],
    output: [info("sum", [2]), info("stacked", [2])],
    node: [node("Add", ["s", "e"], ["sum"]), node("Identity", ["sum"], ["stacked"])],
  };
  const attributes = [{ name: "body", type: 5, g: body }, attribute(["num_scan_inputs", 1])];
  return fileOf(whole("n", [rows]), [
    node("Slice", ["z", "zero", "n"], ["rows"]),
    node("Scan", ["x", "rows"], outputs, attributes),
  ]);
}

const fileOf = (count: object, nodes: object[]): Uint8Array =>
  encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "g",
      input: [info("x", [2]), info("z", [4, 2])],
      output: [info("y", [2])],
      initializer: [whole("zero", [0]), count],
      node: nodes,
    },
  } as unknown as ModelProto);

it.each([
  ["a loop", loop],
  ["a scan", scan],
])("%s that does not iterate returns what it carries; what it would stack is empty, and refused", async (_, make) => {
  const { graph } = await importOnnx(make(0, ["y", ""]));
  expect(graph.outputs[0]!.node.type.axes.map((a) => a.size)).toEqual([2]);
  await expect(importOnnx(make(0, ["y", "ys"]))).rejects.toThrow(
    /node "(Loop|Scan)".*it iterates 0 times, and outputs/,
  );
  expect((await importOnnx(make(2, ["y", "ys"]))).graph.outputs).toHaveLength(1);
});
