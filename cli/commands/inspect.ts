/** `heddle inspect`: what a model is, costs and compiles to, before anything runs. */
import {
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
  UsageError,
} from "../../compiler/index.ts";
import { configure, parseSettings, trainingStep } from "../../dsl/index.ts";
import { bundled } from "../../models/index.ts";
import { loadGraph } from "../load.ts";
import { bytes, digits, json, short, table } from "../output.ts";
import { typicalSchedule } from "../typical-gpu.ts";
import { sweepCommand } from "./sweep.ts";

export interface InspectArguments {
  readonly set: readonly string[];
  readonly batch: number;
  readonly json: boolean;
  readonly text: boolean;
  readonly stage?: string;
  readonly sweep: readonly string[];
  readonly budget?: number;
  readonly device?: string;
}

/** The figures that `--json` prints. */
export interface Inspection {
  readonly model: string;
  readonly parameters: number;
  readonly tensors: number;
  readonly parametersByGroup: Readonly<Record<string, number>>;
  readonly sizes: Sizes;
  /** `paper` counts as the model's paper does, for one sample; null for models that no paper counts. */
  readonly macs: { readonly exact: number; readonly paper: number | null };
  /** What a training stage learns; absent without --stage. */
  readonly trainable?: { readonly stage: string; readonly parameters: number; readonly tensors: number };
  readonly graph: { readonly nodes: number; readonly ops: Readonly<Record<string, number>> };
  readonly kernels: { readonly count: number; readonly byKind: Readonly<Record<string, number>> };
  /** Bytes. */
  readonly memory: { readonly parameters: number; readonly inputs: number; readonly activations: number };
  readonly traffic: { readonly read: number; readonly written: number };
  readonly compileMs: number;
}

export async function inspectCommand(source: string, args: InspectArguments): Promise<number> {
  if (args.sweep.length > 0) return await sweepCommand(source, args);
  const begun = performance.now();
  const { graph, parts } = await subject(source, args);
  if (args.text) {
    process.stdout.write(printGraph(graph));
    return 0;
  }
  const result = { ...inspect(graph, args.batch, begun), ...parts };
  process.stdout.write(args.json ? `${json(result)}\n` : describe(result));
  return 0;
}

/** The graph to look at, and what is known besides: of a stage, its training step. */
async function subject(source: string, args: InspectArguments): Promise<{ graph: Graph; parts: Partial<Inspection> }> {
  const known = bundled.find((b) => b.model.name === source);
  const graph = await loadGraph(source, args.set);
  const config = known && configure(known.model, parseSettings(known.model, args.set));
  const paper = known && config ? known.paperMacs(config) : null;
  if (args.stage === undefined) {
    const sizes = Object.fromEntries(graphSymbols(graph).map((s) => [s, args.batch]));
    return { graph, parts: { macs: { exact: countMacs(graph, sizes), paper } } };
  }
  const recipe = known?.stages[args.stage];
  if (!known || !config || !recipe) {
    const stages = Object.keys(known?.stages ?? {});
    throw new UsageError(
      `"${source}" has no stage "${args.stage}"; ${stages.length > 0 ? `it has ${stages.join(", ")}` : "it has none"}`,
    );
  }
  const step = trainingStep(recipe(config).stage);
  const parameters = step.layout.entries.reduce((n, e) => n + e.length, 0);
  const all = countParameters(graph); // the whole model, also what this stage's loss does not use
  return {
    graph: step.graph,
    parts: {
      model: graph.name,
      parameters: all.parameters,
      tensors: all.tensors,
      parametersByGroup: all.byGroup,
      trainable: { stage: args.stage, parameters, tensors: step.trained.length },
    },
  };
}

/** Every symbolic size is the batch, or an open length that stands at the same number. */
export function inspect(graph: Graph, batch: number, begun = performance.now()): Inspection {
  const sizes = Object.fromEntries(graphSymbols(graph).map((s) => [s, batch]));
  const program = compileKernels(bindSizes(graph, sizes), typicalSchedule);
  const { parameters, tensors, byGroup } = countParameters(graph);
  return {
    model: graph.name,
    parameters,
    tensors,
    parametersByGroup: byGroup,
    sizes,
    macs: { exact: countMacs(graph, sizes), paper: null },
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
    ...(r.trainable
      ? [
          [
            "trainable",
            `${digits(r.trainable.parameters)} in ${r.trainable.tensors} tensors (stage ${r.trainable.stage})`,
          ] as const,
        ]
      : []),
    ["sizes", sizes === "" ? "all fixed" : sizes],
    ["multiply-accumulates", `${digits(r.macs.exact)} (${short(r.macs.exact)})`],
    ...(r.macs.paper === null ? [] : [["  as the paper counts", digits(r.macs.paper)] as const]),
    ["graph", `${digits(r.graph.nodes)} nodes: ${ops} ...`],
    ["kernels", `${r.kernels.count}: ${kinds}`],
    ["memory, parameters", bytes(r.memory.parameters)],
    [r.trainable ? "memory, activations and gradients" : "memory, activations", bytes(r.memory.activations)],
    ["memory traffic", `${bytes(r.traffic.read)} read, ${bytes(r.traffic.written)} written a run`],
    ["compiled in", `${r.compileMs} ms`],
  ])}\n`;
}
