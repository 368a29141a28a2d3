/** ONNX's own tests of single operators, as scripts/reference/onnx-nodes.py packed them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { importOnnx, type OnnxImport } from "../../../backends/onnx/import/index.ts";
import { readModel, readTensor } from "../../../backends/onnx/import/messages.ts";
import { fileTensor } from "../../../backends/onnx/import/weights.ts";
import { evaluate } from "../../../backends/reference/index.ts";

export interface NodeTest {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  readonly model: Uint8Array;
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
}

export function readNodeTests(folder: string): NodeTest[] {
  const files = readdirSync(folder).filter((f) => f.endsWith(".bin.gz"));
  return files.flatMap((f) => unpacked(gunzipSync(readFileSync(join(folder, f)))));
}

function unpacked(bytes: Uint8Array): NodeTest[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tests: NodeTest[] = [];
  for (let at = 0; at < bytes.length; ) {
    const parts = Array.from({ length: view.getUint32((at += 4) - 4, true) }, () => {
      const length = view.getUint32(at, true);
      const part = bytes.subarray(at + 4, at + 4 + length);
      at += 4 + length;
      return part;
    });
    const [said, model, ...tensors] = parts as [Uint8Array, Uint8Array, ...Uint8Array[]];
    const { inputs, ...rest } = JSON.parse(new TextDecoder().decode(said)) as {
      inputs: number;
      name: string;
      rtol: number;
      atol: number;
    };
    tests.push({ ...rest, model, inputs: tensors.slice(0, inputs), outputs: tensors.slice(inputs) });
  }
  return tests;
}

const valuesOf = (bytes: Uint8Array) => {
  const { shape, values, type } = fileTensor(readTensor(bytes, "test data"), undefined);
  return { shape, type, data: Float64Array.from(values!()) };
};

/** Imports the model, computes it in float64, and compares. Throws where something differs. */
export async function runNodeTest(test: NodeTest): Promise<void> {
  const names = readModel(test.model, test.name).graph.input.map((i) => i.name);
  const given = new Map(names.map((name, i) => [name, valuesOf(test.inputs[i]!).data]));
  const { graph, parameters } = await imported(test, names, given);
  for (const [name, { read }] of parameters) given.set(name, Float64Array.from((await read()).data));
  const made = evaluate(graph, given);
  test.outputs.forEach((bytes, i) => {
    const expected = valuesOf(bytes);
    const { type, data } = made.get(graph.outputs[i]!.name)!;
    const shape = type.axes.map((a) => a.size);
    if (shape.join() !== expected.shape.join()) throw new Error(`output ${i} is [${shape}], not [${expected.shape}]`);
    const exact = expected.type.range !== undefined;
    data.forEach((v, k) => {
      const wanted = expected.data[k]!;
      const fine = Object.is(v, wanted) || v === wanted || (!exact && near(v, wanted, test, expected.type.name));
      if (!fine) throw new Error(`output ${i}, element ${k}: ${v}, not ${wanted}`);
    });
  });
}

/**
 * What steers an operator must be known when it is imported: the operands after the first, or where that steers too,
 * all.
 */
async function imported(
  test: NodeTest,
  names: readonly string[],
  given: ReadonlyMap<string, Float64Array>,
): Promise<OnnxImport> {
  let last: unknown;
  for (const known of [[], names.slice(1), names]) {
    try {
      const constants = Object.fromEntries(known.map((name) => [name, given.get(name)!]));
      return await importOnnx(test.model, { name: test.name, constants });
    } catch (error) {
      last = error;
      if (!/must be a constant to import|depend/.test(String(error))) break;
    }
  }
  throw last;
}

/** As numpy's allclose, with what f16 and bfloat16 round added: the interpreter computes those in float64. */
function near(value: number, wanted: number, { rtol, atol }: NodeTest, type: string): boolean {
  const rounding = type === "float16" ? 2e-3 : type === "bfloat16" ? 1.6e-2 : 0;
  return Math.abs(value - wanted) <= Math.max(atol, 1e-6) + rounding + (rtol + rounding) * Math.abs(wanted);
}
