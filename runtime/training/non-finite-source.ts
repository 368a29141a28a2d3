/**
 * Finds where a value that is not finite first appears in a step. By the time a run knows of one, its parameters are
 * lost to it; so the steps since the last checkpoint are repeated on a fresh store, up to the one before it.
 */
import type { Backend, Store } from "../../backends/backend.ts";
import {
  deviceBytes,
  dimValue,
  type Graph,
  type HostTensor,
  inputName,
  isConstant,
  isFeed,
  isGraphInput,
  locationOf,
  makeGraph,
  type Node,
  nodesOf,
  printLocation,
  type Sizes,
  sourceOf,
  topological,
  usersOf,
} from "../../compiler/index.ts";
import type { TrainingJob } from "./job.ts";
import { randomFeeds } from "./random-feeds.ts";
import { begin } from "./resume.ts";
import type { Phases } from "./runs.ts";
import type { TrainOptions } from "./train-options.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

export interface Repeatable {
  readonly job: TrainingJob;
  readonly options: TrainOptions;
  readonly phases: Phases;
  readonly say: (text: string) => void;
}

/**
 * Where the first value of step `number` comes from that is not finite, such as `an infinity in "blocks.3.mlp" (exp),
 * in the forward pass, at model.ts:32:17`. Undefined if it is not found: the run is asked to stop, the step does not
 * repeat itself, or its micro-batches depend on each other (gradient caching).
 */
export async function nonFiniteSource(run: Repeatable, number: number): Promise<string | undefined> {
  const { job, options, say } = run;
  if (job.step.accumulation?.cached) return undefined;
  const store = options.backend.createStore();
  try {
    const { done, cursor } = await begin(job, { ...options, resume: true, note: () => {} }, store);
    const again = number - done - 1;
    const steps = again === 1 ? `step ${done + 1}` : `steps ${done + 1} to ${number - 1}`;
    say(`${again === 0 ? "" : `repeating ${steps}, `}to find the first value of step ${number} that is not finite`);
    const microBatches = await repeatedUntil(run, store, { done, cursor }, number);
    for (const feeds of microBatches ?? []) {
      const found = await inStep(job, options.backend, store, feeds);
      if (found) return found;
    }
    return undefined;
  } finally {
    store.dispose();
  }
}

/** Repeats the steps before `number`, and returns the feeds of its micro-batches; undefined if asked to stop. */
async function repeatedUntil(
  { job, options, phases }: Repeatable,
  store: Store,
  { done, cursor }: Pick<Awaited<ReturnType<typeof begin>>, "done" | "cursor">,
  number: number,
): Promise<readonly Feeds[] | undefined> {
  const { count } = phases;
  const random = randomFeeds(job);
  const last: Feeds[] = [];
  let index = done * count;
  try {
    for await (const batch of job.batches(cursor, () => {})) {
      if (options.signal?.aborted) return undefined;
      const feeds = { ...batch.feeds, ...(await random.of(index)) };
      if (index >= (number - 1) * count) last.push(feeds);
      else for (const run of phases.runs(store, index % count, feeds)) await run.start();
      if (++index === number * count) return last;
    }
    return undefined;
  } finally {
    await random.dispose();
  }
}

/** Inputs that a batch brings, rather than the store. */
const isFed = (node: Node): boolean => isFeed(node) || sourceOf(node) === "random";

/** The first value of a micro-batch that is not finite: an input, a parameter, or a result of the graph. */
async function inStep(job: TrainingJob, backend: Backend, store: Store, feeds: Feeds): Promise<string | undefined> {
  const { graph } = job.step;
  for (const node of graph.inputs.filter(isFed)) {
    const fault = faultOf(feeds[inputName(node)]);
    if (fault) return `${fault} in the input "${inputName(node)}"`;
  }
  for (const node of graph.inputs.filter((input) => !isFed(input))) {
    const fault = faultOf(await store.read(inputName(node)));
    if (fault) return `${fault} in "${inputName(node)}", which the step before wrote`;
  }
  const { forward, backward } = passes(graph);
  const probe = (nodes: readonly Node[]) => firstNonFinite(nodes, { job, backend, store, feeds });
  const found = (await probe(forward)) ?? (await probe(backward));
  if (!found) return undefined;
  const { node, fault } = found;
  const location = locationOf(node.birth);
  const module = node.path === "" ? node.op : `"${node.path}" (${node.op})`;
  const pass = forward.includes(node) ? "forward" : "backward";
  return `${fault} in ${module}, in the ${pass} pass${location ? `, at ${printLocation(location)}` : ""}`;
}

