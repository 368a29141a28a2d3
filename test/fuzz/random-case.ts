/**
 * Random graphs like those of training and generation: forward values with their gradients, outputs that are parts of
 * one another, states that are read, written, swapped and shifted. A case depends on its seed alone, on every machine.
 */
import {
  bindSizes,
  type Dim,
  differentiate,
  type Graph,
  inputName,
  isParameter,
  makeGraph,
  type Node,
  type OpRecord,
  type Output,
  opRecords,
  ops,
  type Sizes,
  symbol,
  UsageError,
} from "../../compiler/index.ts";
import { type Choose, seededChooser } from "../support/random-graph.ts";
import {
  addInput,
  type Draft,
  elements,
  fit,
  inputRange,
  isFloat,
  named,
  pick,
  randomAxes,
  recent,
  shuffled,
  step,
  type Value,
} from "../support/random-steps.ts";
import { draw, seeded } from "../support/samples.ts";
import { steps } from "./steps.ts";
import type { Values } from "./tolerance.ts";

export interface FuzzCase {
  /** Sizes may be symbols. */
  readonly graph: Graph;
  /** Several bindings of the symbols; one empty record where there are none. */
  readonly bindings: readonly Sizes[];
  /** Whether any size is a symbol. */
  readonly open: boolean;
}

const chance = (d: Draft, one: number): boolean => d.choose(one) === 0;

/** Most graphs are small, so that many are drawn; some are large enough for tiles and several workgroups. */
const shapes: readonly { readonly sizes: readonly number[]; readonly maxElements: number }[] = [
  { sizes: [1, 2, 3, 4, 5], maxElements: 200 },
  { sizes: [1, 2, 3, 5, 7, 8, 9], maxElements: 400 },
  { sizes: [1, 1, 2, 3], maxElements: 100 },
  { sizes: [1, 3, 6, 65], maxElements: 1000 },
  { sizes: [1, 2, 5, 65, 257], maxElements: 1500 },
];

/** Successive values of the symbols n and past: larger, smaller and larger again. */
const bindings: readonly Sizes[] = [
  { n: 5, past: 3 },
  { n: 2, past: 1 },
  { n: 9, past: 2 },
  { n: 3, past: 17 },
];

/** Symbols may have declared maxima, for which memory is allocated: both, one or none. */
const [n, past] = (["n", "past"] as const).map((s) => symbol(s, { max: Math.max(...bindings.map((b) => b[s]!)) }));
const maxima: readonly Readonly<Record<string, Dim>>[] = [{}, { n: n! }, { past: past! }, { n: n!, past: past! }];

export const fuzzCase = (seed: number): FuzzCase => randomCase(seededChooser(seed));

export function randomCase(choose: Choose): FuzzCase {
  const shape = shapes[choose(10) < 8 ? choose(3) : 3 + choose(2)]!;
  const options = {
    ops: (r: OpRecord) => r.kind !== "composite", // steps.ts builds those from existing values
    ...shape,
    jumps: choose(3) === 0,
    f16: false,
    symbols: choose(5) === 0,
  };
  const d: Draft = { choose, options, values: [], declared: [], fresh: 0 };
  const wide = addInput(d, "f32", randomAxes(d, 4));
  if (options.symbols) for (const size of ["n", "past"]) addSizeInput(d, size);
  addInput(d, "f32", wide.node.type.axes.slice(-1));
  if (chance(d, 2)) addInput(d, "i32", wide.node.type.axes.slice(0, 1));
  const states = Array.from({ length: chance(d, 3) ? 1 + choose(3) : 0 }, (_, i) => addState(d, `state${i}`, wide));
  grow(d, 1 + choose(14));
  const gradients = chance(d, 2) ? gradientsOf(d) : [];
  return assemble(d, states, gradients);
}

