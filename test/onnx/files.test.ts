/** Models on disk: external data, types of weights, what happens when something is missing, wrong or fails half-way. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeModel, encodeOnnx, exportOnnx, storedValue, type WeightSource } from "../../backends/onnx/index.ts";
import { writeOnnx } from "../../backends/onnx/node-index.ts";
import { roundsOperands, verifyExport } from "../../backends/onnxruntime/index.ts";
import { type HostTensor, hostTensor, inputName, makeGraph, normal, ops, symbol } from "../../compiler/index.ts";
import { draw, seeded } from "../support/samples.ts";
import { reference, tensorFor } from "./support.ts";

const [batch, from, to] = [
  { name: "batch", size: symbol("batch") },
  { name: "from", size: 48 },
  { name: "to", size: 64 },
];

/** An embedding and two layers whose weights lie [out, in], so that a file stores them turned round. */
const graph = (() => {
  const ids = ops.input("ids", "i32", [batch]);
  const table = ops.parameter("table", "f32", [{ name: "row", size: 50 }, from], normal(1));
  const weight = ops.parameter("up.weight", "f32", [to, from], normal(0.1));
  const bias = ops.parameter("up.bias", "f32", [to], normal(0.1));
  const inner = ops.gelu(ops.add(ops.contract(ops.gather(table, ids, "row"), weight, ["from"]), bias));
  const down = ops.parameter("down.weight", "f32", [{ name: "class", size: 40 }, to], normal(0.1));
  return makeGraph("layers", [{ name: "logits", node: ops.contract(inner, down, ["to"]) }], [ids]);
})();

const next = seeded(4);
const weights = new Map<string, HostTensor>();
for (const n of graph.inputs.filter((n) => n.op === "parameter")) {
  const axes = n.type.axes as { name: string; size: number }[];
  weights.set(inputName(n), tensorFor("f32", axes, draw(n.type, { low: -1, high: 1 }, next)));
}
const ids = hostTensor("i32", [{ name: "batch", size: 3 }], [7, 0, 49]);
const source: WeightSource = (p) => weights.get(inputName(p));
const want = (parameters: ReadonlyMap<string, HostTensor> = weights): Record<string, HostTensor> => {
  const values = new Map([...parameters].map(([name, t]) => [name, Float64Array.from(t.data)]));
  const data = reference(graph, values.set("ids", Float64Array.from(ids.data)), { batch: 3 }).get("logits")!;
  const axes = [
    { name: "batch", size: 3 },
    { name: "class", size: 40 },
  ];
  return { logits: { dtype: "f32", axes, data } };
};

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-onnx-"));
  path = join(folder, "model.onnx");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A weight in pieces of odd lengths, as a reader of a large file might give it. */
function* pieces(t: HostTensor): Generator<Uint8Array> {
  const bytes = new Uint8Array(t.data.buffer as ArrayBuffer, t.data.byteOffset, t.data.byteLength);
  for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 7) % 1013) {
    yield bytes.subarray(at, at + length);
  }
}

