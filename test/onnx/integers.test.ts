/**
 * Weights and activations as integers: what files compute in onnxruntime, beside the reference with the same rounding.
 */
import { describe, expect, it } from "vitest";
import {
  decodeModel,
  type ExportOptions,
  encodeOnnx,
  exportOnnx,
  importOnnx,
  type OnnxExport,
  storedValue,
} from "../../backends/onnx/index.ts";
import { verifyExport } from "../../backends/onnxruntime/index.ts";
import {
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  normal,
  ops,
  symbol,
} from "../../compiler/index.ts";
import { draw, seeded } from "../support/samples.ts";
import { reference, tensorFor } from "./support.ts";

const axis = (name: string, size: number) => ({ name, size });
const [batch, row] = [axis("batch", 2), { name: "row", size: symbol("rows") }];
const opset = 21;

/** A decoder whose table is also the matrix of its scores, at sizes that are no multiples of 32. */
function tied(): Graph {
  const [vocab, embed, inner] = [axis("vocab", 61), axis("embed", 50), axis("inner", 75)];
  const table = ops.parameter("table", "f32", [vocab, embed], normal(1));
  const fc1 = ops.parameter("fc1", "f32", [inner, embed], normal(0.1));
  const fc2 = ops.parameter("fc2", "f32", [embed, inner], normal(0.1));
  const x = ops.gather(table, ops.input("ids", "i32", [batch, row]), "vocab");
  const mixed = ops.contract(ops.gelu(ops.contract(x, fc1, ["embed"])), fc2, ["inner"]);
  return makeGraph("tied", [{ name: "scores", node: ops.contract(ops.add(x, mixed), table, ["embed"]) }]);
}

const graph = tied();
// Not as far to both sides: a zero point between two integers would fall to either by the last bit of a float.
const next = seeded(9);
const weights = new Map<string, HostTensor>();
for (const n of graph.inputs.filter((n) => n.op === "parameter"))
  weights.set(inputName(n), tensorFor("f32", n.type.axes as never, draw(n.type, { low: -0.7, high: 1 }, next)));
const rows = 3;
const ids = hostTensor("i32", [batch, axis("row", rows)], [60, 0, 17, 5, 5, 33]);

const encode = (model: OnnxExport, values: ReadonlyMap<string, HostTensor> = weights) =>
  encodeOnnx(model, (p) => values.get(inputName(p)));

/** What a graph gives on weights, as outputs of a file are compared. */
function scoresOf(of: Graph, values: ReadonlyMap<string, HostTensor>): Record<string, HostTensor> {
  const doubles = new Map([...values, ["ids", ids] as const].map(([n, t]) => [n, Float64Array.from(t.data)]));
  const data = reference(of, doubles, { rows }).get("scores")!;
  return {
    scores: { dtype: "f32", axes: [batch, axis("row", rows), axis("vocab", 61)], data: Float64Array.from(data) },
  };
}

/** Weights as a file has them. */
const storedBy = (model: OnnxExport) =>
  new Map(
    model.stored.map(({ parameter, ...t }) => {
      const name = inputName(parameter);
      return [name, storedValue({ parameter, ...t }, weights.get(name)!)] as const;
    }),
  );

const off = async (bytes: Uint8Array, want: Record<string, HostTensor>) =>
  (await verifyExport(bytes, { ids }, want, { exactProducts: true })).maxRelDiff;

/** Another processor's gelu may put an element into the next step; most have 1e-7. */
const oneStep = 1e-3;

const ways: readonly (readonly [ExportOptions, least: number])[] = [
  [{ dtype: "int8", opset: 17 }, 1e-5],
  [{ dtype: "int8", dialect: "onnxruntime" }, 1e-5],
  [{ dtype: "int8", activations: "int8", opset: 17 }, oneStep],
  [{ dtype: "int8", activations: "int8", dialect: "onnxruntime" }, oneStep],
  [{ dtype: "int4", opset }, 1e-5],
  [{ dtype: "int4", dialect: "onnxruntime", opset }, 1e-5],
];

describe.each(ways)("a table that is a matrix too, %o", (options, least) => {
  const model = exportOnnx(graph, options);

  it("is stored once as integers, and all is computed with what they stand for", async () => {
    const parts = model.stored.flatMap((t) => t.parts.map((p) => `${p.name} ${p.type}`));
    const type = options.dialect || options.activations ? "u8" : "i8";
    expect(parts.filter((p) => p.startsWith("table"))).toEqual([`table ${type}`, "table.scale f32"]);
    const bytes = await encode(model);
    expect(await off(bytes, scoresOf(model.rounded ?? graph, storedBy(model)))).toBeLessThan(least);
    expect(await off(bytes, scoresOf(graph, weights))).toBeGreaterThan(1e-3);
    // What rounding activations does is seen beside the graph without it.
    if (model.rounded) expect(await off(bytes, scoresOf(graph, storedBy(model)))).toBeGreaterThan(2 * oneStep);
  });

  it("comes in again as it is computed", async () => {
    const { graph: again, parameters, notes } = await importOnnx(await encode(model), { name: "tied" });
    const values = new Map<string, HostTensor>();
    for (const [name, { read }] of parameters) values.set(name, await read());
    const [got, want] = [scoresOf(again, values), scoresOf(model.rounded ?? graph, storedBy(model))];
    for (const [i, x] of want.scores!.data.entries()) expect(got.scores!.data[i]).toBeCloseTo(x, 3);
    expect(notes).toEqual([]);
    // What is one weight stays one, read as a table or multiplied, and is stored as it was.
    expect([...parameters.keys()].sort()).toEqual(["fc1", "fc2", "table"]);
    const stored = ({ stored }: OnnxExport) =>
      stored.flatMap(({ parts }) => parts.map((p) => JSON.stringify(p))).sort();
    expect(stored(exportOnnx(again, options))).toEqual(stored(model));
    const { dtype, ...rest } = options;
    const whole = await encode(exportOnnx(again, { ...rest, activations: "float" }), values);
    expect(await off(whole, want)).toBeLessThan(model.rounded ? oneStep : 1e-5);
  });
});

