/** The errors for operators and nodes that are not supported: which, why, and what can be imported without them. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { DataDependentError } from "./data-dependent.ts";
import { shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage } from "./messages.ts";
import { readBy } from "./node-order.ts";
import { nodeName, operatorOf } from "./operators.ts";
import { records } from "./ops/index.ts";

/** Operators whose results have sizes that only the data tell. */
const dataDependent = ["NonZero", "NonMaxSuppression", "Unique"];

/** How many values a hint names, and how many nodes an error lists. */
const [mostNamed, mostListed] = [8, 20];

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
    [
      `heddle cannot import ${missing.size} of the model's operators:`,
      ...shown,
      ...reason(missing),
      hint(graph, "them", (node) => !allKnown(node)),
    ].join("\n"),
  );
}

/** The nodes that a walk could not import, so that one error lists them all. */
export class RefusedNodes {
  readonly #errors: UnsupportedError[] = [];
  readonly #lost = new Set<string>();

  add(node: NodeMessage, error: UnsupportedError): void {
    this.#errors.push(error);
    this.#lose(node);
  }

  /** Whether a node needs the result of a refused one. Its own results are then missing too. */
  isNeededBy(node: NodeMessage): boolean {
    if (this.#errors.length === 0) return false;
    for (const name of readBy(node))
      if (this.#lost.has(name)) {
        this.#lose(node);
        return true;
      }
    return false;
  }

  #lose(node: NodeMessage): void {
    for (const name of node.output) if (name !== "") this.#lost.add(name);
  }

  /** Throws UnsupportedError listing the nodes, if there are any. */
  requireNone(graph: GraphMessage): void {
    if (this.#errors.length === 0) return;
    const rows = [...Map.groupBy(this.#errors, reasonOf).values()].map(rowOf);
    const more = rows.length > mostListed ? [`and ${rows.length - mostListed} more`] : [];
    const before = this.#errors.length === 1 ? "it" : "them";
    const isLost = (node: NodeMessage) => node.output.some((name) => this.#lost.has(name));
    const hints = this.#errors.some((error) => error instanceof DataDependentError)
      ? [hint(graph, before, isLost)]
      : [];
    throw new UnsupportedError([...rows.slice(0, mostListed), ...more, ...hints].join("\n"));
  }
}

/** What is wrong, without the nodes in whose subgraphs it is. */
const reasonOf = (error: Error): string => (error.cause instanceof Error ? reasonOf(error.cause) : error.message);

const rowOf = ([first, ...others]: readonly Error[]): string => {
  if (others.length === 0) return first!.message;
  return `${first!.message}\n  and the same of ${others.length} more node${others.length === 1 ? "" : "s"}`;
};

const isKnown = (node: NodeMessage): boolean => Object.hasOwn(records, operatorOf(node));

function reason(missing: ReadonlyMap<string, unknown>): string[] {
  const found = dataDependent.filter((name) => missing.has(name));
  if (found.length === 0) return [];
  const names = found.join(" and ");
  return [
    `  how many elements ${names} return${found.length === 1 ? "s" : ""} depends on the data; a graph's sizes are known before it runs`,
  ];
}

function hint(graph: GraphMessage, them: "it" | "them", isRefused: (node: NodeMessage) => boolean): string {
  const before = valuesBefore(graph, isRefused).map(shownName);
  const start = `  hint: the part before ${them} can be imported: name its last values as outputs (--outputs, or the option outputs)`;
  if (before.length === 0) return start;
  const more = before.length > mostNamed ? `; and ${before.length - mostNamed} more` : "";
  return `${start}; those that the rest reads are ${before.slice(0, mostNamed).join(", ")}${more}`;
}

/**
 * The values that are computed from the inputs without refused nodes, and read by those or by nodes that need them; the
 * last ones first, since a detector's boxes and scores come after what chooses its sizes.
 */
function valuesBefore(graph: GraphMessage, isRefused: (node: NodeMessage) => boolean): string[] {
  const stored = new Set(graph.initializer.map((t) => t.name));
  const computed = new Set(graph.input.map((i) => i.name).filter((name) => !stored.has(name)));
  const without = new Set<string>();
  const read = new Set<string>();
  for (const node of graph.node) {
    const names = [...readBy(node)];
    const isBefore = !isRefused(node) && !names.some((name) => without.has(name));
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
