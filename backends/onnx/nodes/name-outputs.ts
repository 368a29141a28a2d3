/** Renames output values to the names of the outputs. */
import type { Body } from "../forms/body.ts";
import { renameValues } from "./rename-values.ts";

export function nameOutputs(body: Body): Body {
  const names = new Map(body.results.flatMap((r) => (r.from === r.to ? [] : [[r.from, r.to] as const])));
  if (names.size === 0) return body;
  return {
    ...body,
    nodes: renameValues(body.nodes, names),
    results: body.results.map((r) => ({ ...r, from: r.to })),
  };
}
