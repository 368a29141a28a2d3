/**
 * The fusion groups of a graph and the placement of its nodes. Every core (the anchor op of a group: contraction,
 * attention, reduction, scatter, argmax) belongs to a group; an elementwise node that is computed from a group's cores
 * at the same coordinates is part of their epilogue and can be an output of that group's kernel.
 */
import type { Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import type { Axis } from "../ir/type.ts";
import type { Expr, KernelKind, Var } from "../kernel/index.ts";
import type { Env } from "./access.ts";

/** One index of a group's iteration space. */
export interface Coordinate {
  readonly index: Var;
  readonly axis: Axis;
}

export interface Group {
  readonly kind: KernelKind;
  readonly position: number;
  readonly cores: Node[];
  /** The coordinates of a result, slowest first; for a row reduction, those of the rows. */
  readonly rows: readonly Coordinate[];
  /** The coordinates that a row reduction reduces over. */
  readonly reduced: readonly Coordinate[];
  /** The coordinate of each axis name; several names may share a coordinate. */
  readonly names: Map<string, Expr>;
  /** The extent of each coordinate, by variable name. */
  readonly extents: Map<string, Dim>;
  /** Large tensors that the cores read; used to find sibling reductions. */
  readonly sources: Set<Node>;
  /** All tensors that the cores may read. */
  readonly leaves: Set<Node>;
}

export interface Place {
  /** The position of the last group that the node needs; -1 for none. */
  readonly ready: number;
  /** The group at whose coordinates the node is computed. */
  readonly group?: Group;
  readonly env?: Env;
  /** For a node without a group: the longest chain of group-less nodes at other coordinates that it depends on. */
  readonly level: number;
  /**
   * True for a contraction or attention, and for elementwise ops that are its only user, such as bias and residual
   * adds. Only the last value of such a chain is worth storing, never the bare product.
   */
  readonly chain?: boolean;
}

export type Placement = ReadonlyMap<Node, Place>;
