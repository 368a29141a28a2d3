/**
 * Dead code elimination: drops nodes and constants that no output needs, such as statistics that a norm also returns.
 */
import type { Body } from "../forms/body.ts";

export function dropUnused(body: Body): Body {
  const needed = new Set(body.results.map((r) => r.from));
  const nodes = [...body.nodes]
    .reverse()
    .filter((n) => {
      if (!n.output!.some((o) => needed.has(o))) return false;
      for (const i of n.input!) needed.add(i);
      return true;
    })
    .reverse();
  const constants = new Map([...body.constants].filter(([, c]) => needed.has(c.name)));
  const all = nodes.length === body.nodes.length && constants.size === body.constants.size;
  return all ? body : { ...body, nodes, constants };
}
