/**
 * Nodes typed by the set of their axis names, at compile time only: at run time a typed node is the node itself. All op
 * builders carry these types, including those of user-defined ops.
 */
import type { Node } from "./node.ts";
import type { Axis } from "./type.ts";

declare const axesOf: unique symbol;

/** A node with exactly the axes A, in any order; `Typed<never>` is a scalar. */
export type Typed<A extends string> = Node & { readonly [axesOf]: (a: A) => A };

/** An axis whose name is part of its type. */
export interface NamedAxis<N extends string = string> extends Axis {
  readonly name: N;
}

/** One axis or several. */
export type Along<N extends string> = NamedAxis<N> | readonly NamedAxis<N>[];

/** Asserts the axes of a node that untyped builders made. */
export const typed = <A extends string>(node: Node): Typed<A> => node as Typed<A>;

/** The names of axes given as axes or as names. */
export const namesOf = (axes: Along<string> | readonly string[]): string[] =>
  [axes].flat().map((a) => (typeof a === "string" ? a : (a as Axis).name));