describe("a written model", () => {
  const cases = [
    { dtype: "f32", largest: 1e-6 },
    { dtype: "f16", largest: 2e-3 }, // 11 bits, a few roundings
    { dtype: "int4", largest: 0.3 }, // half a step of 1/7, averaged over a row
    { dtype: "int8", largest: 3e-2 }, // half a step of 1/127, averaged over a row
  ] as const;

  it.each(cases)("$dtype, weights inside", async ({ dtype, largest }) => {
    const written = await writeOnnx(path, exportOnnx(graph, { dtype, opset: 21 }), source);
    expect(written.files).toEqual([path]);
    const { maxRelDiff } = await verifyExport(path, { ids }, want());
    expect(maxRelDiff).toBeLessThan(largest);
    expect(maxRelDiff).toBeGreaterThan(0);
  });

  it.each(cases)("$dtype, weights beside it and given in pieces", async ({ dtype, largest }) => {
    const chunks: WeightSource = (p) => ({ dtype: "f32", chunks: pieces(weights.get(inputName(p))!) });
    const written = await writeOnnx(path, exportOnnx(graph, { dtype, opset: 21 }), chunks, { external: true });
    expect(readdirSync(folder).sort()).toEqual(["model.onnx", "model.onnx.data"]);
    expect(written.bytes).toBe(statSync(path).size + statSync(`${path}.data`).size);
    expect(statSync(path).size).toBeLessThan(6000);
    expect((await verifyExport(path, { ids }, want())).maxRelDiff).toBeLessThan(largest);
  });

  it.each(["int8", "int4"] as const)("%s computes what its rounded weights say", async (dtype) => {
    const model = exportOnnx(graph, { dtype, opset: 21 });
    await writeOnnx(path, model, source);
    const stored = model.stored.map(
      (t) => [inputName(t.parameter), storedValue(t, weights.get(inputName(t.parameter))!)] as const,
    );
    const expected = want(new Map(stored));
    expect((await verifyExport(path, { ids }, expected, { exactProducts: true })).maxRelDiff).toBeLessThan(1e-6);
    expect((await verifyExport(path, { ids }, want(), { exactProducts: true })).maxRelDiff).toBeGreaterThan(1e-3);
  });

  it.each(["int8", "int4"] as const)("%s is read by onnxruntime's own products as it lies", async (dtype) => {
    const model = exportOnnx(graph, { dtype, opset: 20, dialect: "onnxruntime" });
    await writeOnnx(path, model, source);
    const operators = decodeModel(readFileSync(path)).graph!.node!.map((n) => n.opType);
    expect(operators.filter((op) => op === "MatMulNBits")).toHaveLength(2);
    expect(operators).not.toContain("DequantizeLinear");
    const stored = model.stored.map(
      (t) => [inputName(t.parameter), storedValue(t, weights.get(inputName(t.parameter))!)] as const,
    );
    // What is multiplied is rounded to 8 bits too, in blocks of 32, on processors with instructions for it.
    expect((await verifyExport(path, { ids }, want(new Map(stored)))).maxRelDiff).toBeLessThan(1e-2);
  });

  it.each([false, true])("is verified in f32 where its products would round what they multiply", async (external) => {
    const model = exportOnnx(graph, { dtype: "int8", dialect: "onnxruntime" });
    await writeOnnx(path, model, source, { external });
    const stored = model.stored.map(
      (t) => [inputName(t.parameter), storedValue(t, weights.get(inputName(t.parameter))!)] as const,
    );
    const exactly = await verifyExport(path, { ids }, want(new Map(stored)), { exactProducts: true });
    expect(exactly.maxRelDiff).toBeLessThan(1e-6);
    expect(roundsOperands(decodeModel(readFileSync(path)))).toBe(true); // the file is not changed
  });

  it("is smaller the fewer bits a weight has", async () => {
    const sizes = await Promise.all(
      cases.map(async ({ dtype }) => (await encodeOnnx(exportOnnx(graph, { dtype, opset: 21 }), source)).length),
    );
    const [whole, half, quarter, eighth] = sizes.sort((a, b) => b - a) as [number, number, number, number];
    expect(half).toBeLessThan(0.6 * whole);
    expect(quarter).toBeLessThan(0.4 * whole);
    expect(eighth).toBeLessThan(0.3 * whole);
  });

  it("starts every external weight at a page, within its file", async () => {
    await writeOnnx(path, exportOnnx(graph), source, { external: true });
    const { graph: g } = decodeModel(readFileSync(path));
    const external = g!.initializer!.filter((t) => t.externalData!.length > 0);
    expect(external).toHaveLength(4);
    for (const t of external) {
      const entry = (key: string) => t.externalData!.find((e) => e.key === key)!.value!;
      expect(entry("location")).toBe("model.onnx.data");
      expect(Number(entry("offset")) % 4096).toBe(0);
    }
  });

  it("replaces an older one, and its weights", async () => {
    await writeOnnx(path, exportOnnx(graph), source, { external: true });
    const turned: WeightSource = (p) => {
      const t = weights.get(inputName(p))!;
      return { ...t, data: t.data.map((v) => -v) as typeof t.data };
    };
    await writeOnnx(path, exportOnnx(graph), turned, { external: true });
    expect(readdirSync(folder)).toHaveLength(2);
    expect((await verifyExport(path, { ids }, want())).maxAbsDiff).toBeGreaterThan(0.1);
  });
});

