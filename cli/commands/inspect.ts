/** `heddle inspect`: what a model is, costs and compiles to, before anything runs. */
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  countMacs,
  countOps,
  countParameters,
  type Graph,
  graphSymbols,
  nodesOf,
  type Program,
  printGraph,
  type Sizes,
  scheduleFor,
} from "../../compiler/index.ts";
import { loadGraph } from "../load.ts";
import { bytes, digits, json, short, table } from "../output.ts";

export interface InspectArguments {
  readonly set: readonly string[];
  readonly batch: number;
  readonly json: boolean;
  readonly text: boolean;
}

/** The figures that `--json` prints. */
export interface Inspection {
  readonly model: string;
  readonly parameters: number;
  readonly tensors: number;
  readonly parametersByGroup: Readonly<Record<string, number>>;
  readonly sizes: Sizes;
  readonly macs: { readonly exact: number };
  readonly graph: { readonly nodes: number; readonly ops: Readonly<Record<string, number>> };
  readonly kernels: { readonly count: number; readonly byKind: Readonly<Record<string, number>> };
  /** Bytes. */
  readonly memory: { readonly parameters: number; readonly inputs: number; readonly activations: number };
  readonly traffic: { readonly read: number; readonly written: number };
  readonly compileMs: number;
}

export async function inspectCommand(source: string, args: InspectArguments): Promise<number> {
  const begun = performance.now();
  const graph = await loadGraph(source, args.set);
  if (args.text) {
    process.stdout.write(printGraph(graph));
    return 0;
  }
  const result = inspect(graph, args.batch, begun);
  process.stdout.write(args.json ? `${json(result)}\n` : describe(result));
  return 0;
}

/** Every symbolic size is the batch, or an open length that stands at the same number. */
export function inspect(graph: Graph, batch: number, begun = performance.now()): Inspection {
  const sizes = Object.fromEntries(graphSymbols(graph).map((s) => [s, batch]));
  const program = compileKernels(bindSizes(graph, sizes), scheduleFor(baselineFacts));
  const { parameters, tensors, byGroup } = countParameters(graph);
  return {
    model: graph.name,
    parameters,
    tensors,
    parametersByGroup: byGroup,
    sizes,
    macs: { exact: countMacs(graph, sizes) },
    graph: { nodes: nodesOf(graph).length, ops: countOps(graph) },
    kernels: { count: program.kernels.length, byKind: countKinds(program) },
    memory: program.memory,
    traffic: total(program),
    compileMs: Math.round(performance.now() - begun),
  };
}

function countKinds(program: Program): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of program.kernels) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

const total = ({ kernels }: Program) => ({
  read: kernels.reduce((n, k) => n + k.bytesRead, 0),
  written: kernels.reduce((n, k) => n + k.bytesWritten, 0),
});

function describe(r: Inspection): string {
  const sizes = Object.entries(r.sizes)
    .map(([k, v]) => `${k} = ${v}`)
    .join(", ");
  const kinds = Object.entries(r.kernels.byKind)
    .map(([k, v]) => `${v} ${k.replace("_", " ")}`)
    .join(", ");
  const ops = Object.entries(r.graph.ops)
    .slice(0, 8)
    .map(([k, v]) => `${v} ${k}`)
    .join(", ");
  const groups = Object.entries(r.parametersByGroup).map(([k, v]) => [`  ${k}`, digits(v)] as const);
  return `${table([
    ["model", r.model],
    ["parameters", `${digits(r.parameters)} in ${digits(r.tensors)} tensors`],
    ...(groups.length > 1 ? groups : []),
    ["sizes", sizes === "" ? "all fixed" : sizes],
    ["multiply-accumulates", `${digits(r.macs.exact)} (${short(r.macs.exact)})`],
    ["graph", `${digits(r.graph.nodes)} nodes: ${ops} ...`],
    ["kernels", `${r.kernels.count}: ${kinds}`],
    ["memory, parameters", bytes(r.memory.parameters)],
    ["memory, activations", bytes(r.memory.activations)],
    ["memory traffic", `${bytes(r.traffic.read)} read, ${bytes(r.traffic.written)} written a run`],
    ["compiled in", `${r.compileMs} ms`],
  ])}\n`;
}
