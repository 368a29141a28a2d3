/**
 * Splits a step's graph into parts that run one after the other, so that only one part's weights need to be whole at a
 * time, and its gradients are available before the next part begins. Activations between parts stay on the device, in
 * the store.
 */
import type { Store } from "../../backends/backend.ts";
import {
  allocate,
  type DType,
  elementCount,
  type Graph,
  hostTensor,
  makeGraph,
  type Node,
  type Part,
  partition,
  printType,
  type SizedAxis,
  type Sizes,
} from "../../compiler/index.ts";
import type { CompiledStep } from "../training/job.ts";

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
