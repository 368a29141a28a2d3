/** The part of a file that its outputs need, or the outputs that a user names. */
import { didYouMean, UsageError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage } from "./messages.ts";
import { readBy } from "./node-order.ts";

/**
 * The graph without nodes that no output needs: an operator that cannot be imported does not matter there. With
 * `outputs`, any values of the graph, these become its outputs, and inputs that they do not need are left out too.
 * Throws UsageError for a name that is no value of the graph.
 */
export function neededGraph(graph: GraphMessage, outputs: readonly string[] | undefined): GraphMessage {
  const chosen = outputs && chosenOutputs(graph, outputs);
  const { nodes, reads } = neededNodes(
    graph.node,
    (chosen ?? graph.output).map((o) => o.name),
  );
  if (!chosen) return { ...graph, node: nodes };
  return { ...graph, node: nodes, output: chosen, input: graph.input.filter(({ name }) => reads.has(name)) };
}

function chosenOutputs(graph: GraphMessage, outputs: readonly string[]): GraphMessage["output"] {
  const declared = new Map([...graph.valueInfo, ...graph.input, ...graph.output].map((info) => [info.name, info]));
  const values = new Set([
    ...graph.output.map((o) => o.name),
    ...graph.node.flatMap((node) => node.output),
    ...graph.input.map((i) => i.name),
  ]);
  const wrong = outputs.flatMap((name, i) => {
    if (outputs.indexOf(name) !== i) return [`the output "${shownName(name)}" is named twice`];
    return values.has(name) && name !== ""
      ? []
      : [`the file has no value "${shownName(name)}"${didYouMean(name, values)}`];
  });
  if (wrong.length > 0)
    throw new UsageError(
      `${wrong.join("\n")}\n  hint: any output of a node can be one; the file's own are ${graph.output.map((o) => shownName(o.name)).join(", ")}`,
    );
  return outputs.map((name) => declared.get(name) ?? { name });
}

/** The nodes whose results are needed for these values, in their order, and every name that is read. */
function neededNodes(nodes: readonly NodeMessage[], values: readonly string[]) {
  // All makers of a name, so that a name that two nodes define is still an error.
  const makers = Map.groupBy(
    nodes.flatMap((node) => node.output.map((name) => ({ name, node }))),
    ({ name }) => name,
  );
  const needed = new Set<NodeMessage>();
  const reads = new Set<string>();
  const waiting = [...values];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (name === "" || reads.has(name)) continue;
    reads.add(name);
    for (const { node } of makers.get(name) ?? []) {
      if (needed.has(node)) continue;
      needed.add(node);
      for (const read of readBy(node)) waiting.push(read);
    }
  }
  return { nodes: nodes.filter((node) => needed.has(node)), reads };
}
