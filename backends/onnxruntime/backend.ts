/**
 * The cpu device: a graph is exported in memory and run by onnxruntime, which reads parameters and state in place as
 * inputs.
 */
import { availableParallelism, cpus } from "node:os";
import {
  bindDim,
  bindSizes,
  type Dim,
  type Graph,
  type HostTensor,
  InternalError,
  inputName,
  loneSymbol,
  type Node,
  nodesOf,
  type SizedAxis,
  type Sizes,
  UsageError,
} from "../../compiler/index.ts";
import type { Backend, Executable, Store } from "../backend.ts";
import { checkFeeds, checkResidents, fedInputs, fetchedOutputs, isResident } from "../feeds.ts";
import { requireHostMemory } from "../host-memory.ts";
import { encodeOnnx, exportOnnx, type OnnxExport } from "../onnx/index.ts";
import {
  asStored,
  dropView,
  type OrtSession,
  type OrtTensor,
  onnxruntime,
  openSession,
  type SessionSettings,
  unwrap,
  wrap,
} from "./session.ts";
import { type CpuStore, cpuStore, type Resident } from "./store.ts";

export type CpuOptions = SessionSettings;

/** The opset that onnxruntime's CPU kernels cover best: it has RMSNormalization and Gelu. */
const cpuOpset = 23;

/** Opens the cpu device. Throws UnsupportedError where onnxruntime-node is not installed. */
export async function cpuBackend(options: CpuOptions = {}): Promise<Backend> {
  const { env } = onnxruntime();
  // Set explicitly: onnxruntime counts cores, and a virtual machine may show two threads as one core.
  const threads = options.threads ?? availableParallelism();
  let sessions = 0;
  return {
    device: {
      backend: "cpu",
      name: `onnxruntime ${env.versions.node ?? env.versions.common} on ${cpus()[0]?.model.trim() ?? process.arch}, ${threads} ${threads === 1 ? "thread" : "threads"}`,
      software: false,
    },
    createStore: cpuStore,
    compile: async (graph, compileOptions) => {
      const made = await compile(graph, compileOptions?.sizes ?? {}, { ...options, threads });
      sessions++;
      return made;
    },
    precision: ({ precision, parameters = precision }) => ({
      computes: "f32",
      path: parameters === "f16" ? "f16 storage only, f32 compute" : "f32",
      why: "onnxruntime's CPU kernels have no f16 matrix products",
    }),
    pipelines: () => sessions,
    dispose: () => {},
  };
}

async function compile(graph: Graph, sizes: Sizes, options: CpuOptions): Promise<Executable> {
  const bound = bindSizes(graph, sizes);
  requireHostMemory(bound);
  const model = exportOnnx(withoutUnread(bound), { opset: cpuOpset, dialect: "onnxruntime", residents: "bound" });
  const session = await openSession(await encodeOnnx(model), options);
  const program: Program = { graph: bound, model, session };
  return {
    graph,
    run: (feeds, store, runOptions) => {
      const own = ownStore(store);
      return own.exclusive(() => run(program, feeds, own, fetchedOutputs(bound, runOptions?.fetch)));
    },
    dispose: () => void session.release(),
  };
}

/**
 * The graph without the parameters and states that it declares and does not read: a file's inputs must all be given,
 * but the store need not have these. One stays that alone has a symbolic size, such as a cache's capacity where the
 * graph only writes the cache.
 */
function withoutUnread(graph: Graph): Graph {
  const read = new Set(nodesOf(graph));
  const isRead = (n: Node) => read.has(n) || !isResident(n);
  const symbols = (n: Node) => n.type.axes.flatMap((a) => loneSymbol(a.size)?.name ?? []);
  const known = new Set(graph.inputs.filter(isRead).flatMap(symbols));
  const inputs = graph.inputs.filter((n) => isRead(n) || symbols(n).some((s) => !known.has(s)));
  const names = new Set(inputs.map(inputName));
  const updates = Object.entries(graph.updates).filter(([, state]) => names.has(state));
  return { ...graph, inputs, updates: Object.fromEntries(updates) };
}

interface Program {
  readonly graph: Graph;
  readonly model: OnnxExport;
  readonly session: OrtSession;
}

function ownStore(store: Store): CpuStore {
  if ("swap" in store) return store as CpuStore;
  throw new UsageError("this store belongs to another device: make one with the cpu device's createStore()");
}

