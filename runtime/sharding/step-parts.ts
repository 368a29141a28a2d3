/** The parts of a training step as graphs: what each reads from the store, and what it passes on there. */
import {
  arenaAxis,
  bindSizes,
  type DType,
  type Graph,
  InternalError,
  inputName,
  isParameter,
  isState,
  makeGraph,
  type Node,
  nodesOf,
  type Output,
  ops,
  type Part,
  type PartValue,
  partNames,
  rewriteNodes,
  type SizedAxis,
  type Sizes,
  viewNodes,
} from "../../compiler/index.ts";
import type { CompiledStep } from "../training/job.ts";
import type { CutGraph, HandedOn, PartsOptions } from "./graph-parts.ts";

/** A compilable part. */
export interface StepPart {
  readonly graph: Graph;
  /** Weights read as separate tensors, by their names in the store. */
  readonly weights: readonly string[];
  /** Parameters whose gradients it outputs, keyed by output name. */
  readonly gradients: ReadonlyMap<string, string>;
  /** Bytes of weights that it reads, wherever they are stored. */
  readonly bytes: number;
}

/**
 * The dtype of values passed between parts when nothing is computed in f16: all executors support state of these
 * dtypes.
 */
const keptAs: Readonly<Record<DType, DType>> = { f32: "f32", f16: "f32", i32: "i32", u32: "u32", bool: "i32" };

/** The parts at these sizes, using the step's names. */
export function stepParts(
  cut: CutGraph,
  step: Pick<CompiledStep, "arenas">,
  sizes: Sizes,
  places: HandedOn,
  options: PartsOptions,
): StepPart[] {
  const parts = new PartGraphs(cut, step.arenas, sizes, places, options).all();
  requireOneReader(cut.graph, parts);
  return parts;
}

/** Makes the graphs of parts, in their order: values passed on take places in the store until their last reader. */
class PartGraphs {
  readonly #cut: CutGraph;
  readonly #sizes: Sizes;
  readonly #places: HandedOn;
  readonly #options: PartsOptions;
  readonly #parameters: ReadonlyMap<string, Node>;
  /** The last part that reads a value, by the value's key. */
  readonly #lastUse = new Map<string, number>();
  /** The store tensors of the values that later parts read. */
  readonly #placeOf = new Map<string, string>();
  /** The same nodes with parameters read from the arenas, if these hold them. */
  readonly #viewed: (nodes: readonly Node[]) => readonly Node[];

  constructor(cut: CutGraph, arenas: CompiledStep["arenas"], sizes: Sizes, places: HandedOn, options: PartsOptions) {
    this.#cut = cut;
    this.#sizes = sizes;
    this.#places = places;
    this.#options = options;
    this.#parameters = new Map(cut.graph.inputs.filter(isParameter).map((n) => [inputName(n), n]));
    for (const [i, part] of cut.parts.entries()) for (const v of part.values) this.#lastUse.set(keyOf(v), i);
    const layouts = arenas.map((a) => a.layout);
    const states = arenas.map((a) => ops.state(a.parameters, "f32", [arenaAxis(a.layout)]));
    this.#viewed = (nodes) => (options.isInArenas ? viewNodes(nodes, layouts, states) : nodes);
  }

