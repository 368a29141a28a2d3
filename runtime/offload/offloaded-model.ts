/**
 * A model whose weights stay where they are stored: graphs run part by part, and each part's weights are on the device only
 * while it runs. What a model needs of memory is then two parts and the activations between them, whatever its size.
 */
import type { Backend, RunOptions } from "../../backends/backend.ts";
import {
  bindSizes,
  type Graph,
  type HostTensor,
  inputName,
  intern,
  makeGraph,
  type Node,
  type Part,
  partition,
  rewriteNodes,
  type Sizes,
  selectOutputs,
  UsageError,
} from "../../compiler/index.ts";
import { openSizes } from "../generation/cache-tensors.ts";
import type { DeviceModel, ParameterSource } from "../modes/device-model.ts";
import { openSessions } from "../modes/open-sessions.ts";
import type { InferenceSession } from "../session.ts";
import { type HostStore, hostStore } from "./host-store.ts";
import { type LoadedPart, type PartWeights, partWeights } from "./part-weights.ts";

export interface OffloadOptions {
  /** Bytes of weights that are held at once: two parts. A part has at least the weights of one operation. */
  readonly memory: number;
  /** Told before each part of a run, and after the last. */
  readonly onPart?: (done: number, total: number) => void;
}

/** A model as `deviceModel` gives one; its store is in host memory. */
export function offloadedModel(backend: Backend, parameters: ParameterSource, options: OffloadOptions): DeviceModel {
  const store = hostStore();
  const sessions = openSessions();
  const session = async (graph: Graph, sizes: Sizes = {}): Promise<InferenceSession> => {
    const weights = partWeights(backend, parameters);
    return sessions.add(partsRunner(graph, sizes, weights, store, options), () => weights.dispose());
  };
  const dispose = () => {
    sessions.dispose();
    store.dispose();
  };
  return { backend, store, session, dispose };
}

/** Runs of one graph; one after another, since they share a device's memory. */
function partsRunner(
  graph: Graph,
  sizes: Sizes,
  weights: PartWeights,
  store: HostStore,
  options: OffloadOptions,
): InferenceSession["run"] {
  const plans = new Map<string, readonly Part[]>();
  const planFor = (bound: Sizes, outputs: readonly string[]): readonly Part[] => {
    const key = JSON.stringify([Object.entries(bound).sort(), outputs]);
    let parts = plans.get(key);
    if (!parts) {
      const wanted = selectOutputs(withoutState(graph), outputs);
      plans.set(key, (parts = partition(bindSizes(wanted, bound), options.memory / 2)));
    }
    return parts;
  };
  const run = async (feeds: Readonly<Record<string, HostTensor>>, { fetch }: RunOptions = {}) => {
    requireFeeds(graph, feeds);
    const bound = { ...sizes, ...openSizes(graph, feeds) };
    const names = graph.outputs.map((o) => o.name);
    const fetched = fetch ?? names.filter((n) => !(n in graph.updates));
    const parts = planFor(bound, [...new Set([...fetched, ...Object.keys(graph.updates)])]);
    const states = graph.inputs.filter(isState).map((n) => [inputName(n), store.get(inputName(n))] as const);
    const outputs = await runParts(parts, { ...feeds, ...Object.fromEntries(states) }, weights, options);
    for (const [name, state] of Object.entries(graph.updates)) store.set(state, outputs.get(name)!);
    return Object.fromEntries(fetched.map((name) => [name, outputs.get(name)!]));
  };
  let last: Promise<unknown> = Promise.resolve();
  return (feeds, runOptions) => {
    const turn = last.then(() => run(feeds, runOptions));
    last = turn.catch(() => undefined);
    return turn;
  };
}

const isState = (node: Node): boolean => node.op === "input" && node.attrs.role === "state";

/** The graph with its state as inputs that are fed; what replaces state are outputs like others. */
function withoutState(graph: Graph): Graph {
  const fed = (node: Node): Node => {
    if (!isState(node)) return node;
    const { role: _, ...attrs } = node.attrs;
    return intern("input", [], attrs, node.type, node.birth, node.path);
  };
  const roots = graph.outputs.map((o) => o.node);
  const result = rewriteNodes(roots, fed);
  return makeGraph(
    graph.name,
    graph.outputs.map(({ name, node }) => ({ name, node: result.get(node)! })),
    graph.inputs.map(fed),
  );
}

function requireFeeds(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): void {
  const wanted = graph.inputs.filter((n) => n.op !== "parameter" && !isState(n)).map(inputName);
  const missing = wanted.filter((name) => !Object.hasOwn(feeds, name));
  if (missing.length > 0) throw new UsageError(`graph @${graph.name} cannot run: ${missing.join(", ")} is not given`);
}

async function runParts(
  parts: readonly Part[],
  feeds: Readonly<Record<string, HostTensor>>,
  weights: PartWeights,
  { onPart }: OffloadOptions,
): Promise<Map<string, HostTensor>> {
  const outputs = new Map<string, HostTensor>();
  const results: (Record<string, HostTensor> | undefined)[] = [];
  const lastUser = lastUsers(parts);
  let next: Promise<LoadedPart> | undefined = weights.load(parts[0]!);
  try {
    for (const [i, part] of parts.entries()) {
      onPart?.(i, parts.length);
      const loaded: LoadedPart = await next!;
      const following = parts[i + 1];
      next = following && weights.load(following);
      next?.catch(() => {}); // told where it is awaited
      const values = part.values.map((v, k) => [`value.${k}`, results[v.part]![`result.${v.result}`]!] as const);
      const wanted = part.graph.inputs.filter((n) => n.op !== "parameter").map(inputName);
      const given = { ...feeds, ...Object.fromEntries(values) };
      results[i] = await loaded.executable.run(
        Object.fromEntries(wanted.map((name) => [name, given[name]!])),
        loaded.store,
      );
      weights.release(loaded);
      for (const { name, result } of part.outputs) outputs.set(name, results[i]![`result.${result}`]!);
      for (let k = 0; k <= i; k++) if ((lastUser.get(k) ?? k) <= i) results[k] = undefined;
    }
  } finally {
    await next?.catch(() => {}); // nothing is disposed of while it is being loaded
  }
  onPart?.(parts.length, parts.length);
  return outputs;
}

/** The last part that reads each part's results. */
function lastUsers(parts: readonly Part[]): Map<number, number> {
  const last = new Map<number, number>();
  for (const [i, part] of parts.entries()) for (const value of part.values) last.set(value.part, i);
  return last;
}
