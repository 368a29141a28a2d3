/** Every op record, on its own cases, through ONNX and onnxruntime. */
import { describe, expect, it } from "vitest";
import { build, opRecords } from "../../compiler/index.ts";
import { excess, graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { reference, throughOnnx } from "./support.ts";

const cases = opRecords().flatMap((record) =>
  record.cases.map((c, i) => ({ name: `${record.name} case ${i + 1}`, record, c })),
);

describe.each([17, 20, 23, 24, 26])("opset %i", (opset) => {
  it.each(cases)("$name", async ({ record, c }) => {
    const inputs = inputsOf(c);
    const graph = graphOf("one", inputs, build(record.name, inputs, c.attrs));
    const values = inputMap(operandsOf(record, c, 5));
    const want = reference(graph, values).get("y")!;
    const got = (await throughOnnx(graph, values, { opset })).get("y")!;
    const { absolute, relative } = record.tolerance[graph.outputs[0]!.node.type.dtype]!;
    expect(excess(got, want, absolute, relative)).toBeLessThanOrEqual(0);
  });
});
