/**
 * Weight offloading: graphs run part by part, and each part's weights are on the device only while it runs. A model of
 * any size then needs memory only for two parts and the activations between them.
 */
import { type Backend, checkFeeds, checkResidents, fetchedOutputs } from "../../backends/backend.ts";
import {
  bindSizes,
  type Graph,
  type HostTensor,
  inputName,
  intern,
  isParameter,
  isState,
  loneSymbol,
  makeGraph,
  type Node,
  openSizes,
  type Part,
  type Precision,
  partition,
  partNames,
  rewriteNodes,
  type Sizes,
  selectOutputs,
} from "../../compiler/index.ts";
import type { DeviceModel } from "../modes/device-model.ts";
import { openSessions } from "../modes/open-sessions.ts";
import type { ParameterSource } from "../parameter-source.ts";
import type { InferenceSession } from "../session.ts";
import { copyOf, type HostStore, hostStore } from "./host-store.ts";
import { type LoadedPart, type PartWeights, partWeights } from "./part-weights.ts";

export interface OffloadOptions {
  /** Bytes of weights on the device at once: two parts. A part has at least the weights of one operation. */
  readonly memory: number;
  /** Recompile for each new set of sizes. Default false. */
  readonly fixed?: boolean;
  /**
   * The float type of most computation, if the device supports it; default "f32". Activations between parts are f32.
   */
  readonly precision?: Precision;
  /** Called before each part of a run, and after the last. */
  readonly onPart?: (done: number, total: number) => void;
  /** Called when a single operation's weights exceed that limit, with the bytes used instead. */
  readonly onExcess?: (bytes: number) => void;
}

/** A model like that of `deviceModel`, with its store in host memory. */
export function offloadedModel(backend: Backend, parameters: ParameterSource, options: OffloadOptions): DeviceModel {
  const store = hostStore();
  const sessions = openSessions();
  // Runs of all sessions are serialized and leave no weights behind, since they share the memory limit.
  let last: Promise<unknown> = Promise.resolve();
  const session = async (graph: Graph, sizes: Sizes = {}): Promise<InferenceSession> => {
    const weights = partWeights(backend, parameters, options.precision ?? "f32");
    const run = partsRunner(graph, sizes, weights, store, options);
    const inTurn: InferenceSession["run"] = (feeds, runOptions) => {
      const turn = last.then(() => run(feeds, runOptions));
      last = turn.catch(() => undefined);
      return turn;
    };
    return sessions.add(inTurn, () => weights.dispose());
  };
  const dispose = () => {
    sessions.dispose();
    store.dispose();
  };
  return { backend, store, fixed: options.fixed ?? false, computes: "f32", session, dispose };
}

function partsRunner(
  graph: Graph,
  sizes: Sizes,
  weights: PartWeights,
  store: HostStore,
  options: OffloadOptions,
): InferenceSession["run"] {
  const fed = withoutState(graph);
  const plans = new Map<string, readonly Part[]>();
  const untold = new Map<string, readonly string[]>();
  const cut = (selected: Graph, bound: Sizes) => partition(selected, options.memory / 2, bound);
  /** The parts for the given outputs. Sizes stay symbolic except those that some part's inputs do not determine. */
  const planFor = (bound: Sizes, outputs: readonly string[]): readonly Part[] => {
    const what = JSON.stringify(outputs);
    const selected = selectOutputs(fed, outputs);
    let fixed = options.fixed ? Object.keys(bound) : untold.get(what);
    if (!fixed) untold.set(what, (fixed = [...new Set(cut(selected, bound).flatMap((p) => untoldSizes(p.graph)))]));
    const given = Object.fromEntries(fixed.map((name) => [name, bound[name]!]));
    const key = JSON.stringify([outputs, Object.entries(given).sort()]);
    const known = plans.get(key);
    if (known) return known;
    const parts = cut(bindSizes(selected, given), bound);
    const held = 2 * Math.max(...parts.map((p) => p.bytes));
    if (held > options.memory) options.onExcess?.(held);
    plans.set(key, parts);
    return parts;
  };
  return async (feeds, { fetch } = {}) => {
    const bound = checkResidents(graph, store.find, checkFeeds(graph, feeds, sizes));
    const fetched = fetchedOutputs(graph, fetch);
    const parts = planFor(bound, [...new Set([...fetched, ...Object.keys(graph.updates)])]);
    const states = graph.inputs.filter(isState).map((n) => [inputName(n), store.get(inputName(n))] as const);
    const outputs = await runParts(parts, { ...feeds, ...Object.fromEntries(states) }, weights, options);
    for (const [name, state] of Object.entries(graph.updates)) store.set(state, outputs.get(name)!);
    // State is copied, since callers may write to their outputs.
    const handedOut = (name: string) => (name in graph.updates ? copyOf(outputs.get(name)!) : outputs.get(name)!);
    return Object.fromEntries(fetched.map((name) => [name, handedOut(name)]));
  };
}

/** The symbolic sizes of a part that no axis of an input determines. */
function untoldSizes(part: Graph): string[] {
  const told = part.inputs.flatMap((n) => n.type.axes.map((a) => loneSymbol(a.size)?.name));
  return openSizes(part).filter((name) => !told.includes(name));
}

/** The graph with its state turned into ordinary inputs, and state updates into ordinary outputs. */
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
      next?.catch(() => {}); // reported where it is awaited
      const values = part.values.map(
        (v, k) => [partNames.value(k), results[v.part]![partNames.result(v.result)]!] as const,
      );
      const wanted = part.graph.inputs.filter((n) => !isParameter(n)).map(inputName);
      const given = { ...feeds, ...Object.fromEntries(values) };
      results[i] = await loaded.executable.run(
        Object.fromEntries(wanted.map((name) => [name, given[name]!])),
        loaded.store,
      );
      weights.release(loaded);
      for (const { name, result } of part.outputs) outputs.set(name, results[i]![partNames.result(result)]!);
      for (let k = 0; k <= i; k++) if ((lastUser.get(k) ?? k) <= i) results[k] = undefined;
    }
  } finally {
    await next?.catch(() => {}); // nothing is freed while it is still being loaded
    weights.rest();
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
