/** What exports look like, and what is refused. */
import { describe, expect, it } from "vitest";
import { decodeModel, encodeOnnx, exportOnnx, printOnnx } from "../../backends/onnx/index.ts";
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

const sizes = { embed: 48, heads: 4, width: 12, hidden: 64 } as const;
const axis = (name: keyof typeof sizes) => ({ name, size: sizes[name] });
const parameter = (name: string, ...axes: (keyof typeof sizes)[]) =>
  ops.parameter(name, "f32", axes.map(axis), normal(0.02));

/** A pre-norm block over any number of tokens; weights as published, [out, in]. */
function block() {
  const x = ops.input("x", "f32", [
    { name: "batch", size: symbol("batch") },
    { name: "token", size: symbol("tokens") },
    axis("embed"),
  ]);
  const normed = ops.rmsNorm(x, parameter("norm1.weight", "embed"), ["embed"], 1e-6);
  const project = (name: string) =>
    ops.contract(normed, parameter(`attn.${name}.weight`, "heads", "width", "embed"), ["embed"]);
  const keys = (t: Node) => ops.rename(t, "token", "key");
  const roles = { dot: "width", over: "key", scale: 0.5 };
  const mixed = ops.attention(project("q"), keys(project("k")), keys(project("v")), roles);
  const y = ops.add(
    x,
    ops.contract(mixed, parameter("attn.out.weight", "embed", "heads", "width"), ["heads", "width"]),
  );
  const inner = ops.silu(ops.contract(y, parameter("mlp.up.weight", "hidden", "embed"), ["embed"]));
  const z = ops.add(y, ops.contract(inner, parameter("mlp.down.weight", "embed", "hidden"), ["hidden"]));
  return makeGraph("block", [{ name: "z", node: z }], [x]);
}

describe("the text of a model", () => {
  it.each([
    { name: "opset-17", options: { opset: 17 } },
    { name: "opset-24", options: { opset: 24 } },
    { name: "opset-24-operator", options: { opset: 24, attention: "operator" } },
    { name: "f16", options: { opset: 20, dtype: "f16" } },
    { name: "int8", options: { opset: 20, dtype: "int8" } },
    { name: "int4", options: { opset: 21, dtype: "int4" } },
    { name: "cpu", options: { opset: 23, dialect: "onnxruntime", residents: "bound" } },
  ] as const)("$name", async ({ name, options }) => {
    await expect(printOnnx(exportOnnx(block(), options).model)).toMatchFileSnapshot(`golden/block-${name}.onnx.txt`);
  });

  it("is that of the bytes", async () => {
    const model = exportOnnx(block());
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
    expect(printOnnx(exportOnnx(block()).model)).toBe(printOnnx(exportOnnx(block()).model));
  });
});

describe("names", () => {
  it("of outputs give way to inputs of the same name", () => {
    const x = ops.input("x", "f32", [axis("embed")]);
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

  it("say the module that a node comes from", () => {
    const names = exportOnnx(block()).model.graph!.node!.map((n) => n.name!);
    expect(names.some((n) => n.startsWith("mlp.down/contract"))).toBe(true);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("refused", () => {
  it("opsets out of range", () => {
    for (const opset of [16, 27, 20.5])
      expect(() => exportOnnx(block(), { opset })).toThrow(`opset ${opset} cannot be written: take 17 to 26`);
  });

  it("4-bit weights before the opset that has them", () => {
    expect(() => exportOnnx(block(), { opset: 20, dtype: "int4" })).toThrow(
      "4-bit weights need opset 21 or newer, not 20",
    );
  });

  it("ops without an operator and without a decomposition, all of them by name", () => {
    const spec = { kind: "composite", doc: { summary: "A test." }, operands: ["x"], attrs: {}, cases: [] } as const;
    for (const name of ["test_sorted", "test_unique"]) {
      ops.defineOp({ ...spec, name, infer: ([x]) => x!, reference: ([x]) => x!.data, flat: true });
    }
    const x = ops.input("x", "f32", [axis("embed")]);
    const sorted = build("test_sorted", [build("test_sorted", [ops.neg(x)], {})], {});
    const graph = makeGraph("odd", [{ name: "y", node: ops.add(sorted, build("test_unique", [x], {})) }], [x]);
    expect(() => exportOnnx(graph)).toThrow(
      /^graph @odd cannot be expressed in ONNX opset 20:\n {2}test_sorted, 2 times, first at test\/onnx\/text\.test\.ts:\d+:\d+: it names no operator and has no decomposition\n {2}test_unique, once, /,
    );
  });

  it("sizes that no input tells", () => {
    const y = ops.broadcast(ops.input("x", "f32", [axis("embed")]), [{ name: "n", size: symbol("n") }]);
    expect(() => exportOnnx(makeGraph("open", [{ name: "y", node: y }]))).toThrow(
      'graph @open: the size "n" is no dimension of an input, so an ONNX model cannot know it',
    );
  });

  it("more weights than one file holds", async () => {
    const w = ops.parameter("w", "f32", [axis("embed"), { name: "wide", size: 2 ** 24 }], normal(1));
    const x = ops.input("x", "f32", [axis("embed")]);
    const model = exportOnnx(makeGraph("large", [{ name: "y", node: ops.contract(x, w, ["embed"]) }], [x]));
    await expect(encodeOnnx(model)).rejects.toThrow("stores 3221225472 bytes of weights, above the 2 GiB");
  });
});
