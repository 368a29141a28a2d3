/** The end of an export: how each view of a stored or bound input that nodes use becomes an initializer or an input. */
import { type DType, inputName, type Node } from "../../../compiler/index.ts";
import type { WireType } from "../wire/elements.ts";
import { type Emission, emit, integers, type PlacedView, unique } from "./emission.ts";
import { dequantization, type Quantization, quantizationOf, scaleDims } from "./quantize.ts";
import { permOf, placeholder } from "./views.ts";

/** An initializer. */
export interface StoredPart {
  readonly name: string;
  readonly type: WireType;
  readonly dims: readonly number[];
}

/** A parameter in the file: its elements in the order of `perm`, under the dimensions in which they are used. */
export interface StoredTensor {
  readonly parameter: Node;
  /** Sizes of the parameter's axes, row-major, without those of 1. */
  readonly from: readonly number[];
  /** For each axis of the file's order, the axis of `from`. */
  readonly perm: readonly number[];
  /** The values; or integers and their scales. */
  readonly parts: readonly StoredPart[];
  readonly quantization?: Quantization;
}

/** A model input that reads a range of a tensor kept on the device. */
export interface BoundInput {
  readonly name: string;
  /** The parameter or state, and the first element of the range. */
  readonly tensor: string;
  readonly start: number;
  readonly dtype: DType;
  readonly dims: readonly number[];
}

export interface Placement {
  /** Placeholder names to names in the file. */
  readonly names: ReadonlyMap<string, string>;
  readonly stored: readonly StoredTensor[];
  readonly bound: readonly BoundInput[];
}

/** Settles every view that is used; may add nodes in front of all others. */
export function placeInputs(e: Emission): Placement {
  const used = new Set(e.nodes.flatMap((n) => n.input!.filter((i) => i.startsWith(placeholder))));
  const byNode = new Map<Node, string[]>();
  for (const [name, { node }] of e.views) {
    if (used.has(name)) byNode.set(node, [...(byNode.get(node) ?? []), name]);
  }
  const names = new Map<string, string>();
  const [stored, bound]: [StoredTensor[], BoundInput[]] = [[], []];
  const body = e.nodes.splice(0);
  for (const [node, views] of byNode) {
    if (e.kinds.get(node) === "bound") {
      for (const v of views) bound.push(bind(e, v, names));
    } else {
      e.at = node;
      stored.push(store(e, node, views, names, body));
    }
  }
  e.at = undefined;
  e.nodes.push(...body);
  return { names, stored, bound };
}

type Body = Emission["nodes"];

const sizes = (node: Node): number[] => node.type.axes.map((a) => a.size as number);
const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

function bind(e: Emission, view: string, names: Map<string, string>): BoundInput {
  const { node, start, dims } = e.views.get(view)!;
  const tensor = inputName(node);
  const length = product(dims);
  const whole = length === product(sizes(node));
  // The graph's own input names are taken: the whole tensor has its name, and ranges say which they are.
  const first = whole && ![...names.values()].includes(tensor);
  const name = first ? tensor : unique(e, whole ? tensor : `${tensor}[${start}:${start + length}]`);
  names.set(view, name);
  return { name, tensor, start, dtype: node.type.dtype, dims };
}

/** One use decides the order in the file; several are made from the parameter as it is declared. */
function store(
  e: Emission,
  node: Node,
  views: readonly string[],
  names: Map<string, string>,
  body: Body,
): StoredTensor {
  const name = inputName(node);
  const declared = sizes(node);
  const only = e.views.get(views[0]!)!;
  if (views.length === 1 && product(only.dims) === product(declared)) {
    const from = only.axes.map((a) => a.size as number);
    const tensor = { parameter: node, from, perm: permOf(only, only.order) };
    const quantization =
      e.options.weights === "plain" ? undefined : quantizationOf(node, only, body, views[0]!, e.options.weights);
    if (!quantization) {
      names.set(views[0]!, name);
      return { ...tensor, parts: [{ name, type: node.type.dtype, dims: only.dims }] };
    }
    const scale = unique(e, `${name}.scale`);
    names.set(views[0]!, emit(e, "DequantizeLinear", [name, scale], dequantization(quantization)));
    const parts: StoredPart[] = [
      { name, type: quantization.bits === 8 ? "i8" : "i4", dims: only.dims },
      { name: scale, type: node.type.dtype, dims: scaleDims(only.dims as [number, number], quantization) },
    ];
    return { ...tensor, quantization, parts };
  }
  for (const v of views) names.set(v, derive(e, name, declared, e.views.get(v)!));
  const real = declared.filter((s) => s !== 1);
  return {
    parameter: node,
    from: real,
    perm: real.map((_, i) => i),
    parts: [{ name, type: node.type.dtype, dims: declared }],
  };
}

/** The nodes that make a view of the parameter as it is declared. */
function derive(e: Emission, name: string, declared: readonly number[], view: PlacedView): string {
  const reshape = (from: string, dims: readonly number[]) => emit(e, "Reshape", [from, integers(e, dims)]);
  const axes = view.axes.map((a) => a.size as number);
  const perm = permOf(view, view.order);
  let value = name;
  let dims = declared;
  if (product(axes) !== product(declared)) {
    const end = view.start + product(axes);
    const flat = reshape(value, [-1]);
    value = emit(e, "Slice", [flat, integers(e, [view.start]), integers(e, [end]), integers(e, [0])]);
    dims = [product(axes)];
  }
  if (perm.some((p, i) => p !== i)) {
    value = emit(e, "Transpose", [same(dims, axes) ? value : reshape(value, axes)], { perm });
    dims = perm.map((p) => axes[p]!);
  }
  return same(dims, view.dims) ? value : reshape(value, view.dims);
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