describe("activations as int8", () => {
  const rounding = { dtype: "int8", activations: "int8" } as const;
  const operators = (model: OnnxExport) => model.model.graph!.node!.map((n) => n.opType);
  const count = (model: OnnxExport, op: string) => operators(model).filter((o) => o === op).length;

  it("are rounded once for all products that they are in, whose sums are scaled as onnxruntime fuses them", async () => {
    const [inner, k, n] = [axis("inner", 96), axis("k", 64), axis("n", 48)];
    const x = ops.input("x", "f32", [batch, row, inner]);
    const w = (name: string, to: { name: string; size: number }) => ops.parameter(name, "f32", [to, inner], normal(1));
    const made = makeGraph("shared", [
      { name: "a", node: ops.contract(x, w("wk", k), ["inner"]) },
      { name: "b", node: ops.transpose(ops.contract(w("wn", n), x, ["inner"]), ["batch", "row", "n"]) },
    ]);
    const model = exportOnnx(made, rounding);
    expect(count(model, "DynamicQuantizeLinear")).toBe(1);
    expect(count(model, "MatMulInteger")).toBe(2);
    expect(count(model, "DequantizeLinear")).toBe(0);
    const node = (op: string) => decodeModel(bytes).graph!.node!.filter((m) => m.opType === op);
    const drawn = new Map(
      made.inputs
        .filter((m) => m.op === "parameter")
        .map((m) => [inputName(m), tensorFor("f32", m.type.axes as never, draw(m.type, { low: -0.7, high: 1 }, next))]),
    );
    const bytes = await encode(model, drawn);
    expect(node("Mul").at(-1)!.input).toEqual([node("Cast").at(-1)!.output![0], node("Mul").at(-2)!.output![0]]);
  });

  it("that are all 0, or all on one side of it, are what they are", async () => {
    const inner = axis("inner", 64);
    const x = ops.input("x", "f32", [row, inner]);
    const w = ops.parameter("w", "f32", [axis("out", 40), inner], normal(1));
    const made = makeGraph("flat", [{ name: "y", node: ops.contract(x, w, ["inner"]) }]);
    const model = exportOnnx(made, rounding);
    const value = tensorFor("f32", w.type.axes as never, draw(w.type, { low: -0.7, high: 1 }, next));
    const stored = storedValue(model.stored[0]!, value);
    const bytes = await encode(model, new Map([["w", value]]));
    for (const at of [0, 3, -0.25]) {
      const fed = tensorFor("f32", [axis("row", 2), inner], new Float32Array(128).fill(at));
      const doubles = new Map([
        ["x", Float64Array.from(fed.data)],
        ["w", Float64Array.from(stored.data)],
      ]);
      const data = Float64Array.from(reference(model.rounded!, doubles, { rows: 2 }).get("y")!);
      const exact = reference(made, doubles, { rows: 2 }).get("y")!;
      for (const [i, y] of data.entries()) expect(y).toBeCloseTo(exact[i]!, 5); // one number and 0 have integers of their own
      const y = { dtype: "f32", axes: [axis("row", 2), axis("out", 40)], data } as const;
      const { maxAbsDiff } = await verifyExport(bytes, { x: fed }, { y }, { exactProducts: true });
      expect(maxAbsDiff).toBeLessThan(1e-4);
    }
  });

  it("are of products with weights, and not of two activations", () => {
    const [inner, other] = [axis("inner", 64), axis("other", 40)];
    const [x, y] = [ops.input("x", "f32", [row, inner]), ops.input("y", "f32", [other, inner])];
    const both = exportOnnx(makeGraph("both", [{ name: "z", node: ops.contract(x, y, ["inner"]) }]), rounding);
    expect(both.rounded).toBeUndefined();
    expect(operators(both)).not.toContain("DynamicQuantizeLinear");
  });

  it("need weights of int8", () => {
    for (const dtype of ["f32", "f16", "int4"] as const)
      expect(() => exportOnnx(graph, { dtype, opset, activations: "int8" })).toThrow(
        `int8 activations require int8 weights, but these are ${dtype}`,
      );
  });
});

it("scales of 4 bits use all 16 integers, and lose less than the largest magnitude over 7 would", () => {
  const model = exportOnnx(graph, { dtype: "int4", opset });
  const t = model.stored.find((s) => inputName(s.parameter) === "fc1")!;
  const given = weights.get("fc1")!;
  const got = storedValue(t, given).data;
  const sevenths = given.data.map((x, i) => {
    const start = Math.floor((i % 50) / 32) * 32 + (i - (i % 50));
    const block = given.data.slice(start, Math.min(start + 32, i - (i % 50) + 50)) as Float32Array;
    const scale = Math.max(...block.map(Math.abs)) / 7;
    return Math.round(x / scale) * scale;
  });
  const lost = (made: ArrayLike<number>) => Math.hypot(...Array.from(given.data, (x, i) => x - made[i]!));
  expect(lost(got)).toBeLessThan(0.99 * lost(sevenths)); // of uniform numbers; 0.885 of normal ones
});
