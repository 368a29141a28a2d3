/** What an f16 export keeps in f32, and that large values come out right or not at all. */
import { describe, expect, it } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";

import { hostTensor, inHalf, inputName, makeGraph, type Node, nodesOf, normal, ops } from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";
import { reference, throughOnnx } from "./support.ts";

const axis = (name: string, size: number) => ({ name, size });
const [row, embed, inner, key] = [axis("row", 4), axis("embed", 6), axis("inner", 6), axis("key", 4)];
const parameter = (name: string, ...axes: { name: string; size: number }[]) =>
  ops.parameter(name, "f32", axes, normal(1));

/** Token embeddings, and a branch added to them; the norm of the sum. */
function stream() {
  const x = ops.gather(parameter("table", axis("id", 5), embed), ops.input("ids", "i32", [row]), "id");
  const branch = ops.add(ops.contract(x, parameter("weight", inner, embed), ["embed"]), parameter("bias", inner));
  const sum = ops.add(x, ops.rename(ops.relu(branch), "inner", "embed"));
  return ops.rmsNorm(sum, parameter("scale", embed), ["embed"], 1e-6);
}

const outputs = (...nodes: Node[]) =>
  makeGraph(
    "half",
    nodes.map((node, i) => ({ name: `y${i}`, node })),
  );

/** The dtypes of all nodes of one op, in order. */
const dtypes = (graph: ReturnType<typeof makeGraph>, op: string) =>
  nodesOf(graph)
    .filter((n) => n.op === op)
    .map((n) => n.type.dtype);

const values = (graph: ReturnType<typeof makeGraph>, given: Readonly<Record<string, (i: number) => number>>) =>
  new Map(
    graph.inputs.map((n) => {
      const length = n.type.axes.reduce((k, a) => k * (a.size as number), 1);
      return [inputName(n), Float64Array.from({ length }, (_, i) => given[inputName(n)]!(i))];
    }),
  );

describe("in f16", () => {
  it("a bias is added to a product, and the residual stream and its norm stay f32", () => {
    const half = inHalf(outputs(stream()), { isWhole: () => true, parameters: "narrowed" });
    expect(dtypes(half, "contract")).toEqual(["f16"]);
    expect(dtypes(half, "add")).toEqual(["f16", "f32"]);
    expect(dtypes(half, "rms_norm")).toEqual(["f32"]);
    const stored = Object.fromEntries(half.inputs.map((n) => [inputName(n), n.type.dtype]));
    expect(stored).toEqual({ ids: "i32", table: "f16", weight: "f16", bias: "f16", scale: "f32" });
  });

  it("a stream beyond what f16 holds is normalized as it is", async () => {
    const graph = outputs(stream());
    const given = values(graph, {
      ids: (i) => i,
      table: (i) => 60000 * Math.cos(i),
      weight: (i) => Math.sin(i) / 3,
      bias: () => 3,
      scale: () => 1,
    });
    const [want, got] = [reference(graph, given), await throughOnnx(graph, given, { dtype: "f16" })];
    expect(excess(got.get("y0")!, want.get("y0")!, 5e-3, 0)).toBeLessThanOrEqual(0);
  });

  it("a variance stays f32: it may be larger or smaller than f16 can say", async () => {
    const x = ops.contract(ops.input("x", "f32", [row, inner]), parameter("weight", embed, inner), ["inner"]);
    const normed = ops.mul(x, ops.rsqrt(ops.add(parameter("variance", embed), 1e-9)));
    const graph = outputs(normed);
    const given = values(graph, { x: Math.sin, weight: Math.cos, variance: (i) => [1e6, 1e-8][i % 2]! });
    const [want, got] = [reference(graph, given), await throughOnnx(graph, given, { dtype: "f16" })];
    expect(excess(got.get("y0")!, want.get("y0")!, 1e-4, 5e-3)).toBeLessThanOrEqual(0);
  });

  it("rows of attention that see no key give 0, whatever their logits are", async () => {
    const q = ops.input("q", "f32", [row, embed]);
    const k = ops.input("k", "f32", [key, embed]);
    const visible = ops.gt(ops.iota(row), ops.iota(key));
    const y = ops.attention(q, k, ops.rename(k, "embed", "inner"), { dot: "embed", over: "key", scale: 1 }, visible);
    const graph = outputs(y);
    const given = values(graph, { q: () => -60, k: (i) => 60 + i });
    const [want, got] = [reference(graph, given), await throughOnnx(graph, given, { dtype: "f16" })];
    expect(excess(got.get("y0")!, want.get("y0")!, 1e-2, 2e-3)).toBeLessThanOrEqual(0);
  });

  it("a weight that f16 cannot hold is refused by name", async () => {
    const w = parameter("gate.weight", embed, inner);
    const y = ops.contract(ops.input("x", "f32", [row, inner]), w, ["inner"]);
    const model = exportOnnx(outputs(y), { dtype: "f16" });
    const weight = hostTensor("f32", [embed, inner], new Float32Array(36).fill(1e5));
    await expect(encodeOnnx(model, () => weight)).rejects.toThrow(
      'parameter "gate.weight" has the value 100000, which f16 cannot represent; export it as f32, int8 or int4',
    );
  });
});
