/** `heddle export`: a model and its weights as an ONNX file. */
import { type Graph, graphSymbols, selectOutputs, UsageError } from "../../compiler/index.ts";
import { weightsOf } from "../checkpoint.ts";
import { loadGraph } from "../load.ts";
import { writeOnnxFile } from "../onnx-file.ts";
import { bytes, json, table } from "../output.ts";
import { openParameters } from "../parameters.ts";

export interface ExportArguments {
  readonly out: string;
  readonly weights?: string;
  readonly set: readonly string[];
  readonly seed: number;
  readonly dtype: string;
  readonly opset?: number;
  readonly verify: boolean;
  readonly outputs?: readonly string[];
  readonly json: boolean;
}

const dtypes = ["f32", "f16", "int8", "int4"] as const;

export async function exportCommand(source: string, args: ExportArguments): Promise<number> {
  const begun = performance.now();
  const dtype = dtypes.find((d) => d === args.dtype);
  if (!dtype) throw new UsageError(`--dtype is one of ${dtypes.join(", ")}, not "${args.dtype}"`);
  const weights = weightsOf(source, args.weights);
  const whole = await loadGraph(source, { set: args.set, weights });
  const graph: Graph = args.outputs ? selectOutputs(whole, args.outputs) : whole;
  const parameters = await openParameters(graph, weights, args.seed);
  try {
    const options = { dtype, verify: args.verify, ...(args.opset !== undefined && { opset: args.opset }) };
    const file = await writeOnnxFile(args.out, graph, (name) => parameters.read(name), options);
    const facts = {
      files: file.files,
      bytes: file.bytes,
      opset: file.opset,
      dtype,
      weights: parameters.origin,
      dynamic: graphSymbols(graph),
      verified: file.verified ?? null,
      seconds: Math.round((performance.now() - begun) / 100) / 10,
      peakMemory: process.resourceUsage().maxRSS * 1024,
    };
    process.stdout.write(args.json ? `${json(facts)}\n` : describe(facts));
    return 0;
  } finally {
    await parameters.dispose();
  }
}

interface Facts {
  readonly files: readonly string[];
  readonly bytes: number;
  readonly opset: number;
  readonly dtype: string;
  readonly weights: string;
  readonly dynamic: readonly string[];
  readonly verified: { readonly maxAbsDiff: number; readonly against: string } | null;
  readonly seconds: number;
  readonly peakMemory: number;
}

const describe = (f: Facts): string =>
  `${table([
    ["files", f.files.join(", ")],
    ["size", `${bytes(f.bytes)}, ${f.dtype}, opset ${f.opset}`],
    ["weights", f.weights],
    ["dynamic sizes", f.dynamic.length > 0 ? f.dynamic.join(", ") : "none"],
    [
      "verified",
      f.verified
        ? `largest difference ${f.verified.maxAbsDiff.toExponential(2)} against ${f.verified.against}`
        : "no (give --verify)",
    ],
    ["took", `${f.seconds} s, at most ${bytes(f.peakMemory)} of memory`],
  ])}\n`;
