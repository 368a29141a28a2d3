/** A graph as a function of other tensors, with its parameters declared in a scope. */
import {
  bindSizes,
  type Dim,
  type Distribution,
  didYouMean,
  type Graph,
  inputName,
  isFeed,
  isParameter,
  loneSymbol,
  type Node,
  printType,
  rewriteNodes,
  sameType,
  UsageError,
} from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import type { Params } from "./params.ts";
import type { AnyTensor } from "./tensor.ts";

/**
 * The outputs of a graph by name, with `inputs` substituted for its inputs. Its parameters are declared in `p` under
 * their own names, so a stage can train, freeze and inherit them; inputs that are not given remain inputs. Symbolic
 * sizes of the graph are bound to those of the tensors. Throws UsageError for an unknown input and for a tensor of
 * other axes.
 */
export function applyGraph(
  p: Params,
  graph: Graph,
  inputs: Readonly<Record<string, AnyTensor>> = {},
): Readonly<Record<string, AnyTensor>> {
  const bound = bindSizes(graph, sizesOf(graph, inputs));
  const given = new Map(
    Object.entries(inputs).map(([name, tensor]) => [inputOf(bound, name), fitted(bound, name, tensor)]),
  );
  const made = rewriteNodes(
    bound.outputs.map((o) => o.node),
    (node, original) => given.get(original) ?? (isParameter(node) ? declared(p, node) : node),
  );
  return Object.fromEntries(bound.outputs.map((o) => [o.name, made.get(o.node)! as AnyTensor]));
}

/** The graph's input of that name. Throws UsageError if there is none. */
function inputOf(graph: Graph, name: string): Node {
  const found = graph.inputs.find((n) => isFeed(n) && inputName(n) === name);
  if (found) return found;
  const known = graph.inputs.filter(isFeed).map(inputName);
  throw new UsageError(
    `graph @${graph.name} has no input "${name}"${didYouMean(name, known) || "."} It has ${known.join(", ")}.`,
  );
}

function fitted(graph: Graph, name: string, tensor: AnyTensor): Node {
  const { type } = inputOf(graph, name);
  const order = (t: typeof type) => ({ ...t, axes: [...t.axes].sort((a, b) => (a.name < b.name ? -1 : 1)) });
  if (sameType(order(type), order(tensor.type))) return tensor;
  throw new UsageError(
    `input "${name}" of graph @${graph.name} is ${printType(type)}, but the given tensor is ${printType(tensor.type)}`,
  );
}

/** The symbolic sizes of a graph, bound by the given tensors. */
function sizesOf(graph: Graph, inputs: Readonly<Record<string, AnyTensor>>): Record<string, Dim> {
  const sizes: Record<string, Dim> = {};
  for (const [name, tensor] of Object.entries(inputs))
    for (const axis of inputOf(graph, name).type.axes) {
      const symbol = loneSymbol(axis.size)?.name;
      const own = tensor.type.axes.find((a) => a.name === axis.name)?.size;
      if (symbol !== undefined && own !== undefined) sizes[symbol] ??= own;
    }
  return sizes;
}

const declared = (p: Params, node: Node): Node =>
  p.parameter(inputName(node), node.type.axes as readonly Axis[], node.attrs.init as unknown as Distribution, {
    buffer: node.attrs.role === "buffer",
  });
