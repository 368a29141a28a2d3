/** The fusion plan: which kernel computes which nodes, what each reads and writes, and where values are stored. */
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
  /** The buffer of every tensor that a kernel reads or writes, by root node. */
  readonly buffers: ReadonlyMap<Node, BufferUse>;
  /** For each activation slot, the bytes of the tensors that share it; the slot is as large as the largest. */
  readonly slots: readonly (readonly Dim[])[];
  /** Copies after the last kernel, in order: successors of states that could not be written in place. */
  readonly copies: readonly Copy[];
}

/** A copy of a whole tensor. */
export interface Copy {
  readonly from: BufferUse;
  readonly to: BufferUse;
  readonly bytes: Dim;
}

/** A fusion plan whose kernels are in execution order, with its memory plan. */
export interface PlannedMemory extends FusionPlan {
  readonly plan: MemoryPlan;
}