  all(): StepPart[] {
    return this.#cut.parts.map((part, i) => {
      const made = this.#make(part, i);
      this.#giveBack(i);
      return made;
    });
  }

  #make(part: Part, i: number): StepPart {
    const { graph } = this.#cut;
    const { given } = this.#options;
    const bound = bindSizes(part.graph, this.#sizes);
    const replaced = this.#replacedInputs(part, bound);
    const outputs = [...this.#stepOutputs(part, bound), ...this.#passedOn(part, i, bound)];
    const roots = outputs.map((o) => o.node);
    const mapped = rewriteNodes(roots, (node, original) => replaced.get(original) ?? node);
    const nodes = this.#viewed(roots.map((n) => mapped.get(n)!));
    const updates = Object.fromEntries(
      outputs.flatMap(({ name, state }) => (state === undefined ? [] : [[name, state]])),
    );
    return {
      graph: updating(`${graph.name}-${i}`, outputs, nodes, updates),
      weights: part.weights,
      gradients: new Map(outputs.flatMap(({ name }) => (given.has(name) ? [[name, given.get(name)!]] : []))),
      bytes: part.bytes,
    };
  }

  /** Weights are the step's parameters, and values of earlier parts are read from the store. */
  #replacedInputs(part: Part, bound: Graph): ReadonlyMap<Node, Node> {
    const inputs = new Map(bound.inputs.map((n) => [inputName(n), n]));
    const replaced = new Map<Node, Node>();
    for (const [k, name] of part.weights.entries())
      replaced.set(inputs.get(partNames.weight(k))!, this.#parameters.get(name)!);
    for (const [k, value] of part.values.entries()) {
      const node = inputs.get(partNames.value(k))!;
      const state = ops.state(this.#placeOf.get(keyOf(value))!, this.#keptOf(value), node.type.axes);
      replaced.set(node, ops.cast(state, node.type.dtype));
    }
    return replaced;
  }

  /** The step's own outputs that this part computes. */
  #stepOutputs(part: Part, bound: Graph): PartOutput[] {
    const { updates } = this.#cut.graph;
    return part.outputs.map(({ name, result }) => ({
      name,
      node: resultOf(bound, result),
      state: updates[name],
    }));
  }

  /** The values that later parts read. */
  #passedOn(part: Part, i: number, bound: Graph): PartOutput[] {
    return [...part.results.keys()].flatMap((result) => {
      const value = { part: i, result };
      if (!this.#lastUse.has(keyOf(value))) return [];
      const [node, dtype] = [resultOf(bound, result), this.#keptOf(value)];
      const place = this.#places.take({ dtype, axes: node.type.axes as readonly SizedAxis[] });
      this.#placeOf.set(keyOf(value), place);
      return [{ name: place, node: ops.cast(node, dtype), state: place }];
    });
  }

  #giveBack(part: number): void {
    for (const [key, place] of this.#placeOf)
      if (this.#lastUse.get(key) === part) {
        this.#places.giveBack(place);
        this.#placeOf.delete(key);
      }
  }

  #keptOf({ part, result }: PartValue): DType {
    const node = this.#cut.parts[part]!.results[result]!;
    const { halves } = this.#options;
    const isHalf = halves !== undefined && (node.type.dtype === "f16" || halves.has(node));
    return isHalf ? "f16" : keptAs[node.type.dtype];
  }
}

/** An output of a part, and the state that it updates, if any. */
interface PartOutput extends Output {
  readonly state: string | undefined;
}

const resultOf = (bound: Graph, result: number): Node =>
  bound.outputs.find((o) => o.name === partNames.result(result))!.node;

const keyOf = ({ part, result }: PartValue): string => `${part} ${partNames.result(result)}`;

function updating(
  name: string,
  outputs: readonly Output[],
  nodes: readonly Node[],
  updates: Readonly<Record<string, string>>,
): Graph {
  const given = outputs.map((o, i) => ({ name: o.name, node: nodes[i]! }));
  const read = new Set(nodesOf(makeGraph(name, given)).filter(isState).map(inputName));
  const unread = given.flatMap(({ name, node }) => {
    const state = updates[name];
    return state === undefined || read.has(state) ? [] : [ops.state(state, node.type.dtype, node.type.axes)];
  });
  return makeGraph(name, given, unread, updates);
}

/** No later part may read a state that an earlier part updated: it would see the new value. */
function requireOneReader(graph: Graph, parts: readonly StepPart[]): void {
  const states = new Set(Object.values(graph.updates));
  const updatedBy = new Map<string, number>();
  for (const [i, part] of parts.entries()) {
    for (const n of nodesOf(part.graph).filter(isState)) {
      const by = updatedBy.get(inputName(n));
      if (by !== undefined && by < i)
        throw new InternalError(`part ${i} of @${graph.name} reads "${inputName(n)}", which part ${by} has updated`);
    }
    for (const state of Object.values(part.graph.updates)) if (states.has(state)) updatedBy.set(state, i);
  }
}
