/** Export options and their defaults. */
import { UsageError } from "../../compiler/index.ts";

/**
 * The supported opsets: 17 introduced LayerNormalization, 21 integers of 4 bits, and onnxruntime-node 1.30 runs up to
 * 26. The default is `usual`, or `int4` for standard files with 4-bit weights.
 */
export const opsets = { oldest: 17, newest: 26, usual: 20, int4: 21 } as const;

/** Compute precision and weight storage formats. */
export const exportDtypes = ["f32", "f16", "int8", "int4"] as const;

/** The operator sets that a file may use. */
export const dialects = ["standard", "onnxruntime"] as const;
export type Dialect = (typeof dialects)[number];

/** Left operands of weight matmuls: floats, or dynamically quantized. */
export const activationTypes = ["float", "int8"] as const;
export type Activations = (typeof activationTypes)[number];

const idTypes = ["int32", "int64"] as const;

export interface ExportOptions {
  /** 17 to 26; default 20. */
  readonly opset?: number;
  /** How attention is written; the default, "primitives", is MatMul, Softmax, MatMul, which every runtime supports. */
  readonly attention?: "primitives" | "operator";
  /**
   * "f32" (the default): as in the graph. "f16": parameters and most of the compute in f16; sums, norms and the
   * residual stream in f32; inputs and outputs unchanged. "int8": weight matrices as 8-bit integers with per-channel
   * scales, compute in f32. "int4": as 4-bit integers with a scale per block of 32 along a channel (from opset 21 in
   * the standard dialect), and embedding tables as 8-bit integers.
   */
  readonly dtype?: (typeof exportDtypes)[number];
  /**
   * "int8", which needs weights of "int8": the left operand of a weight matmul is dynamically quantized to 8 bits, with
   * one scale per tensor, for an integer matmul. Default "float".
   */
  readonly activations?: Activations;
  /**
   * The type of fed i32 inputs: int32 by default, or int64, as tokenizers and LLM runtimes produce, followed by a Cast.
   * State keeps its type.
   */
  readonly ids?: "int32" | "int64";
  /** Names of symbolic sizes in the file, by their names in the graph; default: the same. */
  readonly sizeNames?: Readonly<Record<string, string>>;
  /**
   * "standard" (the default): only ONNX standard operators. "onnxruntime": also its contrib operators, which are faster
   * there: its matmuls read the file's integers directly, in blocks of 32, without repacking when the file is opened.
   */
  readonly dialect?: Dialect;
  /**
   * Where parameters and state live. "stored" (the default): parameters are initializers, state is fed.
   * "bound": both are inputs that read ranges of device memory; see `OnnxExport.bound`.
   */
  readonly residents?: "stored" | "bound";
  /** Written to the file as the producer version. */
  readonly version?: string;
}

function requireOneOf(what: string, given: string, known: readonly string[]): void {
  if (!known.includes(given)) throw new UsageError(`the ${what} must be one of ${known.join(", ")}, got "${given}"`);
}

/** Fully resolved options of one export. */
export interface EmitOptions {
  readonly opset: number;
  /** "standard": ONNX standard operators. "onnxruntime": also its contrib operators. */
  readonly dialect: Dialect;
  /** How attention is written: MatMul, Softmax, MatMul; or the Attention operator where it is equivalent. */
  readonly attention: "primitives" | "operator";
  /** The float type of most of the compute. */
  readonly precision: "f32" | "f16";
  /** How weight matrices are stored: as floats, or as integers of this many bits. */
  readonly weights: "plain" | 8 | 4;
  readonly activations: Activations;
  /** The type of fed i32 inputs. */
  readonly ids: "int32" | "int64";
  readonly residents: "stored" | "bound";
  readonly sizeNames: Readonly<Record<string, string>>;
  readonly version: string | undefined;
}

/** Resolves defaults. Throws UsageError for an unsupported opset, or one that lacks a requested feature. */
export function settledOptions(options: ExportOptions = {}): EmitOptions {
  const { dtype = "f32", dialect = "standard" } = options;
  const isInt4 = dtype === "int4" && dialect === "standard";
  const { opset = isInt4 ? opsets.int4 : opsets.usual } = options;
  if (!Number.isInteger(opset) || opset < opsets.oldest || opset > opsets.newest) {
    throw new UsageError(`opset ${opset} is not supported: use ${opsets.oldest} to ${opsets.newest}`);
  }
  const { activations = "float", attention = "primitives", ids = "int32", residents = "stored" } = options;
  requireOneOf("dtype", dtype, exportDtypes);
  requireOneOf("dialect", dialect, dialects);
  requireOneOf("type of ids", ids, idTypes);
  requireOneOf("type of activations", activations, activationTypes);
  if (activations === "int8" && dtype !== "int8")
    throw new UsageError(`int8 activations require int8 weights, but these are ${dtype}: use the dtype int8`);
  if (isInt4 && opset < opsets.int4)
    throw new UsageError(`4-bit weights require opset ${opsets.int4} or newer, got ${opset}`);
  return {
    ...{ opset, dialect, attention, activations, ids, residents },
    precision: dtype === "f16" ? "f16" : "f32",
    weights: dtype === "int8" ? 8 : dtype === "int4" ? 4 : "plain",
    sizeNames: options.sizeNames ?? {},
    version: options.version,
  };
}
