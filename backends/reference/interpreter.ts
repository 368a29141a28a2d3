/** Evaluates a graph node by node, with the reference semantics in the op records. */
import {
  allocate,
  didYouMean,
  type Graph,
  graphForm,
  type HostTensor,
  inputName,
  isGraphInput,
  type Node,
  nodesOf,
  opRecord,
  printType,
  type RefTensor,
  referenceStages,
  runStages,
  type SizedAxis,
  type Sizes,
  UsageError,
} from "../../compiler/index.ts";
import type { Backend, Executable, RunOptions, Store } from "../backend.ts";
import { checkFeeds, checkResidents, fetchedOutputs, isResident } from "../feeds.ts";
import { inTurn } from "../in-turn.ts";

/** The values of a graph's outputs for the given inputs; all sizes must be constant. */
export function evaluate(graph: Graph, values: ReadonlyMap<string, Float64Array>): Map<string, RefTensor> {
  const results = new Map<Node, RefTensor>();
  for (const node of nodesOf(graph)) {
    const data = isGraphInput(node)
      ? inputValue(node, values)
      : opRecord(node.op).reference(
          node.operands.map((o) => results.get(o)!),
          node.attrs,
          node.type,
        );
    results.set(node, { type: node.type, data });
  }
  return new Map(graph.outputs.map((o) => [o.name, results.get(o.node)!]));
}

function inputValue(node: Node, values: ReadonlyMap<string, Float64Array>): Float64Array {
  const value = values.get(inputName(node));
  if (!value) throw new UsageError(`${node.op} "${inputName(node)}" (${printType(node.type)}) has no value`);
  return value;
}

const toFloat64 = (t: HostTensor): Float64Array =>
  t.data instanceof Float64Array ? t.data : Float64Array.from(t.data);

/** Floats are returned in float64, so that comparisons are not limited by the oracle's rounding. */
function toHost({ type, data }: RefTensor): HostTensor {
  const axes = type.axes as readonly SizedAxis[];
  if (type.dtype === "f32" || type.dtype === "f16") return { dtype: type.dtype, axes, data };
  const exact = allocate(type.dtype, data.length);
  exact.set(data);
  return { dtype: type.dtype, axes, data: exact };
}

/** The interpreter as a backend, to compare whole runs. */
export function referenceBackend(): Backend {
  return {
    device: { backend: "reference", name: "float64 interpreter", software: true },
    createStore: memoryStore,
    compile: async (graph, options) => referenceExecutable(graph, options?.sizes ?? {}),
    precision: () => ({
      computes: "f32",
      path: "f32",
      why: "the interpreter computes in f64, whatever precision is requested",
    }),
    pipelines: () => 0, // the interpreter compiles nothing
    dispose: () => {},
  };
}

function referenceExecutable(graph: Graph, sizes: Readonly<Record<string, number>>): Executable {
  return {
    graph,
    run: (feeds, store, options) => inTurn([store], () => runOnce(graph, sizes, feeds, store, options)),
    dispose: () => {},
  };
}

async function runOnce(
  graph: Graph,
  sizes: Sizes,
  feeds: Readonly<Record<string, HostTensor>>,
  store: Store,
  options?: RunOptions,
): Promise<Record<string, HostTensor>> {
  const held = new Map<string, HostTensor>();
  const given = checkFeeds(graph, feeds, sizes);
  const read = new Set(nodesOf(graph));
  const there = new Set(store.names());
  for (const node of graph.inputs.filter(isResident)) {
    const name = inputName(node);
    // What the graph only writes, such as a new conversation's cache, need not be there; if it is, it has sizes to
    // bind.
    if (read.has(node) || there.has(name)) held.set(name, await store.read(name));
  }
  const run = checkResidents(graph, (name) => held.get(name), given);
  const bound = runStages(graph, referenceStages(run), graphForm);
  const tensors = new Map([...Object.entries(feeds), ...held]);
  const values = new Map([...tensors].map(([name, tensor]) => [name, toFloat64(tensor)]));
  const results = evaluate(bound, values);
  for (const [output, input] of Object.entries(graph.updates)) await store.write(input, toHost(results.get(output)!));
  return Object.fromEntries(fetchedOutputs(graph, options?.fetch).map((n) => [n, toHost(results.get(n)!)]));
}

/** A store in host memory. */
function memoryStore(): Store {
  const tensors = new Map<string, HostTensor>();
  return {
    async write(name, value) {
      tensors.set(name, value);
    },
    async read(name) {
      const found = tensors.get(name);
      if (!found) throw new UsageError(`the store has no tensor "${name}"${didYouMean(name, tensors.keys())}`);
      return found;
    },
    names: () => [...tensors.keys()],
    remove: (name) => void tensors.delete(name),
    dispose: () => tensors.clear(),
  };
}
