/** The figures of `heddle inspect`: what a graph holds, computes and takes. */
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
  /** Its sizes, where it is a checkpoint's and of no published name. */
  readonly settingsInWords?: string;
  readonly parameters: number;
  readonly tensors: number;
  /** Elements that are kept with the parameters and not learned; absent where there are none. */
  readonly buffers?: number;
  readonly parametersByGroup: Readonly<Record<string, number>>;
  readonly sizes: Sizes;
  /** What else --graph takes, and what it is; absent for a training step. */
  readonly graphs?: Readonly<Record<string, string>>;
  /** `paper` counts as the model's paper does, for one sample; null for models that no paper counts. */
  readonly macs: { readonly exact: number; readonly paper: number | null };
  /** What a training stage or a job learns, how, and what an update of it computes; absent of a model. */
  readonly trainable?: { readonly stage: string; readonly parameters: number; readonly tensors: number };
  readonly settings?: StageSettings;
  readonly operations?: StepOperations;
  readonly graph: { readonly nodes: number; readonly ops: Readonly<Record<string, number>> };
  readonly kernels: { readonly count: number; readonly byKind: Readonly<Record<string, number>> };
  /** What it is computed in; absent where f16 is not asked for. */
  readonly precision?: PrecisionPath;
  /** Bytes. */
  readonly memory: { readonly parameters: number; readonly inputs: number; readonly activations: number };
  /** Bytes of a training step by what they are for, with those of the graph that ends accumulation; absent without --stage. */
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
