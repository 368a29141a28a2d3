/** Every op record, on its own cases, through ONNX and onnxruntime. */
import { describe, expect, it } from "vitest";
import { opsets } from "../../backends/onnx/index.ts";
import { build, type DType, type OpCase, type OpRecord, opRecords } from "../../compiler/index.ts";
import { excess, graphOf, inputMap, inputsOf, operandsOf } from "../support/samples.ts";
import { reference, throughOnnx } from "./support.ts";

const cases = opRecords().flatMap((record) =>
  record.cases.map((c, i) => ({ name: `${record.name} case ${i + 1}`, record, c })),
);

async function compare(record: OpRecord, c: OpCase, options: Parameters<typeof throughOnnx>[2]) {
  const inputs = inputsOf(c);
  const graph = graphOf("one", inputs, build(record.name, inputs, c.attrs));
  const values = inputMap(operandsOf(record, c, 5));
  const want = reference(graph, values).get("y")!;
  const got = (await throughOnnx(graph, values, options)).get("y")!;
  return { want, got, dtype: graph.outputs[0]!.node.type.dtype };
}

describe.each([opsets.oldest, opsets.usual, 23, opsets.newest])("opset %i", (opset) => {
  it.each(cases)("$name", async ({ record, c }) => {
    const { want, got, dtype } = await compare(record, c, { opset });
    const { absolute, relative } = record.tolerance[dtype]!;
    expect(excess(got, want, absolute, relative)).toBeLessThanOrEqual(0);
  });
});

/** f16 holds 11 bits; a value of 4 that is rounded on its way into an exponential moves by 0.4 %. */
const halfTolerance = { absolute: 2e-2, relative: 2e-2 };
const floats: readonly DType[] = ["f32"];

describe("computed in f16", () => {
  const withFloats = cases.filter(({ c }) => c.operands.some((o) => floats.includes(o.dtype)));
  it.each(withFloats)("$name", async ({ record, c }) => {
    const { want, got } = await compare(record, c, { opset: 20, dtype: "f16" });
    expect(excess(got, want, halfTolerance.absolute, halfTolerance.relative)).toBeLessThanOrEqual(0);
  });
});

it("the operator for attention says what the reference says", async () => {
  const attention = cases.filter(({ record }) => record.name === "attention");
  for (const { record, c } of attention) {
    const { want, got } = await compare(record, c, { opset: 23, attention: "operator" });
    expect(excess(got, want, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
  }
});
