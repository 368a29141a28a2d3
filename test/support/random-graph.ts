/**
 * Random graphs over the op registry for property tests: any op, odd sizes, bounded values and tensor sizes. Every
 * choice is read from a tape of integers, so a failing graph shrinks by shortening its tape.
 */
import fc from "fast-check";
import { type Graph, inputName, makeGraph, type OpKind, opRecords, printGraph } from "../../compiler/index.ts";
import {
  addInput,
  type Choose,
  type Draft,
  elements,
  inputRange,
  pick,
  randomAxes,
  type StepOptions,
  step,
} from "./random-steps.ts";
import { draw, seeded } from "./samples.ts";

export type { Choose } from "./random-steps.ts";

export interface RandomGraphOptions extends Partial<StepOptions> {
  /** Maximum number of random ops, excluding helpers that keep values in range. */
  readonly maxSteps?: number;
}

/** The symbols used in random graphs, with the values to bind. */
export const symbolValues = { n: 5, past: 3 } as const;

const defaults: Required<RandomGraphOptions> = {
  ops: () => true,
  sizes: [1, 2, 3, 5, 17, 65, 257],
  maxElements: 3000,
  maxSteps: 12,
  jumps: false,
  f16: false,
  symbols: false,
};

/** Relative frequency of op kinds: higher for those with many ops, and for those that interact most. */
const weight: Partial<Record<OpKind, number>> = { elementwise: 4, movement: 2 };

/** A graph from random choices; see RandomGraphOptions. Its last value and up to two others are outputs. */
export function randomGraph(choose: Choose, options: RandomGraphOptions = {}): Graph {
  const all = { ...defaults, ...options };
  const d: Draft = { choose, options: all, values: [], declared: [], fresh: 0 };
  const wide = addInput(d, "f32", randomAxes(d, 3));
  addInput(d, "f32", wide.node.type.axes.slice(-1));
  addInput(d, "i32", wide.node.type.axes.slice(0, 1));
  const records = opRecords().filter((r) => r.kind !== "source" && all.ops(r));
  const kinds = [...new Set(records.map((r) => r.kind))].flatMap((k) => new Array<OpKind>(weight[k] ?? 1).fill(k));
  for (let left = kinds.length === 0 ? 0 : 1 + choose(all.maxSteps); left > 0; left--) {
    const kind = pick(d, kinds);
    const record = pick(
      d,
      records.filter((r) => r.kind === kind),
    );
    const made = step(d, record);
    if (made && elements(made.node.type.axes) <= all.maxElements) d.values.push(made);
  }
  const roots = new Set([d.values.at(-1)!, pick(d, d.values), pick(d, d.values)].map((v) => v.node));
  const outputs = [...roots].map((node, i) => ({ name: `y${i}`, node }));
  return makeGraph("random", outputs, choose(2) === 0 ? d.declared : []);
}

/** Random graphs for fast-check; they shrink towards few ops and small sizes. */
export const graphArbitrary = (options: RandomGraphOptions = {}): fc.Arbitrary<Graph> =>
  fc
    .array(fc.nat({ max: 9999 }), { minLength: 12, maxLength: 160 })
    .map((tape) => named(randomGraph(tapeChooser(tape), options)));

/** Counterexamples are displayed as graph text. */
const named = (graph: Graph): Graph => Object.assign(graph, { [fc.toStringMethod]: () => printGraph(graph) });

/** Reads choices from a tape; 0 once it is used up. */
export function tapeChooser(tape: readonly number[]): Choose {
  let at = 0;
  return (n) => (at < tape.length ? tape[at++]! % n : 0);
}

export const seededChooser = (seed: number): Choose => {
  const next = seeded(seed);
  return (n) => Math.floor(next() * n);
};

/** Values for every input, parameter and random node, by name, of a graph with constant sizes. */
export function inputValues(graph: Graph, seed: number): Map<string, Float64Array> {
  const next = seeded(seed);
  return new Map(graph.inputs.map((n) => [inputName(n), draw(n.type, inputRange[n.type.dtype], next)]));
}
