/** A graph as an ONNX model in memory: its messages, and what of it is stored or bound when it is written or run. */
import {
  type Dim,
  type Graph,
  inputName,
  type Node,
  nodesOf,
  printDim,
  symbolsOf,
  type TensorType,
  UsageError,
  withoutCapture,
} from "../../../compiler/index.ts";
import { isResident } from "../../feeds.ts";
import { type WireType, wireCodes } from "../wire/elements.ts";
import { irVersionOf, type ModelProto, type TensorProto, type ValueInfoProto } from "../wire/proto.ts";
import { countOrder } from "./elementwise.ts";
import { addNode, castTo, type Emission, type EmitOptions, emission, type InputKind } from "./emission.ts";
import { inHalf } from "./half.ts";
import { layoutHints } from "./hints.ts";
import { whole } from "./layout.ts";
import { lower } from "./lower.ts";
import { type BoundInput, placeInputs, type StoredTensor } from "./placement.ts";
import { emitNode, isExpressible } from "./table.ts";
import { first, separate, type Tensor, tensor, value } from "./value.ts";
import { placeView, wholeView } from "./views.ts";

/** The opsets that can be written: LayerNormalization came with 17, and onnxruntime-node 1.30 runs up to 26. */
export const opsets = { oldest: 17, newest: 26, usual: 20 } as const;

export interface ExportOptions {
  /** 17 to 26; default 20. */
  readonly opset?: number;
  /** How attention is written; default MatMul, Softmax, MatMul, which is right in every runtime. */
  readonly attention?: "primitives" | "operator";
  /**
   * "f32" (the default): as the graph says. "f16": parameters and most of the work in f16, sums, norms and the residual
   * stream in f32, inputs and outputs as they were. "int8": weight matrices as 8-bit integers with a scale for each
   * channel, work in f32; "int4": as 4-bit integers with a scale for each 32 of a channel, from opset 21 on.
   */
  readonly dtype?: "f32" | "f16" | "int8" | "int4";
  /**
   * How inputs of i32 are fed: as they are (the default), or as the 64-bit integers that tokenizers and the runtimes of
   * language models give, followed by a Cast. State keeps its type.
   */
  readonly ids?: "int32" | "int64";
  /** What open sizes are called in the file, by their names in the graph; default the same. */
  readonly sizeNames?: Readonly<Record<string, string>>;
  /** Default: operators of the standard only. */
  readonly dialect?: "standard" | "onnxruntime";
  /**
   * Where parameters and state come from. "stored" (the default): parameters are initializers, state is fed.
   * "bound": both are inputs that read ranges of device memory; see `OnnxExport.bound`.
   */
  readonly residents?: "stored" | "bound";
  /** Written to the file as its producer's version. */
  readonly version?: string;
}

export interface OnnxExport {
  /** The model without the bytes of the stored tensors. */
  readonly model: ModelProto;
  readonly graph: Graph;
  readonly opset: number;
  readonly stored: readonly StoredTensor[];
  readonly bound: readonly BoundInput[];
  /** Names in the file of the graph's outputs, by their names in the graph. */
  readonly outputs: Readonly<Record<string, string>>;
}

/** Throws UsageError for an opset out of range and UnsupportedError naming every op that cannot be expressed. */
export function exportOnnx(graph: Graph, options: ExportOptions = {}): OnnxExport {
  return withoutCapture(() => exportGraph(graph, options));
}

function exportGraph(graph: Graph, options: ExportOptions): OnnxExport {
  const emitOptions = emitOptionsOf(options);
  const typed = options.dtype === "f16" ? inHalf(graph, (n) => isExpressible(n, emitOptions)) : graph;
  const lowered = lower(typed, emitOptions);
  const kinds = new Map(lowered.inputs.map((n) => [n, kindOf(n, lowered, options.residents ?? "stored")] as const));
  const outputNames = nameOutputs(lowered);
  const names = [...lowered.inputs.map(inputName), ...Object.values(outputNames)];
  const e = emission(lowered, emitOptions, kinds, layoutHints(lowered), names);
  const results = emitAll(e);
  const claimed = new Set<string>();
  const finals = lowered.outputs.map((o) => finish(e, results.get(o.node)!, o.node, outputNames[o.name]!, claimed));
  prune(e, new Set(finals.map((f) => f.from)));
  const placed = placeInputs(e);
  renameValues(e, new Map([...placed.names, ...finals.map((f) => [f.from, f.to] as const)]));
  return {
    model: assemble(e, options, placed.bound, finals),
    graph,
    opset: emitOptions.opset,
    stored: placed.stored,
    bound: placed.bound,
    outputs: outputNames,
  };
}

function emitOptionsOf(options: ExportOptions): EmitOptions {
  const opset = options.opset ?? opsets.usual;
  if (!Number.isInteger(opset) || opset < opsets.oldest || opset > opsets.newest) {
    throw new UsageError(`opset ${opset} cannot be written: take ${opsets.oldest} to ${opsets.newest}`);
  }
  if (options.dtype === "int4" && opset < 21) {
    throw new UsageError(`4-bit weights need opset 21 or newer, not ${opset}`);
  }
  const bits = { int8: 8, int4: 4 } as const;
  return {
    opset,
    dialect: options.dialect ?? "standard",
    attention: options.attention ?? "primitives",
    ids: options.ids ?? "int32",
    weights: options.dtype === "int8" || options.dtype === "int4" ? bits[options.dtype] : "plain",
  };
}

const isStatic = (t: TensorType): boolean => t.axes.every((a) => symbolsOf(a.size).length === 0);

