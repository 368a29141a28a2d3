/** A graph exported, imported, and exported again: both files and what was imported compute the same. */
import { createRequire } from "node:module";
import type * as Ort from "onnxruntime-node";
import {
  type ExportOptions,
  encodeOnnx,
  exportOnnx,
  importOnnx,
  type OnnxImport,
  storedValue,
} from "../../../backends/onnx/index.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { bindSizes, type Graph, type HostTensor, inputName, type Sizes } from "../../../compiler/index.ts";
import { difference } from "../../models/support.ts";

const ort = createRequire(import.meta.url)("onnxruntime-node") as typeof Ort;
const types = { f32: "float32", f16: "float16", i32: "int32", u32: "uint32", bool: "bool" } as const;

export interface RoundTrip {
  readonly imported: OnnxImport;
  /** How far the graph that was read is off, relative to an output's largest value, computed in float64. */
  readonly read: number;
  /** How far the file that is written from it is off the first one, both in onnxruntime. */
  readonly written: number;
}

type Values = ReadonlyMap<string, HostTensor>;
type Outputs = Readonly<Record<string, ArrayLike<number>>>;

export async function roundTrip(graph: Graph, values: Values, options: ExportOptions = {}): Promise<RoundTrip> {
  const sizes = sizesOf(graph, values);
  const first = exportOnnx(graph, options);
  const bytes = await encodeOnnx(first, (p) => values.get(inputName(p)));
  const imported = await importOnnx(bytes, { name: graph.name });
  const weights = new Map<string, HostTensor>();
  for (const [name, { read }] of imported.parameters) weights.set(name, await read());
  const fed: Values = new Map([...values, ...weights]);
  // A graph that computes in f16 is written as it is: asked for f16 once more, an export would narrow further.
  const again = exportOnnx(imported.graph, options.dtype === "f16" ? { ...options, dtype: "f32" } : options);
  const rewritten = await encodeOnnx(again, (p) => weights.get(inputName(p)));
  const want = await run(bytes, values);
  const got = await run(rewritten, fed);
  const exact = evaluate(bindSizes(imported.graph, sizes), asDoubles(fed));
  const worst = (
    made: (output: string) => ArrayLike<number>,
    right: (output: string, file: string) => ArrayLike<number>,
  ) => Math.max(...Object.entries(first.outputs).map(([o, file]) => difference(made(file), right(o, file), 1e-3)));
  // What was read is judged in float64, as the graph that was written on the weights as the file has them.
  const stored = new Map(
    first.stored.map((t) => [inputName(t.parameter), storedValue(t, values.get(inputName(t.parameter))!)]),
  );
  const whole = evaluate(bindSizes(first.rounded ?? graph, sizes), asDoubles(new Map([...values, ...stored])));
  return {
    imported,
    read: worst(
      (file) => exact.get(file)!.data,
      (o) => whole.get(o)!.data,
    ),
    written: worst(
      (file) => got[again.outputs[file]!]!,
      (_, file) => want[file]!,
    ),
  };
}

const asDoubles = (values: Values) => new Map([...values].map(([n, t]) => [n, Float64Array.from(t.data)]));

/** What open sizes are, by the tensors given. */
function sizesOf(graph: Graph, values: Values): Sizes {
  const sizes: Record<string, number> = {};
  for (const node of graph.inputs)
    for (const { name, size } of node.type.axes) {
      const own = values.get(inputName(node))?.axes.find((a) => a.name === name)?.size;
      if (typeof size !== "number" && own !== undefined && /^\w+$/.test(String(size))) sizes[String(size)] = own;
    }
  return sizes;
}

async function run(bytes: Uint8Array, values: Values): Promise<Outputs> {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const feeds = Object.fromEntries(
    session.inputNames.map((name) => {
      const { dtype, data, axes } = values.get(name)!;
      return [
        name,
        new ort.Tensor(
          types[dtype] as "float32",
          data as Float32Array,
          axes.map((a) => a.size),
        ),
      ];
    }),
  );
  const made = await session.run(feeds);
  await session.release();
  return Object.fromEntries(Object.entries(made).map(([name, t]) => [name, t.data as Float32Array]));
}
