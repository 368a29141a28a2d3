/** The error for operators that are not there: which nodes, why, and what of the file can be imported without them. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage } from "./messages.ts";
import { readBy } from "./node-order.ts";
import { nodeName, operatorOf } from "./operators.ts";
import { records } from "./ops/index.ts";

/** Operators whose results have sizes that only the data tell. */
const dataDependent = ["NonZero", "NonMaxSuppression", "Unique"];

/** How many values a hint names. */
const mostNamed = 8;

/** Throws UnsupportedError listing every operator without a record, with the nodes that use it. */
export function requireKnown(graph: GraphMessage): void {
  const missing = new Map<string, string[]>();
  const visit = (list: readonly NodeMessage[]) => {
    for (const [at, node] of list.entries()) {
      const name = shownName(operatorOf(node));
      if (!isKnown(node)) missing.set(name, [...(missing.get(name) ?? []), nodeName(node, at)]);
      for (const { g } of node.attribute) if (g) visit(g.node);
    }
  };
  visit(graph.node);
  if (graph.sparseInitializer.length > 0)
    missing.set("sparse initializers", [`${graph.sparseInitializer.length} of them`]);
  if (missing.size === 0) return;
  const rows = [...missing].map(([name, where]) => {
    const more = where.length > 3 ? ` and ${where.length - 3} more` : "";
    return `  ${name}: ${where.slice(0, 3).join(", ")}${more}`;
  });
  const shown = rows.slice(0, 50).concat(rows.length > 50 ? [`  and ${rows.length - 50} more operators`] : []);
  throw new UnsupportedError(
    [`heddle cannot import ${missing.size} of the model's operators:`, ...shown, ...reason(missing), hint(graph)].join(
      "\n",
    ),
  );
}

const isKnown = (node: NodeMessage): boolean => Object.hasOwn(records, operatorOf(node));

function reason(missing: ReadonlyMap<string, unknown>): string[] {
  const found = dataDependent.filter((name) => missing.has(name));
  if (found.length === 0) return [];
  const names = found.join(" and ");
  return [
    `  how many elements ${names} return${found.length === 1 ? "s" : ""} depends on the data; a graph's sizes are known before it runs`,
  ];
}

function hint(graph: GraphMessage): string {
  const before = valuesBefore(graph).map(shownName);
  const start =
    "  hint: the part before them can be imported: name its last values as outputs (--outputs, or the option outputs)";
  if (before.length === 0) return start;
  const more = before.length > mostNamed ? `; and ${before.length - mostNamed} more` : "";
  return `${start}; those that the rest reads are ${before.slice(0, mostNamed).join(", ")}${more}`;
}

/**
 * The values that are computed from the inputs without operators that are not there, and read by nodes that need those;
 * the last ones first, since a detector's boxes and scores come after what chooses its sizes.
 */
function valuesBefore(graph: GraphMessage): string[] {
  const stored = new Set(graph.initializer.map((t) => t.name));
  const computed = new Set(graph.input.map((i) => i.name).filter((name) => !stored.has(name)));
  const without = new Set<string>();
  const read = new Set<string>();
  for (const node of graph.node) {
    const names = [...readBy(node)];
    const isBefore = allKnown(node) && !names.some((name) => without.has(name));
    if (isBefore && !names.some((name) => computed.has(name))) continue;
    for (const name of node.output) (isBefore ? computed : without).add(name);
    if (!isBefore) for (const name of names) if (computed.has(name)) read.add(name);
  }
  for (const { name } of graph.input) read.delete(name);
  const order = graph.node.flatMap((node) => node.output);
  return order.filter((name) => read.has(name)).reverse();
}

const allKnown = (node: NodeMessage): boolean =>
  isKnown(node) && node.attribute.every(({ g }) => !g || g.node.every(allKnown));
