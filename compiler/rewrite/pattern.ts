/**
 * Patterns written with the ordinary op builders. A pattern is a graph built from sample values, one per variable. A
 * node matches if it is the same graph except at the samples; each variable is bound to what the node has in its place.
 */
import type { Dim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import { type AttrValue, attrKey, type Node } from "../ir/node.ts";
import { isConstant, opRecord } from "../ir/op.ts";
import type { Axis } from "../ir/type.ts";
import { input } from "../ops/index.ts";

/** A pattern variable with its sample; `T` is the type of what it binds. */
export interface Variable<T> {
  readonly kind: "tensor" | "attr";
  /** For an attribute: the value that marks its occurrences in the pattern. */
  readonly sample: AttrValue;
  readonly axes?: readonly Axis[];
  readonly dtype?: DType;
  /** Never set: a phantom field that carries T. */
  readonly bound?: T;
}

export type Variables = Readonly<Record<string, Variable<unknown>>>;
export type Bound<V extends Variables> = { readonly [K in keyof V]: V[K] extends Variable<infer T> ? T : never };

/** Matches any node: the axes and dtype only define the sample that the rule is checked on. */
export const tensor = (axes: Readonly<Record<string, number>> = {}, dtype: DType = "f32"): Variable<Node> => ({
  kind: "tensor",
  sample: null,
  axes: Object.entries(axes).map(([name, size]) => ({ name, size })),
  dtype,
});

const attr = <T>(sample: AttrValue): Variable<T> => ({ kind: "attr", sample });

export const axisName = (sample: string): Variable<string> => attr(sample);
export const axisNames = (...sample: string[]): Variable<readonly string[]> => attr(sample);
export const dim = (sample: number): Variable<Dim> => attr(sample);
/** A number: an attribute, or the value of a constant. */
export const number = (sample: number): Variable<number> => attr(sample);
export const dtype = (sample: DType): Variable<DType> => attr(sample);

/** The samples of variables, from which the pattern graph is built. */
export function samplesOf<V extends Variables>(variables: V): Bound<V> {
  const entries = Object.entries(variables).map(([name, v]) => [name, sampleOf(name, v)] as const);
  return Object.fromEntries(entries) as Bound<V>;
}

const sampleOf = (name: string, v: Variable<unknown>): unknown =>
  v.kind === "tensor" ? input(name, v.dtype ?? "f32", v.axes ?? []) : v.sample;

/** An input tensor for the example of a `nodeRule`. */
export const sampleTensor = (name: string, axes: Readonly<Record<string, number>>, dtype: DType = "f32"): Node =>
  input(
    name,
    dtype,
    Object.entries(axes).map(([axis, size]) => ({ name: axis, size })),
  );

export interface Pattern {
  readonly root: Node;
  /** Variable names by sample node. */
  readonly tensors: ReadonlyMap<Node, string>;
  /** Variable names by the `attrKey` of their sample. */
  readonly attrs: ReadonlyMap<string, string>;
}

export type Bindings = ReadonlyMap<string, unknown>;

export function pattern(variables: Variables, samples: Readonly<Record<string, unknown>>, root: Node): Pattern {
  const names = Object.keys(variables);
  const tensors = names.filter((n) => variables[n]!.kind === "tensor");
  const attrs = names.filter((n) => variables[n]!.kind === "attr");
  return {
    root,
    tensors: new Map(tensors.map((n) => [samples[n] as Node, n])),
    attrs: new Map(attrs.map((n) => [attrKey(samples[n] as AttrValue), n])),
  };
}

/** The variable bindings if `node` matches, else undefined. */
export const matchPattern = (p: Pattern, node: Node): Bindings | undefined => unify(p, p.root, node, new Map());

function unify(p: Pattern, sample: Node, node: Node, bound: Bindings): Bindings | undefined {
  const name = p.tensors.get(sample);
  if (name !== undefined) return bind(bound, name, node);
  if (sample.op !== node.op || sample.operands.length !== node.operands.length) return undefined;
  const attrs = isConstant(sample) ? unifyConstant(p, sample, node, bound) : unifyAttrs(p, sample, node, bound);
  if (!attrs) return undefined;
  const inOrder = unifyAll(p, sample.operands, node.operands, attrs);
  if (inOrder || !opRecord(sample.op).commutative) return inOrder;
  return unifyAll(p, sample.operands, node.operands.toReversed(), attrs);
}

function unifyAll(p: Pattern, samples: readonly Node[], nodes: readonly Node[], bound: Bindings): Bindings | undefined {
  let all: Bindings | undefined = bound;
  for (let i = 0; i < samples.length && all; i++) all = unify(p, samples[i]!, nodes[i]!, all);
  return all;
}

/** A constant matches in any dtype: builders give a number the dtype of the other operand. */
function unifyConstant(p: Pattern, sample: Node, node: Node, bound: Bindings): Bindings | undefined {
  if (node.attrs.value === undefined || node.type.axes.length > 0) return undefined;
  return unifyValue(p, sample.attrs.value!, node.attrs.value, bound);
}

function unifyAttrs(p: Pattern, sample: Node, node: Node, bound: Bindings): Bindings | undefined {
  const names = new Set([...Object.keys(sample.attrs), ...Object.keys(node.attrs)]);
  let all: Bindings | undefined = bound;
  for (const name of names) {
    const [a, b] = [sample.attrs[name], node.attrs[name]];
    if (a === undefined || b === undefined) return undefined;
    all = all && unifyValue(p, a, b, all);
  }
  return all;
}

/** A value equal to a variable's sample is bound whole; other lists are unified element by element. */
function unifyValue(p: Pattern, sample: AttrValue, value: AttrValue, bound: Bindings): Bindings | undefined {
  const key = attrKey(sample);
  const name = p.attrs.get(key);
  if (name !== undefined) return bind(bound, name, value);
  if (Array.isArray(sample) && Array.isArray(value)) {
    if (sample.length !== value.length) return undefined;
    let all: Bindings | undefined = bound;
    for (let i = 0; i < sample.length && all; i++) all = unifyValue(p, sample[i]!, value[i]!, all);
    return all;
  }
  return key === attrKey(value) ? bound : undefined;
}

/** All occurrences of a variable must bind to the same value. */
function bind(bound: Bindings, name: string, value: unknown): Bindings | undefined {
  if (!bound.has(name)) return new Map(bound).set(name, value);
  const known = bound.get(name);
  const same = known === value || (isAttr(known) && isAttr(value) && attrKey(known) === attrKey(value));
  return same ? bound : undefined;
}

const isAttr = (value: unknown): value is AttrValue =>
  typeof value !== "object" || value === null || !("operands" in value);