function kindOf(node: Node, graph: Graph, residents: "stored" | "bound"): InputKind {
  if (!isStatic(node.type)) return "fed";
  if (residents === "bound") return isResident(node) ? "bound" : "fed";
  return node.op === "parameter" && !Object.values(graph.updates).includes(inputName(node)) ? "stored" : "fed";
}

/** An output keeps its name, unless an input has it too: then it is followed by "_out". */
function nameOutputs(graph: Graph): Record<string, string> {
  const taken = new Set(graph.inputs.map(inputName));
  for (const { name } of graph.outputs) if (!taken.has(name)) taken.add(name);
  return Object.fromEntries(
    graph.outputs.map(({ name }) => {
      if (!graph.inputs.some((n) => inputName(n) === name)) return [name, name];
      let free = `${name}_out`;
      while (taken.has(free)) free += "_";
      taken.add(free);
      return [name, free];
    }),
  );
}

function emitAll(e: Emission): Map<Node, Tensor> {
  const results = new Map<Node, Tensor>();
  for (const node of nodesOf(e.graph)) {
    e.at = node;
    const kind = e.kinds.get(node);
    const operands = node.operands.map((o) => results.get(o)!);
    const result = kind ? source(e, node, kind) : emitNode(e, node, operands);
    countOrder(e, first(result));
    results.set(node, result);
  }
  e.at = undefined;
  return results;
}

function source(e: Emission, node: Node, kind: InputKind): Tensor {
  const groups = separate(node.type.axes);
  if (kind === "fed") {
    const name = castTo(e, inputName(node), fedType(e.options, node), node.type.dtype);
    return tensor(value(name, node.type.dtype, groups));
  }
  const order = node.type.axes.filter((a) => a.size !== 1).map((a) => a.name);
  return tensor(placeView(e, wholeView(node), order, groups, node.type.dtype));
}

/** The type in which an input is fed. */
const fedType = ({ ids }: EmitOptions, node: Node): WireType =>
  ids === "int64" && node.type.dtype === "i32" && !isResident(node) ? "i64" : node.type.dtype;

interface FinalValue {
  /** The value's name while exporting. */
  readonly from: string;
  readonly to: string;
  readonly type: TensorType;
}

/** The output in its declared axes; through an Identity where its value has a name that must stay, or is an output already. */
function finish(e: Emission, t: Tensor, node: Node, to: string, claimed: Set<string>): FinalValue {
  e.at = node;
  const v = whole(e, t, node.type.axes);
  const free = e.nodes.some((n) => n.output![0] === v.name) && !claimed.has(v.name);
  const from = free ? v.name : addNode(e, "Identity", [v.name]);
  claimed.add(from);
  e.at = undefined;
  return { from, to, type: node.type };
}

/** Drops nodes that nothing needs, such as statistics that a norm gave after all. */
function prune(e: Emission, needed: Set<string>): void {
  const kept = e.nodes
    .splice(0)
    .reverse()
    .filter((n) => {
      if (!n.output!.some((o) => needed.has(o))) return false;
      for (const i of n.input!) needed.add(i);
      return true;
    });
  e.nodes.push(...kept.reverse());
  for (const [key, c] of e.constants) if (!needed.has(c.name)) e.constants.delete(key);
}

function renameValues(e: Emission, names: ReadonlyMap<string, string>): void {
  const renamed = (n: string) => names.get(n) ?? n;
  for (const node of e.nodes) {
    node.input = node.input!.map(renamed);
    node.output = node.output!.map(renamed);
  }
}

function assemble(
  e: Emission,
  options: ExportOptions,
  bound: readonly BoundInput[],
  finals: readonly FinalValue[],
): ModelProto {
  const fed = e.graph.inputs.filter((n) => e.kinds.get(n) === "fed");
  const info = (name: string, type: TensorType, as?: WireType) => valueInfo(name, type, options.sizeNames ?? {}, as);
  const domains = [...new Set(e.nodes.map((n) => n.domain ?? ""))].filter((d) => d !== "");
  return {
    irVersion: irVersionOf(e.options.opset),
    producerName: "heddle",
    ...(options.version !== undefined && { producerVersion: options.version }),
    opsetImport: [{ domain: "", version: e.options.opset }, ...domains.map((domain) => ({ domain, version: 1 }))],
    graph: {
      name: e.graph.name,
      node: e.nodes,
      initializer: [...e.constants.values()].map(
        (c): TensorProto => ({ name: c.name, dims: [...c.dims], dataType: wireCodes[c.type], rawData: c.bytes }),
      ),
      input: [...fed.map((n) => info(inputName(n), n.type, fedType(e.options, n))), ...bound.map(boundInfo)],
      output: finals.map((f) => info(f.to, f.type)),
    },
  };
}

/** A named value with its axes: sizes as numbers or symbols, and each axis's name as the dimension's denotation. */
function valueInfo(
  name: string,
  type: TensorType,
  sizeNames: Readonly<Record<string, string>>,
  as: WireType = type.dtype,
): ValueInfoProto {
  const named = (size: Dim) => printDim(size, ({ name }) => sizeNames[name] ?? name);
  const dim = type.axes.map((a) => ({
    ...(typeof a.size === "number" ? { dimValue: a.size } : { dimParam: named(a.size) }),
    denotation: a.name,
  }));
  return { name, type: { tensorType: { elemType: wireCodes[as], shape: { dim } } } };
}

const boundInfo = ({ name, dtype, dims }: BoundInput): ValueInfoProto => ({
  name,
  type: { tensorType: { elemType: wireCodes[dtype], shape: { dim: dims.map((d) => ({ dimValue: d })) } } },
});
