/**
 * Splits a step's graph into parts that run one after the other, so that only one part's weights need to be whole at a
 * time, and its gradients are available before the next part begins. Activations between parts stay on the device, in
 * the store.
 */
import type { Store } from "../../backends/backend.ts";
import {
  allocate,
  arenaAxis,
  bindSizes,
  type DType,
  elementCount,
  type Graph,
  hostTensor,
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
  partition,
  partNames,
  printType,
  rewriteNodes,
  type SizedAxis,
  type Sizes,
  viewNodes,
} from "../../compiler/index.ts";
import type { CompiledStep } from "../training/job.ts";

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

/** A partitioned graph. The partition is made for the graph's own sizes, so that all ranks have the same. */
export interface CutGraph {
  readonly graph: Graph;
  /** The graph without updates; the values passed between parts are nodes of it. */
  readonly whole: Graph;
  readonly parts: readonly Part[];
}

type Given = ReadonlyMap<string, string>;

/**
 * Partitions a graph into parts of at most `most` bytes of weights and gradients, cut where the fewest bytes are passed
 * on at these sizes.
 */
export function cutGraph(graph: Graph, most: number, sizes: Sizes, given: Given): CutGraph {
  const held = graph.outputs.map((o) => o.name).filter((name) => given.has(name));
  const free = makeGraph(graph.name, graph.outputs, graph.inputs);
  return { graph, whole: free, parts: partition(free, most, sizes, { held, anywhere: "last" }) };
}

const prefix = "train.part.";
/** Whether a tensor in a step's store is a value passed between parts. */
export const isHandedOn = (name: string): boolean => name.startsWith(prefix);

/** Allocates store tensors for values passed between parts, by type; one is reused after its last reader. */
export interface HandedOn {
  take(type: { readonly dtype: DType; readonly axes: readonly SizedAxis[] }): string;
  giveBack(name: string): void;
  /** Creates all of them in a store. */
  write(store: Store): Promise<void>;
}

export function handedOn(): HandedOn {
  const types = new Map<string, Parameters<HandedOn["take"]>[0]>();
  const idle = new Map<string, string[]>();
  return {
    take: (type) => {
      const key = printType(type);
      const known = idle.get(key)?.pop();
      if (known !== undefined) return known;
      const name = `${prefix}${types.size}`;
      types.set(name, type);
      return name;
    },
    giveBack: (name) => {
      const key = printType(types.get(name)!);
      idle.set(key, [...(idle.get(key) ?? []), name]);
    },
    write: async (store) => {
      for (const [name, { dtype, axes }] of types)
        await store.write(name, hostTensor(dtype, axes, allocate(dtype, elementCount(axes))));
    },
  };
}

/**
 * The dtype of such values in the store when nothing is computed in f16: all executors support state of these dtypes.
 */
const keptAs: Readonly<Record<DType, DType>> = { f32: "f32", f16: "f32", i32: "i32", u32: "u32", bool: "i32" };

/** How parts access the step's parameters and gradients. */
export interface PartsOptions {
  /** Parameters whose gradients are outputs, keyed by output name. */
  readonly given: Given;
  /** Whether trained parameters are ranges of the arenas in the store, rather than separate tensors. */
  readonly isInArenas: boolean;
  /** The nodes stored as f16 when the device computes in f16; they are passed on as f16 too. */
  readonly halves?: ReadonlySet<Node>;
}

type Divided = NonNullable<NonNullable<NonNullable<CompiledStep["accumulation"]>["shared"]>["shard"]>["divided"];

/** The options for sharded gradients, or for sharded weights too. */
export const partsOptions = ({ what, given }: NonNullable<Divided>): PartsOptions => ({
  given,
  isInArenas: what !== "weights",
});

/** The parts at these sizes, using the step's names. */
export function stepParts(
  { graph, parts }: CutGraph,
  step: Pick<CompiledStep, "arenas">,
  sizes: Sizes,
  places: HandedOn,
  { given, isInArenas, halves }: PartsOptions,
): StepPart[] {
  const parameters = new Map(graph.inputs.filter(isParameter).map((n) => [inputName(n), n]));
  const lastUse = new Map<string, number>();
  for (const [i, part] of parts.entries()) for (const v of part.values) lastUse.set(keyOf(v), i);
  const placeOf = new Map<string, string>();
  const layouts = step.arenas.map((a) => a.layout);
  const arenas = step.arenas.map((a) => ops.state(a.parameters, "f32", [arenaAxis(a.layout)]));
  const keptOf = ({ part, result }: PartValue): DType => {
    const node = parts[part]!.results[result]!;
    const isHalf = halves !== undefined && (node.type.dtype === "f16" || halves.has(node));
    return isHalf ? "f16" : keptAs[node.type.dtype];
  };
  const made = parts.map((part, i): StepPart => {
    const bound = bindSizes(part.graph, sizes);
    const results = new Map(bound.outputs.map((o) => [o.name, o.node]));
    const inputs = new Map(bound.inputs.map((n) => [inputName(n), n]));
    const replaced = new Map<Node, Node>();
    for (const [k, name] of part.weights.entries())
      replaced.set(inputs.get(partNames.weight(k))!, parameters.get(name)!);
    for (const [k, value] of part.values.entries()) {
      const node = inputs.get(partNames.value(k))!;
      const state = ops.state(placeOf.get(keyOf(value))!, keptOf(value), node.type.axes);
      replaced.set(node, ops.cast(state, node.type.dtype));
    }
    const outputs: Output[] = [];
    const updates: Record<string, string> = {};
    for (const { name, result } of part.outputs) {
      outputs.push({ name, node: results.get(partNames.result(result))! });
      if (graph.updates[name] !== undefined) updates[name] = graph.updates[name];
    }
    for (const k of part.results.keys()) {
      const value = { part: i, result: k };
      const [key, node] = [keyOf(value), results.get(partNames.result(k))!];
      if (!lastUse.has(key)) continue;
      const dtype = keptOf(value);
      const place = places.take({ dtype, axes: node.type.axes as readonly SizedAxis[] });
      placeOf.set(key, place);
      outputs.push({ name: place, node: ops.cast(node, dtype) });
      updates[place] = place;
    }
    for (const [key, place] of placeOf)
      if (lastUse.get(key) === i) {
        places.giveBack(place);
        placeOf.delete(key);
      }
    const roots = outputs.map((o) => o.node);
    const mapped = rewriteNodes(roots, (node, original) => replaced.get(original) ?? node);
    const named = roots.map((n) => mapped.get(n)!);
    const nodes = isInArenas ? viewNodes(named, layouts, arenas) : named;
    return {
      graph: updating(`${graph.name}-${i}`, outputs, nodes, updates),
      weights: part.weights,
      gradients: new Map(outputs.flatMap(({ name }) => (given.has(name) ? [[name, given.get(name)!]] : []))),
      bytes: part.bytes,
    };
  });
  requireOneReader(graph, made);
  return made;
}

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