/** The nodes that compute floats, in order: those that the loss is computed from, and all others. */
function passes(graph: Graph) {
  const isProbed = (node: Node) =>
    !isGraphInput(node) && !isConstant(node) && (node.type.dtype === "f32" || node.type.dtype === "f16");
  const loss = graph.outputs.filter((o) => o.name === "loss").map((o) => o.node);
  const before = new Set(topological(loss));
  const nodes = nodesOf(graph).filter(isProbed);
  return { forward: nodes.filter((n) => before.has(n)), backward: nodes.filter((n) => !before.has(n)) };
}

/** Limits of the results that are computed at once: the device holds them all. */
const [mostAtOnce, mostBytes] = [64, 2 ** 28];

interface Probing {
  readonly job: TrainingJob;
  readonly backend: Backend;
  readonly store: Store;
  readonly feeds: Feeds;
}

interface Found {
  readonly node: Node;
  readonly fault: string;
}

/** Of many nodes, those are computed first that another module reads; then those of the module that was found. */
async function firstNonFinite(nodes: readonly Node[], probing: Probing): Promise<Found | undefined> {
  if (nodes.length <= mostAtOnce) return await inPieces(nodes, probing);
  const users = usersOf(nodesOf(probing.job.step.graph));
  const isInner = (node: Node) => {
    const of = users.get(node)!;
    return of.length > 0 && of.every((user) => user.path === node.path);
  };
  const found = await inPieces(
    nodes.filter((node) => !isInner(node)),
    probing,
  );
  const inside = nodes.filter((node) => node.path === found?.node.path);
  return found && ((await inPieces(inside, probing)) ?? found);
}

async function inPieces(nodes: readonly Node[], probing: Probing): Promise<Found | undefined> {
  for (const piece of pieces(nodes, probing.job.sizes)) {
    const found = await firstOf(piece, probing);
    if (found) return found;
  }
  return undefined;
}

function pieces(nodes: readonly Node[], sizes: Sizes): Node[][] {
  const made: Node[][] = [];
  let bytes = 0;
  for (const node of nodes) {
    const own = dimValue(deviceBytes(node), sizes);
    const last = made.at(-1);
    if (last && last.length < mostAtOnce && bytes + own <= mostBytes) {
      last.push(node);
      bytes += own;
    } else {
      made.push([node]);
      bytes = own;
    }
  }
  return made;
}

/** Computes the nodes, and returns the first with a value that is not finite. */
async function firstOf(nodes: readonly Node[], { job, backend, store, feeds }: Probing): Promise<Found | undefined> {
  const graph = makeGraph(
    "probe",
    nodes.map((node, i) => ({ name: `value.${i}`, node })),
  );
  const { sizes, step } = job;
  const executable = await backend.compile(graph, { sizes, fixed: true, precision: step.precision });
  try {
    const own = new Set(graph.inputs.filter(isFed).map(inputName));
    const fed = Object.fromEntries(Object.entries(feeds).filter(([name]) => own.has(name)));
    const values = await executable.run(fed, store);
    for (const [i, node] of nodes.entries()) {
      const fault = faultOf(values[`value.${i}`]);
      if (fault) return { node, fault };
    }
    return undefined;
  } finally {
    executable.dispose();
  }
}

/** "a NaN" or "an infinity", whichever comes first; undefined if all elements are finite. */
function faultOf(tensor: HostTensor | undefined): string | undefined {
  const wrong = tensor?.data.find((x: number) => !Number.isFinite(x));
  if (wrong === undefined) return undefined;
  return Number.isNaN(wrong) ? "a NaN" : "an infinity";
}