const records = opRecords().filter((r) => r.kind !== "source" && r.kind !== "composite");
const kinds = [
  "elementwise",
  "elementwise",
  "elementwise",
  "reduction",
  "contraction",
  "movement",
  "movement",
  "indexing",
];
const weighted = steps.flatMap(([make, weight]) => new Array(weight).fill(make) as (typeof make)[]);

function grow(d: Draft, count: number): void {
  for (let left = count; left > 0; left--) {
    const made = chance(d, 2) ? pick(d, weighted)(d) : recordStep(d);
    if (made && elements(made.node.type.axes) <= d.options.maxElements) d.values.push(made);
  }
}

function recordStep(d: Draft): Value | undefined {
  const kind = pick(d, kinds);
  return step(
    d,
    pick(
      d,
      records.filter((r) => r.kind === kind),
    ),
  );
}

/** An input that binds a symbol's size: sizes are known from a run's feeds alone. */
function addSizeInput(d: Draft, size: string): void {
  const node = ops.input(`of_${size}`, "f32", [{ name: `of_${size}`, size: symbol(size) }]);
  d.declared.push(node);
  d.values.push({ node, low: inputRange.f32.low, high: inputRange.f32.high });
}

/** A state of the wide input's type, so that two states can be swapped, or of a type of its own. */
function addState(d: Draft, name: string, wide: Value): Node {
  const axes = chance(d, 2) ? wide.node.type.axes : randomAxes(d, 2);
  const dtype = chance(d, 5) ? "i32" : "f32";
  const node = ops.state(name, dtype, axes);
  d.declared.push(node);
  d.values.push({ node, low: inputRange[dtype].low, high: inputRange[dtype].high });
  return node;
}

const scalarOf = (x: Node): Node => (x.type.axes.length === 0 ? x : ops.reduceSum(x, named(x)));

/**
 * The gradients of a sum of squares or of products with an input; some may be of inputs that the loss does not depend
 * on.
 */
function gradientsOf(d: Draft): Output[] {
  const value = recent(
    d,
    d.values.filter((v) => v.node.type.dtype === "f32"),
  );
  const x = fit(value, { low: -4, high: 4 });
  const term = pick(d, [
    () => ops.mul(x, x),
    () => x,
    () =>
      ops.mul(
        x,
        fit(
          pick(
            d,
            d.values.filter((v) => v.node.type.dtype === "f32" && v.node.type.axes.length === 0),
          ) ?? value,
          { low: -1, high: 1 },
        ),
      ),
  ])();
  const loss = ops.mul(scalarOf(term), pick(d, [1, 0.5, 0.125]));
  const floats = d.declared.filter((n) => n.type.dtype === "f32");
  const wanted = floats.filter(() => !chance(d, 3)).slice(0, 5);
  try {
    const outputs = differentiate(loss, wanted).map((node, i) => ({ name: `grad_${inputName(wanted[i]!)}`, node }));
    return chance(d, 2) ? [{ name: "loss", node: loss }, ...outputs] : outputs;
  } catch (error) {
    if (error instanceof UsageError && /has no gradient/.test(error.message)) return [];
    throw error;
  }
}

/** Names outputs, gradients and new states: the same node twice, intermediate values, inputs, constants. */
function assemble(d: Draft, states: readonly Node[], gradients: readonly Output[]): FuzzCase {
  const outputs: Output[] = [];
  const add = (node: Node, prefix = "y") => {
    const name = `${prefix}${outputs.length}`;
    outputs.push({ name, node });
    return name;
  };
  add(d.values.at(-1)!.node);
  for (let left = d.choose(5); left > 0; left--) add(anyOutput(d));
  if (chance(d, 3)) add(pick(d, outputs).node);
  const updates: Record<string, string> = {};
  for (const state of states)
    if (!chance(d, 6)) updates[add(successor(d, state, states, gradients), "next")] = inputName(state);
  const all = shuffledList(d, [...outputs, ...gradients]);
  const graph = makeGraph("random", all, d.declared, updates);
  if (!d.options.symbols) return { graph, bindings: [{}], open: false };
  return { graph: bindSizes(graph, pick(d, maxima)), bindings, open: true };
}

