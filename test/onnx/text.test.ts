/** What exports look like, and what is refused. */
import { describe, expect, it } from "vitest";
import {
  decodeModel,
  encodeOnnx,
  exportOnnx,
  importOnnx,
  printOnnx,
  settledOptions,
} from "../../backends/onnx/index.ts";
import {
  build,
  elementCount,
  hostTensor,
  makeGraph,
  type Node,
  normal,
  ops,
  type SizedAxis,
  symbol,
} from "../../compiler/index.ts";
import { preNormBlock } from "../support/pre-norm-block.ts";

const embed = { name: "embed", size: 48 };
describe("the text of a model", () => {
  it.each([
    { name: "opset-17", options: { opset: 17 } },
    { name: "opset-24", options: { opset: 24 } },
    { name: "opset-24-operator", options: { opset: 24, attention: "operator" } },
    { name: "f16", options: { opset: 20, dtype: "f16" } },
    { name: "int8", options: { opset: 20, dtype: "int8" } },
    { name: "int8-activations", options: { opset: 20, dtype: "int8", activations: "int8" } },
    { name: "int4", options: { opset: 21, dtype: "int4" } },
    { name: "cpu", options: { opset: 23, dialect: "onnxruntime", residents: "bound" } },
  ] as const)("$name", async ({ name, options }) => {
    await expect(printOnnx(exportOnnx(preNormBlock(), options).model)).toMatchFileSnapshot(
      `golden/block-${name}.onnx.txt`,
    );
  });

  it("is that of the bytes", async () => {
    const model = exportOnnx(preNormBlock());
    const zeros = ({ type }: Node) => {
      const axes = type.axes as SizedAxis[];
      return hostTensor("f32", axes, new Float32Array(elementCount(axes)));
    };
    const text = printOnnx(decodeModel(await encodeOnnx(model, zeros)));
    const nodes = (t: string) => t.split("\n").filter((l) => l.includes("#"));
    expect(nodes(text)).toEqual(nodes(printOnnx(model.model)));
    expect(text).toContain("attn.q.weight = f32[48, 48]");
  });

  it("is the same every time", () => {
    expect(printOnnx(exportOnnx(preNormBlock()).model)).toBe(printOnnx(exportOnnx(preNormBlock()).model));
  });
});

describe("names", () => {
  it("of outputs give way to inputs of the same name", () => {
    const x = ops.input("x", "f32", [embed]);
    const outputs = [
      { name: "x", node: ops.neg(x) },
      { name: "same", node: x },
      { name: "again", node: ops.neg(x) },
    ];
    const model = exportOnnx(makeGraph("names", outputs, [x]));
    expect(model.outputs).toEqual({ x: "x_out", same: "same", again: "again" });
    expect(model.model.graph!.output!.map((o) => o.name)).toEqual(["x_out", "same", "again"]);
    const written = model.model.graph!.node!.flatMap((n) => n.output!);
    expect(new Set(written).size).toBe(written.length);
  });

  it("of outputs are kept where a stored parameter has the same one, as priors of a detector do", async () => {
    const priors = ops.parameter("priors", "f32", [embed], { kind: "constant", value: 0 });
    const outputs = [
      { name: "priors", node: priors },
      { name: "boxes", node: ops.mul(priors, ops.input("x", "f32", [embed])) },
    ];
    const model = exportOnnx(makeGraph("names", outputs));
    expect(model.outputs).toEqual({ priors: "priors", boxes: "boxes" });
    const again = await importOnnx(await encodeOnnx(model, () => hostTensor("f32", [embed], new Float32Array(48))));
    expect(again.graph.outputs.map((o) => o.name)).toEqual(["priors", "boxes"]);
    expect([...again.parameters.keys()]).toEqual(["priors_2"]);
  });

  it("say the module that a node comes from", () => {
    const names = exportOnnx(preNormBlock()).model.graph!.node!.map((n) => n.name!);
    expect(names.some((n) => n.startsWith("mlp.down/contract"))).toBe(true);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("refused", () => {
  it("opsets out of range", () => {
    for (const opset of [16, 27, 20.5])
      expect(() => exportOnnx(preNormBlock(), { opset })).toThrow(`opset ${opset} is not supported: use 17 to 26`);
  });

  it("4-bit weights before the opset that has them, which is their default", () => {
    const opsetOf = (options: object) => settledOptions(options).opset;
    expect([{}, { dtype: "int4" }, { dtype: "int4", dialect: "onnxruntime" }].map(opsetOf)).toEqual([20, 21, 20]);
    expect(() => exportOnnx(preNormBlock(), { opset: 20, dtype: "int4" })).toThrow(
      "4-bit weights require opset 21 or newer, got 20",
    );
  });

  it("ops without an operator and without a decomposition, all of them by name", () => {
    const spec = { kind: "composite", doc: { summary: "A test." }, operands: ["x"], attrs: {}, cases: [] } as const;
    for (const name of ["test_sorted", "test_unique"]) {
      ops.defineOp({ ...spec, name, infer: ([x]) => x!, reference: ([x]) => x!.data, flat: true });
    }
    const x = ops.input("x", "f32", [embed]);
    const sorted = build("test_sorted", [build("test_sorted", [ops.neg(x)], {})], {});
    const graph = makeGraph("odd", [{ name: "y", node: ops.add(sorted, build("test_unique", [x], {})) }], [x]);
    expect(() => exportOnnx(graph)).toThrow(
      /^graph @odd cannot be expressed in ONNX opset 20:\n {2}test_sorted, 2 times, first at test\/onnx\/text\.test\.ts:\d+:\d+: it has no ONNX operator and no decomposition\n {2}test_unique, once, /,
    );
  });

  it("sizes that no input tells", () => {
    const y = ops.broadcast(ops.input("x", "f32", [embed]), [{ name: "n", size: symbol("n") }]);
    expect(() => exportOnnx(makeGraph("open", [{ name: "y", node: y }]))).toThrow(
      'graph @open: the size "n" is not a dimension of an input, so an ONNX model cannot compute it',
    );
  });

  it("more weights than one file holds", async () => {
    const w = ops.parameter("w", "f32", [embed, { name: "wide", size: 2 ** 24 }], normal(1));
    const x = ops.input("x", "f32", [embed]);
    const model = exportOnnx(makeGraph("large", [{ name: "y", node: ops.contract(x, w, ["embed"]) }], [x]));
    await expect(encodeOnnx(model)).rejects.toThrow("stores 3221225472 bytes of weights, above the limit of 2 GiB");
  });
});
