/** The fusion plan: which nodes are computed in which kernel, what each kernel reads and writes, and where that lies. */
import type { Dim } from "../ir/dim.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import type { Fusion } from "./fused-kernel.ts";
import type { Placement } from "./groups.ts";

/** A graph with the kernels that compute it. */
export interface FusionPlan extends Fusion {
  readonly graph: Graph;
  readonly places: Placement;
}

/** What a buffer holds. */
export type BufferUse =
  | { readonly kind: "input"; readonly node: Node }
  | { readonly kind: "table"; readonly node: Node }
  | { readonly kind: "slot"; readonly slot: number };

export interface MemoryPlan {
  /** The buffer of every tensor that a kernel reads or writes, by its root node. */
  readonly buffers: ReadonlyMap<Node, BufferUse>;
  /** Each activation slot, by the bytes of the tensors that take turns in it: it is as large as the largest. */
  readonly slots: readonly (readonly Dim[])[];
  /** What is copied, in order, when all kernels are done: successors of states that could not be written in place. */
  readonly copies: readonly Copy[];
}

/** A tensor that is copied whole. */
export interface Copy {
  readonly from: BufferUse;
  readonly to: BufferUse;
  readonly bytes: Dim;
}

/** A fusion plan whose kernels stand in the order in which they run, with the memory that they run in. */
export interface PlannedMemory extends FusionPlan {
  readonly plan: MemoryPlan;
}
