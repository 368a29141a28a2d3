/** Turns every used view of a stored or bound input into an initializer or a model input. */
import { inputName, type Node } from "../../../compiler/index.ts";
import { emit, integers, type PlacedView, unique, type Writer } from "../emit/emission.ts";
import { permOf } from "../emit/views.ts";
import type { Body } from "../forms/body.ts";
import type { BoundInput, StoredTensor } from "../forms/stored.ts";
import type { NodeProto } from "../wire/proto.ts";
import { renameValues } from "./rename-values.ts";
import { writerOn } from "./writer.ts";

/** Resolves every used view; nodes that derive one view from another precede all others. */
export function placeInputs(body: Body): Body {
  if (body.views.size === 0) return body;
  const used = new Set(body.nodes.flatMap((n) => n.input!.filter((i) => body.views.has(i))));
  const byNode = new Map<Node, NamedView[]>();
  for (const [name, view] of body.views) {
    if (used.has(name)) byNode.set(view.node, [...(byNode.get(view.node) ?? []), { ...view, name }]);
  }
  const writer = writerOn(body);
  const tables = new Set(body.nodes.filter(picksRows).map((n) => n.input![0]!));
  const outputs = new Set(body.results.map((r) => r.to));
  const names = new Map<string, string>();
  const [stored, bound]: [StoredTensor[], BoundInput[]] = [[], []];
  for (const [node, views] of byNode) {
    writer.at = node;
    if (body.kinds.get(node) === "bound") bound.push(...views.map((v) => bind(writer, v, names)));
    else stored.push(store(writer, node, views, { names, tables, outputs }));
  }
  const nodes = [...writer.nodes, ...renameValues(body.nodes, names)];
  const { constants, taken } = writer;
  return { ...body, nodes, constants, taken, views: new Map(), stored, bound };
}

interface NamedView extends PlacedView {
  /** Its placeholder name. */
  readonly name: string;
}

const sizes = (node: Node): number[] => node.type.axes.map((a) => a.size as number);
const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

function bind(w: Writer, { name: view, node, start, dims }: NamedView, names: Map<string, string>): BoundInput {
  const tensor = inputName(node);
  const length = product(dims);
  const whole = length === product(sizes(node));
  // A view of the whole tensor takes the graph's input name; a range's name includes its bounds.
  const first = whole && ![...names.values()].includes(tensor);
  const name = first ? tensor : unique(w, whole ? tensor : `${tensor}[${start}:${start + length}]`);
  names.set(view, name);
  return { name, tensor, start, dtype: node.type.dtype, dims };
}

const picksRows = ({ opType, attribute }: NodeProto): boolean =>
  opType === "Gather" && !attribute?.some((a) => a.name === "axis" && Number(a.i) !== 0);

interface Placing {
  /** The value that replaces each placeholder. */
  readonly names: Map<string, string>;
  /** Placeholders that a Gather reads rows of. */
  readonly tables: ReadonlySet<string>;
  /** Names of the file's outputs, which stored parameters may not have. */
  readonly outputs: ReadonlySet<string>;
}

/**
 * A single view determines the layout in the file. Of several views of one matrix, the one used as a table does, so
 * that its rows are contiguous. Otherwise all views are derived from the parameter in its declared layout.
 */
function store(w: Writer, node: Node, views: readonly NamedView[], { names, tables, outputs }: Placing): StoredTensor {
  const name = outputs.has(inputName(node)) ? unique(w, inputName(node)) : inputName(node);
  const type = node.type.dtype;
  const declared = sizes(node);
  const only = views[0]!;
  if (views.length === 1 && product(only.dims) === product(declared)) {
    names.set(only.name, name);
    const from = only.axes.map((a) => a.size as number);
    return { parameter: node, from, perm: permOf(only, only.order), parts: [{ name, type, dims: only.dims }] };
  }
  const table = views.find((v) => tables.has(v.name));
  if (table?.dims.length === 2 && views.every((v) => isSameMatrix(v, table))) {
    const perm = permOf(table, table.order);
    const { dims } = table;
    for (const v of views)
      names.set(v.name, v === table ? name : derive(w, name, dims, { ...v, axes: perm.map((i) => v.axes[i]!) }));
    return { parameter: node, from: table.axes.map((a) => a.size as number), perm, parts: [{ name, type, dims }] };
  }
  for (const v of views) names.set(v.name, derive(w, name, declared, v));
  const from = declared.filter((s) => s !== 1);
  return { parameter: node, from, perm: from.map((_, i) => i), parts: [{ name, type, dims: declared }] };
}

const isSameMatrix = (a: PlacedView, b: PlacedView): boolean =>
  a.start === 0 && a.axes.length === 2 && a.axes.every(({ size }, i) => size === b.axes[i]?.size);

/** Emits nodes that derive a view from the parameter's layout in the file. */
function derive(w: Writer, name: string, declared: readonly number[], view: PlacedView): string {
  const reshape = (from: string, dims: readonly number[]) => emit(w, "Reshape", [from, integers(w, dims)]);
  const axes = view.axes.map((a) => a.size as number);
  const perm = permOf(view, view.order);
  let value = name;
  let dims = declared;
  if (product(axes) !== product(declared)) {
    const end = view.start + product(axes);
    const flat = reshape(value, [-1]);
    value = emit(w, "Slice", [flat, integers(w, [view.start]), integers(w, [end]), integers(w, [0])]);
    dims = [product(axes)];
  }
  if (perm.some((p, i) => p !== i)) {
    value = emit(w, "Transpose", [same(dims, axes) ? value : reshape(value, axes)], { perm });
    dims = perm.map((p) => axes[p]!);
  }
  return same(dims, view.dims) ? value : reshape(value, view.dims);
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