async function run(
  { graph, model, session }: Program,
  feeds: Readonly<Record<string, HostTensor>>,
  store: CpuStore,
  fetch: readonly string[],
): Promise<Record<string, HostTensor>> {
  const sizes = checkResidents(graph, store.find, checkFeeds(graph, feeds));
  const inputs = { ...fedTensors(graph, feeds), ...residentTensors(graph, model, store) };
  const wanted = graph.outputs.filter((o) => fetch.includes(o.name) || o.name in graph.updates);
  const updates = Object.entries(graph.updates);
  const swapped = new Map(
    updates.filter(([name, target]) => fits(outputNamed(graph, name), store.find(target), sizes)),
  );
  const placeOf = (name: string) => (swapped.has(name) ? spareOf(swapped.get(name)!, store) : null);
  const places = wanted.map(({ name }) => [model.outputs[name]!, placeOf(name)]);
  const made = await session.run(inputs, Object.fromEntries(places));
  const tensorOf = (name: string) => made[model.outputs[name]!] as OrtTensor;
  const result = (name: string) => residentOf(outputNamed(graph, name), tensorOf(name), sizes);
  const fetched = Object.fromEntries(fetch.map((name) => [name, handedOut(result(name), name in graph.updates)]));
  for (const [name, target] of updates) {
    if (!swapped.has(name)) store.adopt(target, result(name));
    else {
      dropView(tensorOf(name), store.spare(target));
      store.swap(target);
    }
  }
  return fetched;
}

const outputNamed = (graph: Graph, name: string): Node => graph.outputs.find((o) => o.name === name)!.node;

/**
 * Whether a new state has the size of the held one, and so is written to its spare buffer; others are written to one of
 * onnxruntime's. A state that is only written need not be held before.
 */
const fits = ({ type }: Node, held: HostTensor | undefined, sizes: Sizes): boolean =>
  held !== undefined && type.axes.every((a, i) => bindDim(a.size, sizes) === held.axes[i]?.size);

function spareOf(target: string, store: CpuStore): OrtTensor {
  const { dtype, axes } = store.resident(target);
  return wrap(
    dtype,
    store.spare(target),
    axes.map((a) => a.size),
  );
}

function residentOf({ type: { dtype, axes } }: Node, tensor: OrtTensor, sizes: Sizes): Resident {
  return {
    dtype,
    axes: axes.map((a, i) => sized(a.name, bindDim(a.size, sizes), tensor.dims[i])),
    data: unwrap(dtype, tensor),
  };
}

/** State keeps its buffers: callers get a copy. */
const handedOut = (r: Resident, kept: boolean): HostTensor => (kept ? { ...r, data: r.data.slice() } : r);

function sized(name: string, expected: Dim, got: number | undefined): SizedAxis {
  if (got === undefined || (typeof expected === "number" && expected !== got)) {
    throw new InternalError(`onnxruntime returned axis "${name}" of ${got} elements where the graph says ${expected}`);
  }
  return { name, size: got };
}

const fedTensors = (graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Record<string, OrtTensor> =>
  Object.fromEntries(
    fedInputs(graph).map((n) => {
      const { dtype, axes, data } = feeds[inputName(n)]!;
      return [
        inputName(n),
        wrap(
          dtype,
          asStored(dtype, data),
          axes.map((a) => a.size),
        ),
      ];
    }),
  );

/** Every resident tensor that the model reads, or the ranges of it that the model reads. */
function residentTensors(graph: Graph, model: OnnxExport, store: CpuStore): Record<string, OrtTensor> {
  const tensors: Record<string, OrtTensor> = {};
  for (const { name, tensor, start, dtype, dims } of model.bound) {
    const length = dims.reduce((a, b) => a * b, 1);
    tensors[name] = wrap(dtype, store.resident(tensor).data.subarray(start, start + length), dims);
  }
  for (const node of withoutUnread(graph).inputs.filter((n) => isResident(n) && !isStaticNode(n))) {
    const { dtype, axes, data } = store.resident(inputName(node));
    tensors[inputName(node)] = wrap(
      dtype,
      data,
      axes.map((a) => a.size),
    );
  }
  return tensors;
}

const isStaticNode = (n: Node): boolean => n.type.axes.every((a) => typeof a.size === "number");
