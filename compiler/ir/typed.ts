/**
 * Nodes typed by the set of their axis names. The types exist while programs are checked and nowhere else: a typed node
 * is the node. Builders of ops carry them, those of ops defined elsewhere as well.
 */
import type { Node } from "./node.ts";
import type { Axis } from "./type.ts";

declare const axesOf: unique symbol;

/** A node with exactly the axes A, in any order; `Typed<never>` is a scalar. */
export type Typed<A extends string> = Node & { readonly [axesOf]: (a: A) => A };

/** An axis whose name the type knows. */
export interface NamedAxis<N extends string = string> extends Axis {
  readonly name: N;
}

/** One axis or several. */
export type Along<N extends string> = NamedAxis<N> | readonly NamedAxis<N>[];

/** States the axes of a node that untyped builders made. */
export const typed = <A extends string>(node: Node): Typed<A> => node as Typed<A>;

/** The names of axes that are given by themselves or by name. */
export const namesOf = (axes: Along<string> | readonly string[]): string[] =>
  [axes].flat().map((a) => (typeof a === "string" ? a : (a as Axis).name));
