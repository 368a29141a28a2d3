/** Splits a run into submissions, so that the outputs of one can be read while the device computes the next. */
import type { Node, Program } from "../../../compiler/index.ts";

export interface Segment {
  /** Exclusive end in the kernel list; the segment begins where the previous one ends. */
  readonly to: number;
  /** Outputs that are complete after it. */
  readonly names: readonly string[];
}

/** Segments that end where a named output is complete; the last one runs all remaining kernels. */
export function segmentsOf(program: Program, names: readonly string[]): readonly Segment[] {
  const nodes = new Map(program.graph.outputs.map((o) => [o.name, o.node]));
  const ends = lastWrites(program);
  const at = new Map<number, string[]>();
  for (const name of names) {
    const end = ends.get(rootOf(program, nodes.get(name)!)) ?? 0;
    at.set(end, [...(at.get(end) ?? []), name]);
  }
  const all = program.kernels.length;
  if (!at.has(all)) at.set(all, []);
  return [...at].toSorted(([a], [b]) => a - b).map(([to, names]) => ({ to, names }));
}

/** The tensor whose memory a value occupies (its alias root). */
export const rootOf = ({ storage }: Program, node: Node): Node => storage.get(node)?.root ?? node;

/** The number of kernels after which each tensor has its final value. */
function lastWrites({ kernels }: Program): ReadonlyMap<Node, number> {
  const ends = new Map<Node, number>();
  for (const [i, { kernel, bindings }] of kernels.entries())
    for (const [k, { root }] of bindings.entries()) if (kernel.buffers[k]!.access !== "read") ends.set(root, i + 1);
  return ends;
}
