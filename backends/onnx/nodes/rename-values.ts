/** Renames values in nodes. */
import type { NodeProto } from "../wire/proto.ts";

export function renameValues(nodes: readonly NodeProto[], names: ReadonlyMap<string, string>): NodeProto[] {
  const renamed = (n: string) => names.get(n) ?? n;
  return nodes.map((n) => ({ ...n, input: n.input!.map(renamed), output: n.output!.map(renamed) }));
}
