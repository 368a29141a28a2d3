/** The end of an export: how each view of a stored or bound input that nodes use becomes an initializer or an input. */
import { type DType, inputName, type Node } from "../../../compiler/index.ts";
import type { WireType } from "../wire/elements.ts";
import { type Emission, emit, integers, type PlacedView, unique } from "./emission.ts";
import { permOf, placeholder } from "./views.ts";

/** A parameter in the file: its elements in the order of `perm`, under the dimensions in which they are used. */
export interface StoredTensor {
  /** Its name in the file, which is the parameter's. */
  readonly name: string;
  readonly parameter: Node;
  readonly type: WireType;
  /** Sizes of the parameter's axes, row-major, without those of 1. */
  readonly from: readonly number[];
  /** For each axis of the file's order, the axis of `from`; the identity when the order stays. */
  readonly perm: readonly number[];
  readonly dims: readonly number[];
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
  for (const name of e.views.keys()) {
    if (!used.has(name)) continue;
    const { node } = e.views.get(name)!;
    byNode.set(node, [...(byNode.get(node) ?? []), name]);
  }
  const names = new Map<string, string>();
  const [stored, bound]: [StoredTensor[], BoundInput[]] = [[], []];
  const body = e.nodes.splice(0);
  for (const [node, views] of byNode) {
    if (e.kinds.get(node) === "bound") for (const v of views) bound.push(bind(e, v, names));
    else stored.push(store(e, node, views, names));
  }
  e.nodes.push(...body);
  return { names, stored, bound };
}

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
function store(e: Emission, node: Node, views: readonly string[], names: Map<string, string>): StoredTensor {
  const name = inputName(node);
  const only = e.views.get(views[0]!)!;
  const real = sizes(node).filter((s) => s !== 1);
  const base = { name, parameter: node, type: node.type.dtype, from: real };
  if (views.length === 1 && product(only.dims) === product(real)) {
    names.set(views[0]!, name);
    return { ...base, perm: permOf(only, only.order), dims: only.dims, ...declaredFrom(only) };
  }
  for (const v of views) names.set(v, derive(e, name, sizes(node), e.views.get(v)!));
  return { ...base, perm: real.map((_, i) => i), dims: sizes(node) };
}

/** A view's axes may be the parameter's, split or merged. */
const declaredFrom = (view: PlacedView) => ({ from: view.axes.map((a) => a.size as number) });

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