describe("what goes wrong is told, and leaves nothing behind", () => {
  const failing = (weightsOf: WeightSource, at = path) =>
    writeOnnx(at, exportOnnx(graph), weightsOf, { external: true });

  it("missing weights, all of them", async () => {
    const only: WeightSource = (p) => (inputName(p) === "table" ? weights.get("table") : undefined);
    await expect(failing(only)).rejects.toThrow(
      "3 of 4 weights have no value:\n  up.weight f32[to=64, from=48]\n  up.bias f32[to=64]\n  down.weight f32[class=40, to=64]",
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it("a weight that is too short or too long", async () => {
    const sized = (bytes: number): WeightSource => {
      return (p) =>
        inputName(p) === "up.bias" ? { dtype: "f32", chunks: [new Uint8Array(bytes)] } : weights.get(inputName(p));
    };
    await expect(failing(sized(255))).rejects.toThrow(
      'parameter "up.bias" (f32[to=64]) needs 256 bytes as f32; its value has 255',
    );
    await expect(failing(sized(300))).rejects.toThrow("its value has more");
    expect(readdirSync(folder)).toEqual([]);
  });

  it("a reader that fails in the middle", async () => {
    const broken: WeightSource = (p) => ({
      dtype: "f32",
      chunks: (function* () {
        yield new Uint8Array(4);
        throw new Error(`the disk with ${inputName(p)} is gone`);
      })(),
    });
    writeFileSync(path, "the model of before");
    await expect(failing(broken)).rejects.toThrow("the disk with table is gone");
    expect(readdirSync(folder)).toEqual(["model.onnx"]);
    expect(readFileSync(path, "utf8")).toBe("the model of before");
  });

  it("a folder that is not there", async () => {
    await expect(failing(source, join(folder, "no", "model.onnx"))).rejects.toThrow(/^cannot write .*ENOENT/);
  });

  it("a file that is no model", async () => {
    expect(() => decodeModel(new Uint8Array([255, 255, 255]), "weights.bin")).toThrow(
      "weights.bin is not an ONNX model",
    );
    expect(() => decodeModel(new Uint8Array(0))).toThrow("it has no graph");
  });
});

describe("verification", () => {
  it("names inputs that are not given and outputs that are not there", async () => {
    await writeOnnx(path, exportOnnx(graph), source);
    await expect(verifyExport(path, {}, { logit: want().logits! })).rejects.toThrow(
      `${path} cannot be verified:\n  its input "ids" is missing\n  it has no output "logit"`,
    );
  });

  it("finds a wrong number, a wrong shape and a number that is none", async () => {
    const bytes = await encodeOnnx(exportOnnx(graph), source);
    const { logits } = want();
    const changed = (change: (data: Float64Array) => void): Record<string, HostTensor> => {
      const data = Float64Array.from(logits!.data);
      change(data);
      return { logits: { ...logits!, data } };
    };
    const off = await verifyExport(
      bytes,
      { ids },
      changed((d) => (d[5]! += 0.25)),
    );
    expect(off.perOutput.logits!.maxAbsDiff).toBeCloseTo(0.25, 5);
    const nan = await verifyExport(
      bytes,
      { ids },
      changed((d) => (d[5] = Number.NaN)),
    );
    expect(nan.maxAbsDiff).toBe(Number.POSITIVE_INFINITY);
    const short = { logits: { ...logits!, axes: [...logits!.axes].reverse() } };
    expect((await verifyExport(bytes, { ids }, short)).maxAbsDiff).toBe(Number.POSITIVE_INFINITY);
  });
});
