/** What an export may be asked for, and what follows where nothing is said. */
import { UsageError } from "../../compiler/index.ts";

/** The opsets that can be written: LayerNormalization came with 17, and onnxruntime-node 1.30 runs up to 26. */
export const opsets = { oldest: 17, newest: 26, usual: 20 } as const;

/** What the work is done in and what weights are stored as. */
export const exportDtypes = ["f32", "f16", "int8", "int4"] as const;

/** Whose operators a file may have. */
export const dialects = ["standard", "onnxruntime"] as const;
export type Dialect = (typeof dialects)[number];

/** What is multiplied by weight matrices: as it is, or rounded to integers at every run. */
export const activationTypes = ["float", "int8"] as const;
export type Activations = (typeof activationTypes)[number];

const idTypes = ["int32", "int64"] as const;

export interface ExportOptions {
  /** 17 to 26; default 20. */
  readonly opset?: number;
  /** How attention is written; the default, "primitives", is MatMul, Softmax, MatMul, which is right in every runtime. */
  readonly attention?: "primitives" | "operator";
  /**
   * "f32" (the default): as the graph says. "f16": parameters and most of the work in f16, sums, norms and the residual
   * stream in f32, inputs and outputs as they were. "int8": weight matrices as 8-bit integers with a scale for each
   * channel, work in f32; "int4": as 4-bit integers with a scale for each 32 of a channel, from opset 21 on, and tables
   * of which rows are picked as 8-bit ones.
   */
  readonly dtype?: (typeof exportDtypes)[number];
  /**
   * "int8", with weights of "int8": what is multiplied by weight matrices is rounded to 8 bits at every run, with one scale
   * for a whole tensor, and integers are multiplied. Default "float".
   */
  readonly activations?: Activations;
  /**
   * How inputs of i32 are fed: as they are by default, or as the 64-bit integers that tokenizers and the runtimes of
   * language models give, with a Cast after them. State keeps its type.
   */
  readonly ids?: "int32" | "int64";
  /** What open sizes are called in the file, by their names in the graph; by default the same. */
  readonly sizeNames?: Readonly<Record<string, string>>;
  /**
   * Default "standard": operators of the ONNX standard only. "onnxruntime": also its own, which are faster there: products
   * that read integers as they lie in the file, in blocks of 32, need not be made of the standard's when a file is opened.
   */
  readonly dialect?: Dialect;
  /**
   * Where parameters and state come from. "stored" (the default): parameters are initializers, state is fed.
   * "bound": both are inputs that read ranges of device memory; see `OnnxExport.bound`.
   */
  readonly residents?: "stored" | "bound";
  /** Written to the file as its producer's version. */
  readonly version?: string;
}

function requireOneOf(what: string, given: string, known: readonly string[]): void {
  if (!known.includes(given)) throw new UsageError(`the ${what} is one of ${known.join(", ")}, not "${given}"`);
}

/** The options of one export, all of them settled. */
export interface EmitOptions {
  readonly opset: number;
  /** "standard": operators of the ONNX standard. "onnxruntime": also operators that only onnxruntime has. */
  readonly dialect: Dialect;
  /** How attention is written: MatMul, Softmax, MatMul; or the Attention operator where it says exactly the same. */
  readonly attention: "primitives" | "operator";
  /** In which floats most of the work is done. */
  readonly precision: "f32" | "f16";
  /** How weight matrices are stored: as they are, or as integers of so many bits. */
  readonly weights: "plain" | 8 | 4;
  readonly activations: Activations;
  /** How inputs of i32 are fed. */
  readonly ids: "int32" | "int64";
  readonly residents: "stored" | "bound";
  readonly sizeNames: Readonly<Record<string, string>>;
  readonly version: string | undefined;
}

/** Throws UsageError for an opset that cannot be written, or that lacks what is asked for. */
export function settledOptions(options: ExportOptions = {}): EmitOptions {
  const { opset = opsets.usual, dtype = "f32" } = options;
  if (!Number.isInteger(opset) || opset < opsets.oldest || opset > opsets.newest) {
    throw new UsageError(`opset ${opset} cannot be written: take ${opsets.oldest} to ${opsets.newest}`);
  }
  const {
    activations = "float",
    dialect = "standard",
    attention = "primitives",
    ids = "int32",
    residents = "stored",
  } = options;
  requireOneOf("dtype", dtype, exportDtypes);
  requireOneOf("dialect", dialect, dialects);
  requireOneOf("type of ids", ids, idTypes);
  requireOneOf("type of activations", activations, activationTypes);
  if (activations === "int8" && dtype !== "int8")
    throw new UsageError(
      `activations of int8 are multiplied by weights of int8, and these are ${dtype}: take the dtype int8`,
    );
  if (dtype === "int4" && dialect === "standard" && opset < 21)
    throw new UsageError(`4-bit weights need opset 21 or newer, not ${opset}`);
  return {
    ...{ opset, dialect, attention, activations, ids, residents },
    precision: dtype === "f16" ? "f16" : "f32",
    weights: dtype === "int8" ? 8 : dtype === "int4" ? 4 : "plain",
    sizeNames: options.sizeNames ?? {},
    version: options.version,
  };
}
