/** Constant folding of a file's nodes, which is how shapes are computed. */
import { type Dim, type Node, opRecord, type RefTensor, topological } from "../../../compiler/index.ts";
import { broadcastShape } from "./broadcast.ts";
import { held, int64 } from "./elements.ts";
import type { NodeView } from "./node-view.ts";
import type { ImportRecord } from "./record.ts";
import { isNumbers, type Known, known, type Tensor, type Value } from "./values.ts";

/** Limit on the total elements of the nodes of a folded operator. */
const mostComputed = 2 ** 18;

/** The node's results, folded to constants unless that exceeds the limit or depends on inputs or symbolic sizes. */
export function folded(record: ImportRecord, view: NodeView): readonly (Value | undefined)[] | undefined {
  const made = record.build(view);
  // An operator on sequences is not folded.
  const values = (Array.isArray(made) ? made : [made]) as readonly (Value | undefined)[];
  const tensors = values.filter((v) => v?.kind === "tensor");
  const nodes = topological(tensors.map((t) => t.node));
  const size = nodes.reduce(
    (n, node) =>
      n + node.type.axes.reduce((k, a) => k * (typeof a.size === "number" ? a.size : Number.POSITIVE_INFINITY), 1),
    0,
  );
  if (!(size <= mostComputed)) return values;
  const results = new Map<Node, Float64Array>();
  for (const node of nodes) {
    const record = opRecord(node.op);
    if (record.source === "input" || record.source === "parameter" || record.source === "random") return values;
    const operands = node.operands.map((o): RefTensor => ({ type: o.type, data: results.get(o)! }));
    results.set(node, record.reference(operands, node.attrs, node.type));
  }
  return values.map((v) => (v?.kind === "tensor" ? computed(v, results) : v));
}

/** The elements of a result in ONNX's order. */
function computed(x: Tensor, results: ReadonlyMap<Node, Float64Array>): Known {
  const data = results.get(x.node)!;
  const { axes } = x.node.type;
  const strides = new Map<string, number>();
  let step = 1;
  for (let i = axes.length - 1; i >= 0; i--) {
    strides.set(axes[i]!.name, step);
    step *= axes[i]!.size as number;
  }
  const shape = x.shape as readonly number[];
  const own = x.axes.map((name) => (name === undefined ? 0 : strides.get(name)!));
  const values = new Float64Array(shape.reduce((n, d) => n * d, 1));
  for (let i = 0; i < values.length; i++) {
    let [rest, at] = [i, 0];
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]!) * own[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    values[i] = held(x.type, data[at]!);
  }
  return known(x.type, shape, values);
}

/** Like `folded`, for symbolic sizes: moved, or combined elementwise; undefined if a result would not be a size. */
export function foldedSizes(
  record: ImportRecord,
  view: NodeView,
  operands: readonly Known[],
): readonly Value[] | undefined {
  if (record.moves) return moved(record, view);
  if (!record.onSizes) return undefined;
  const shape = broadcastShape(
    view,
    operands.map((o) => o.shape),
  ) as number[];
  const count = shape.reduce((n, d) => n * d, 1);
  const made: Dim[] = [];
  for (let i = 0; i < count; i++) {
    const value = record.onSizes(...operands.map((o) => o.values[placeIn(o, shape, i)]!));
    if (value === undefined) return undefined;
    made.push(value);
  }
  const [result] = typesOf(record, view, operands);
  return [known(result, shape, made)];
}

/** Result types, found by building the record on placeholder numbers. */
function typesOf(record: ImportRecord, view: NodeView, operands: readonly Known[]) {
  const plain = view.with(
    operands.map((o) =>
      known(
        o.type,
        o.shape,
        Array.from(o.values, (v) => (typeof v === "number" ? v : 1)),
      ),
    ),
  );
  const made = record.build(plain);
  return [((Array.isArray(made) ? made[0] : made) as Value).type] as const;
}

function placeIn(o: Known, shape: readonly number[], i: number): number {
  const own = o.shape as readonly number[];
  let [rest, at, step] = [i, 0, 1];
  for (let d = shape.length - 1; d >= 0; d--) {
    const index = rest % shape[d]!;
    rest = Math.floor(rest / shape[d]!);
    const mine = d - shape.length + own.length;
    if (mine < 0) continue;
    if (own[mine] !== 1) at += index * step;
    step *= own[mine]!;
  }
  return at;
}

/** Folds the movement of indices instead of sizes, then looks up the sizes by index. */
function moved(record: ImportRecord, view: NodeView): readonly Value[] | undefined {
  const pool: Dim[] = [];
  const said = view.inputs.filter((v) => v && !isMoved(view, v as Known)) as Known[];
  if (said.some((v) => !isNumbers(v.values))) return undefined;
  const places = view.inputs.map((input) => {
    if (!input || !isMoved(view, input as Known)) return input;
    const start = pool.length;
    pool.push(...Array.from((input as Known).values));
    return known(
      int64,
      input.shape,
      Array.from((input as Known).values, (_, i) => start + i),
    );
  });
  const found = folded(record, view.with(places));
  if (!found || found.some((v) => v?.kind !== "known")) return undefined;
  return (found as Known[]).map((v) =>
    known(
      (view.inputs[0] as Known).type,
      v.shape,
      Array.from(v.values, (at) => pool[at as number]!),
    ),
  );
}

/** Whether an operand is moved data rather than a setting: the first operand, and all of Concat's. */
const isMoved = (view: NodeView, value: Known): boolean => value === view.inputs[0] || view.message.opType === "Concat";
