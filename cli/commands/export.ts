/** `heddle export`: a model and its weights as an ONNX file. */
import type { Activations, Dialect } from "../../backends/onnx/index.ts";
import {
  type Graph,
  graphSymbols,
  inputName,
  isFeed,
  selectOutputs,
  type TensorType,
  UsageError,
} from "../../compiler/index.ts";
import { weightsOf } from "../checkpoint.ts";
import { type GraphChoice, loadConfigured } from "../load.ts";
import { writeOnnxFile } from "../onnx-file.ts";
import type { VerifiedFile } from "../onnx-verification.ts";
import { bytes, json, table } from "../output.ts";
import { openParameters } from "../parameters.ts";
import { weightDtype } from "../precision.ts";

export interface ExportArguments extends GraphChoice {
  readonly out: string;
  readonly weights?: string;
  readonly seed: number;
  readonly dtype: string;
  readonly dialect?: Dialect;
  readonly activations?: Activations;
  readonly ids?: string;
  readonly opset?: number;
  readonly verify: boolean;
  readonly outputs?: readonly string[];
  readonly json: boolean;
}

const idTypes = ["int64", "int32"] as const;

export async function exportCommand(source: string, args: ExportArguments): Promise<number> {
  const begun = performance.now();
  const dtype = weightDtype(args.dtype);
  const weights = weightsOf(source, args.weights);
  const { graph: whole, runs, model, own } = await loadConfigured(source, { ...args, weights });
  const graph = args.outputs ? selectOutputs(whole, args.outputs) : whole;
  const ids = idTypeOf(args.ids, graph);
  const parameters = await openParameters(graph, model, weights, args.seed, own);
  try {
    const sizeNames = isDecoder(graph) ? decoderSizes : {};
    const options = {
      dtype,
      ...(args.dialect && { dialect: args.dialect }),
      ...(args.activations && { activations: args.activations }),
      ids,
      sizeNames,
      runs,
      verify: args.verify,
      ...(args.opset !== undefined && { opset: args.opset }),
    };
    const file = await writeOnnxFile(args.out, graph, (name) => parameters.read(name), options);
    const facts = {
      files: file.files,
      bytes: file.bytes,
      opset: file.opset,
      dtype,
      activations: args.activations ?? "float",
      ids,
      weights: parameters.origin,
      inputs: graph.inputs.filter(isFeed).map((n) => `${inputName(n)} ${axesText(n.type)}`),
      outputs: graph.outputs.map(({ name, node }) => `${file.outputs[name]} ${axesText(node.type)}`),
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

/** The requested type, else the usual one: decoders take ids, masks and positions as int64. */
function idTypeOf(asked: string | undefined, graph: Graph): (typeof idTypes)[number] {
  if (asked === undefined) return isDecoder(graph) ? "int64" : "int32";
  const found = idTypes.find((t) => t === asked);
  if (!found) throw new UsageError(`--ids must be one of ${idTypes.join(", ")}; got "${asked}"`);
  return found;
}

/**
 * Size names of decoders in Hugging Face's exporter: transformers.js starts with a past of `batch_size` rows and of
 * length 0 in any other dynamic dimension.
 */
const decoderSizes = { batch: "batch_size", tokens: "sequence_length", past: "past_sequence_length" };

/** True for a graph that reads or writes a KV cache. */
const isDecoder = (graph: Graph): boolean =>
  graph.inputs.some((n) => inputName(n).startsWith("past_key_values.")) ||
  graph.outputs.some(({ name }) => name.startsWith("present."));

/** The dimensions of a tensor of the file, in order: "[batch, row=64, column=64]" */
const axesText = ({ axes }: TensorType): string =>
  `[${axes.map(({ name, size }) => (name === String(size) ? name : `${name}=${size}`)).join(", ")}]`;

/** Inputs or outputs shown, at most: a decoder has two of each for every layer. */
const mostShown = 4;

const listed = (of: readonly string[]): string =>
  [...of.slice(0, mostShown), ...(of.length > mostShown ? [`and ${of.length - mostShown} more`] : [])].join(", ");

interface Facts {
  readonly files: readonly string[];
  readonly bytes: number;
  readonly opset: number;
  readonly dtype: string;
  readonly activations: Activations;
  readonly ids: string;
  readonly weights: string;
  /** Each with its dimensions. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly dynamic: readonly string[];
  readonly verified: VerifiedFile | null;
  readonly seconds: number;
  readonly peakMemory: number;
}

function describeVerified({ maxAbsDiff, against, rounding, roundsActivations }: VerifiedFile): string {
  const found = `largest difference ${maxAbsDiff.toExponential(2)} against ${against}`;
  if (rounding === undefined) return found;
  const them = roundsActivations ? "them and activations" : "them";
  return `${found} on the file's weights; rounding ${them} changed outputs by up to ${(100 * rounding).toPrecision(2)} %`;
}

const describe = (f: Facts): string =>
  `${table([
    ["files", f.files.join(", ")],
    ["size", `${bytes(f.bytes)}, ${f.dtype}, opset ${f.opset}`],
    ["weights", f.weights],
    ["inputs", listed(f.inputs)],
    ["outputs", listed(f.outputs)],
    ["dynamic sizes", f.dynamic.length > 0 ? f.dynamic.join(", ") : "none"],
    ["verified", f.verified ? describeVerified(f.verified) : "no (give --verify)"],
    ["took", `${f.seconds} s, peak memory ${bytes(f.peakMemory)}`],
  ])}\n`;