function shuffledList<T>(d: Draft, list: readonly T[]): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(d.choose(rest.length), 1)[0]!);
}

function anyOutput(d: Draft): Node {
  switch (d.choose(12)) {
    case 0:
      return chance(d, 2) ? ops.constant(pick(d, [0, 1, 2.5])) : ops.constant(d.choose(4), "i32");
    case 1:
      return pick(
        d,
        d.declared.filter((n) => n.type.dtype !== "f16"),
      );
    case 2: {
      const axes = randomAxes(d, 2);
      return ops.broadcast(ops.constant(pick(d, [0, 1]), "f32"), axes);
    }
    case 3: {
      const x = recent(d, d.values).node;
      return ops.transpose(x, shuffled(d, named(x)));
    }
    default:
      return pick(d, d.values).node;
  }
}

/** The next value of a state, of the same type. */
function successor(d: Draft, state: Node, states: readonly Node[], gradients: readonly Output[]): Node {
  const { axes, dtype } = state.type;
  const same = states.filter((s) => s !== state && sameType(s, state));
  const ready = d.values.filter((v) => v.node !== state && sameType(v.node, state));
  const gradient = gradients.find((g) => g.name === `grad_${inputName(state)}`);
  switch (d.choose(8)) {
    case 0:
      if (same.length > 0) return pick(d, same); // swapped, or one a copy of the other
      break;
    case 1:
      if (ready.length > 0) return pick(d, ready).node;
      break;
    case 2:
      if (gradient) return ops.sub(state, ops.mul(gradient.node, 0.1));
      break;
    case 3: {
      const axis = axes[0];
      if (axis && typeof axis.size === "number" && axis.size > 1) return shifted(d, state, axis.name, axis.size);
      break;
    }
    case 4:
      return state;
  }
  const value = pick(
    d,
    d.values.filter((v) => v.node.type.dtype === dtype),
  );
  const mixed = isFloat(state)
    ? ops.add(ops.mul(state, 0.9), likeState(value, state))
    : ops.add(state, likeState(value, state));
  return ops.transpose(
    mixed,
    axes.map((a) => a.name),
  );
}

/** Drops the oldest element along an axis and appends one, like a cache. */
function shifted(d: Draft, state: Node, axis: string, size: number): Node {
  const last = ops.slice(state, axis, d.choose(size), 1);
  return ops.concat([ops.slice(state, axis, 1, size - 1), isFloat(state) ? ops.tanh(last) : last], axis);
}

/** A value reduced to the state's axes. */
function likeState(value: Value, state: Node): Node {
  const x = fit(value, isFloat(state) ? { low: -1, high: 1 } : { low: 0, high: 6 });
  const extra = x.type.axes.filter((a) => !state.type.axes.some((s) => s.name === a.name && s.size === a.size));
  return extra.length === 0
    ? x
    : ops.reduceMax(
        x,
        extra.map((a) => a.name),
      );
}

const sameType = (a: Node, b: Node): boolean =>
  a.type.dtype === b.type.dtype &&
  a.type.axes.length === b.type.axes.length &&
  a.type.axes.every((x, i) => x.name === b.type.axes[i]!.name && x.size === b.type.axes[i]!.size);

const wordRange = { low: 0, high: 2 ** 32 - 1, integer: true } as const;

/** Values for each input of a graph of known sizes, exactly representable in its dtype. */
export function drawInputs(graph: Graph, seed: number): Values {
  const next = seeded(seed);
  return new Map(
    graph.inputs.map((n) => {
      // A u32 parameter packs integers of 4 or 8 bits, so any word is valid.
      const words = isParameter(n) && n.type.dtype === "u32";
      const values = draw(n.type, words ? wordRange : inputRange[n.type.dtype], next);
      return [inputName(n), n.type.dtype === "f16" ? Float64Array.from(Float16Array.from(values)) : values];
    }),
  );
}
