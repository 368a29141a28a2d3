/** The figures of `heddle inspect`: parameters, operations and memory of a graph. */
import {
  countMacs,
  countOps,
  countParameters,
  dimValue,
  type Graph,
  type MemoryByKind,
  memoryOf,
  nodesOf,
  type PrecisionPath,
  type Program,
  type Sizes,
  type StepOperations,
} from "../../../compiler/index.ts";
import { stepMemory } from "../../../dsl/index.ts";
import { precisionFor } from "../../precision.ts";
import { ofEachGraph, type StageSettings, updateOperations } from "../../stage-figures.ts";
import type { TrainingSubject } from "../../training-subject.ts";
import type { InspectArguments } from "./arguments.ts";
import { compiled, pathOf } from "./programs.ts";

/** The figures that `--json` prints. */
export interface Inspection {
  readonly model: string;
  /** Its sizes, for a checkpoint of no published name. */
  readonly settingsInWords?: string;
  readonly parameters: number;
  readonly tensors: number;
  /** Buffer elements, which are stored but not trained; absent if there are none. */
  readonly buffers?: number;
  readonly parametersByGroup: Readonly<Record<string, number>>;
  readonly sizes: Sizes;
  /** The other graphs that --graph takes, with descriptions; absent for a training step. */
  readonly graphs?: Readonly<Record<string, string>>;
  /** The stages of a job that follow the one inspected, which --stage takes; absent if there are none. */
  readonly following?: readonly string[];
  /** `paper` counts as the model's paper does, for one sample; null if no paper does. */
  readonly macs: { readonly exact: number; readonly paper: number | null };
  /** For a training stage or a job: what it trains, how, and the operations of an update. */
  readonly trainable?: { readonly stage: string; readonly parameters: number; readonly tensors: number };
  readonly settings?: StageSettings;
  readonly operations?: StepOperations;
  readonly graph: { readonly nodes: number; readonly ops: Readonly<Record<string, number>> };
  readonly kernels: { readonly count: number; readonly byKind: Readonly<Record<string, number>> };
  /** The precision it is computed in; absent unless f16 is requested. */
  readonly precision?: PrecisionPath;
  /** Bytes. */
  readonly memory: { readonly parameters: number; readonly inputs: number; readonly activations: number };
  /** Bytes of a training step by kind, including the graph that ends accumulation; absent without --stage. */
  readonly memoryByKind?: MemoryByKind;
  readonly traffic: { readonly read: number; readonly written: number };
  readonly compileMs: number;
}

export function inspect(
  graph: Graph,
  step: TrainingSubject["step"] | undefined,
  sizes: Sizes,
  args: InspectArguments,
  begun: number,
): Inspection {
  const programs =
    step && ofEachGraph<Program>(step, (part, dtype, made) => compiled(part, sizes, { ...args, dtype }, made));
  const program = programs?.step ?? compiled(graph, sizes, args);
  const { parameters, tensors, buffers, byGroup } = countParameters(graph);
  return {
    model: graph.name,
    parameters,
    tensors,
    ...(buffers > 0 && { buffers }),
    parametersByGroup: byGroup,
    sizes,
    macs: { exact: countMacs(graph, sizes), paper: null },
    graph: { nodes: nodesOf(graph).length, ops: countOps(graph) },
    kernels: { count: program.kernels.length, byKind: countKinds(program) },
    ...(precisionFor(args.dtype) === "f16" && { precision: pathOf(graph, args) }),
    memory: memoryOf(program),
    ...(step && { memoryByKind: stepMemory(step, Object.values<Program>(programs!), sizes) }),
    ...(step && { operations: updateOperations(step, sizes, step.accumulation?.count ?? 1) }),
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
  read: kernels.reduce((n, k) => n + dimValue(k.bytesRead), 0),
  written: kernels.reduce((n, k) => n + dimValue(k.bytesWritten), 0),
});
