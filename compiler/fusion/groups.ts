/**
 * The fusion groups of a graph and the places of its nodes in them. Every core (the anchor of a group: contraction,
 * attention, reduction, scatter, argmax) belongs to a group; an elementwise node that is computed from a group's cores at
 * the same coordinates is part of their epilogue and can be an output of that group's kernel.
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
  /** The coordinates that a row reduction folds. */
  readonly reduced: readonly Coordinate[];
  /** Axis names as coordinates; several names may mean one coordinate. */
  readonly names: Map<string, Expr>;
  /** How far each coordinate runs, by the name of its variable. */
  readonly extents: Map<string, Dim>;
  /** Large tensors that the cores read: what siblings are found by. */
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
  /** For a node without a group: how many such nodes at other coordinates it needs, one after another. */
  readonly level: number;
  /**
   * True for a contraction or attention, and for what it is only ever used through: a sum with its bias and residual. The
   * last of such a chain is what is worth storing, never the bare sum.
   */
  readonly chain?: boolean;
}

export type Placement = ReadonlyMap<Node, Place>;
