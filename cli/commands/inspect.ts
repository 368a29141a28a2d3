/** `heddle inspect`: what a model is, costs and compiles to, before anything runs. */
import { setFlagsFromString } from "node:v8";
import { tunedOptions } from "../../api/node-index.ts";
import { exportOnnx, printOnnx } from "../../backends/onnx/index.ts";
import { emitWgsl, factsOf, timeKernels, type WebgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import {
  type AdapterFacts,
  beforeAndAfter,
  bindSizes,
  compileKernels,
  countMacs,
  countOps,
  countParameters,
  didYouMean,
  dimValue,
  type Graph,
  globMatches,
  graphSymbols,
  inspectionPage,
  type MemoryByKind,
  memoryOf,
  nodesOf,
  type PrecisionPath,
  type Program,
  type ProgramKernel,
  precisionPath,
  printGraph,
  printKernel,
  readSwitches,
  recordingObserver,
  type Sizes,
  type StepOperations,
  switchObservers,
  UsageError,
} from "../../compiler/index.ts";
import { type Model, stepMemory } from "../../dsl/index.ts";
import { writeFileAtomically } from "../../runtime/index.ts";
import { adapterNamed, anyGpu } from "../adapters.ts";
import { ceilingsOf } from "../ceilings.ts";
import { type Measured, printKernels, shapesOf } from "../kernel-report.ts";
import { type GraphChoice, isJob, loadConfigured } from "../load.ts";
import { bytesOnly, type MemoryBudget } from "../memory-budget.ts";
import { memoryRows } from "../memory-report.ts";
import { exportDtype } from "../onnx-file.ts";
import { bytes, digits, json, short, table } from "../output.ts";
import { keptAs, precisionFor, precisionText } from "../precision.ts";
import { assertStage, type RoadChoice, roadTo, travel } from "../roads.ts";
import { type SizeArguments, sizesOf } from "../sizes.ts";
import {
  ofEachGraph,
  operationRows,
  parameterFigures,
  printSettings,
  type StageSettings,
  stageSettings,
  updateOperations,
} from "../stage-figures.ts";
import { stageStep } from "../stage-step.ts";
import { jobSubject, samples, type TrainingSubject } from "../training-subject.ts";
import { sweepCommand } from "./sweep.ts";

export interface InspectArguments extends GraphChoice, SizeArguments {
  readonly json: boolean;
  readonly text: boolean;
  readonly stage?: string;
  readonly target: string;
  readonly dtype: string;
  readonly pass?: string;
  /** A pattern of kernels' names; true where none is given. */
  readonly kernels?: string | true;
  readonly adapter: string;
  readonly fixed: boolean;
  /** Times the kernels on the GPU that is here. */
  readonly measure: boolean;
  readonly html?: string;
  readonly sweep: readonly string[];
  readonly budget?: number;
  /** What the graph may take; in bytes, since no device is opened. */
  readonly memory?: MemoryBudget;
  readonly device?: string;
}

/** The figures that `--json` prints. */
export interface Inspection {
  readonly model: string;
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

/** As a person gives them: where `batch` is left out, it is 1, and of a job its own. */
export type InspectOptions = Omit<InspectArguments, "batch"> & { readonly batch?: number };

export async function inspectCommand(source: string, options: InspectOptions): Promise<number> {
  const given = { ...options, batch: options.batch ?? 1 };
  // A second's work leaves 100 MB of garbage, for which V8 would grow its young generation to 64 MB.
  setFlagsFromString("--semi-space-growth-factor=1");
  if (given.sweep.length > 0) return await sweepCommand(source, given);
  const job = (await isJob(source)) ? await inspectedJob(source, options) : undefined;
  const args = job?.args ?? given;
  if (args.measure && args.kernels === undefined)
    throw new UsageError("--measure goes with --kernels: it times them on the GPU that is here");
  if (args.measure && args.adapter !== anyGpu)
    throw new UsageError(`--measure times kernels on the GPU that is here, not on --adapter ${args.adapter}`);
  const stray = (["budget", "device"] as const).find((key) => args[key] !== undefined);
  if (stray) throw new UsageError(`--${stray} goes with --sweep, as in --sweep depth=32,48`);
  const begun = performance.now();
  const { graph, parts, step } = job ?? (await subject(source, args));
  if (args.text) {
    process.stdout.write(printGraph(graph));
    return 0;
  }
  if (args.pass !== undefined || args.html !== undefined) return await showStages(graph, args);
  if (args.kernels !== undefined) return await showKernels(graph, args, args.kernels === true ? "*" : args.kernels);
  const sizes = sizesOf(graph, args);
  lookInside(graph, sizes, args);
  const result = { ...inspect(graph, step, sizes, args, begun), ...parts };
  process.stdout.write(args.json ? `${json(result)}\n` : describe(result));
  return 0;
}

/** Prints what a stage was given and what it made, or writes one page to step through all stages of a target. */
async function showStages(graph: Graph, args: InspectArguments): Promise<number> {
  const { target, pass, html } = args;
  const road = roadTo(target, graph, choiceOf(sizesOf(graph, args), args));
  // Of a form with named parts, such as kernels, a pattern says which.
  const [stage, names] = pass?.split(":") ?? [];
  if (stage !== undefined) assertStage(target, road, stage);
  const recording = recordingObserver();
  travel(road, { observers: [recording] });
  if (html !== undefined) {
    await writeFileAtomically(html, inspectionPage(`${graph.name} to ${target}`, recording.reports));
    process.stdout.write(`${html}\n`);
  }
  for (const report of recording.reports)
    if (report.stage === stage) process.stdout.write(`${beforeAndAfter(report, names)}\n`);
  return 0;
}

/** Lists kernels with the schedules they are made by. Sizes stay open, as they do on a device, but for --fixed. */
async function showKernels(graph: Graph, args: InspectArguments, pattern: string): Promise<number> {
  const sizes = sizesOf(graph, args);
  const precision = precisionFor(args.dtype);
  const bound = keptAs(args.fixed ? bindSizes(graph, sizes) : graph, exportDtype(args.dtype));
  if (args.measure)
    return await withGpu(async (gpu) => {
      const program = compileKernels(bound, factsOf(gpu), { ...(await tunedOptions(gpu)), precision });
      const chosen = kernelsNamed(program, pattern);
      const { ceilings } = await ceilingsOf(gpu);
      const times = await timeKernels(gpu, program, chosen, sizes);
      const path = precision === "f16" ? pathOn(factsOf(gpu), graph, args) : undefined;
      const adapter = gpu.adapter.description;
      const about = { name: adapter, what: `${adapter}, timed`, path };
      return reportKernels(program, chosen, sizes, about, args, { ceilings, times });
    });
  const { what, facts, measured } = adapterNamed(args.adapter);
  const program = compileKernels(bound, facts, { precision });
  const about = { name: args.adapter, what, path: precision === "f16" ? pathOf(graph, args) : undefined };
  return reportKernels(program, kernelsNamed(program, pattern), sizes, about, args, measured);
}

async function withGpu<T>(body: (gpu: WebgpuBackend["gpu"]) => Promise<T>): Promise<T> {
  const gpu = await requestDevice({ prefer: "hardware" });
  try {
    return await body(gpu);
  } finally {
    gpu.dispose();
  }
}

/** Throws UsageError where no kernel has a name that matches. */
function kernelsNamed({ kernels, graph }: Program, pattern: string): readonly ProgramKernel[] {
  const chosen = kernels.filter((k) => globMatches(pattern, k.name));
  if (chosen.length > 0) return chosen;
  const near = didYouMean(
    pattern,
    kernels.map((k) => k.name),
  );
  throw new UsageError(`no kernel of ${graph.name} is called "${pattern}"${near || "; --kernels lists them all"}`);
}

interface About {
  readonly name: string;
  readonly what: string;
  /** Where f16 is asked for. */
  readonly path: PrecisionPath | undefined;
}

function reportKernels(
  program: Program,
  chosen: readonly ProgramKernel[],
  sizes: Sizes,
  { name, what, path }: About,
  args: InspectArguments,
  measured?: Measured,
): number {
  const shapes = shapesOf(chosen, sizes, measured);
  const precision = path && { precision: path };
  const report = { model: program.graph.name, adapter: name, sizes, ...precision, open: program.symbols, shapes };
  const notes = path ? [`computed in ${precisionText(path)}`] : [];
  process.stdout.write(
    args.json ? `${json(report)}\n` : printKernels(program, shapes, sizes, { adapter: what, notes }),
  );
  return 0;
}

/** What the options say of a road. */
const choiceOf = (sizes: Sizes, { dtype, adapter }: InspectArguments): RoadChoice => ({
  sizes,
  dtype: exportDtype(dtype),
  facts: adapterNamed(adapter).facts,
});

/** What a graph is computed in on the adapter named; the parameters that a step updates stay f32. */
const pathOf = (graph: Graph, args: InspectArguments): PrecisionPath =>
  pathOn(adapterNamed(args.adapter).facts, graph, args);

const pathOn = (facts: AdapterFacts, { updates }: Graph, { dtype }: InspectArguments): PrecisionPath =>
  precisionPath(facts, {
    precision: precisionFor(dtype),
    ...(Object.keys(updates).length > 0 && { parameters: "f32" }),
  });

/** What the DUMP, TRACE and TIME switches ask for, on stderr. */
function lookInside(graph: Graph, sizes: Sizes, args: InspectArguments): void {
  const { target } = args;
  const dtype = exportDtype(args.dtype);
  const switches = readSwitches(process.env);
  const write = (line: string) => void process.stderr.write(`${line}\n`);
  if ([switches.dump, switches.trace, switches.time].every((asked) => asked.length === 0)) return;
  travel(roadTo(target, graph, choiceOf(sizes, args)), {
    observers: switchObservers(switches, write),
    check: switches.check,
  });
  if (switches.dump.some((s) => s.what === "onnx")) write(printOnnx(exportOnnx(graph, { dtype }).model));
  for (const { what, names } of switches.dump.filter((s) => s.what === "kernel" || s.what === "wgsl")) {
    for (const { name, kernel } of compiled(graph, sizes, args).kernels) {
      if (globMatches(names, name)) write(`// ${name}\n${what === "wgsl" ? emitWgsl(kernel) : printKernel(kernel)}\n`);
    }
  }
}

const compiled = (
  graph: Graph,
  sizes: Sizes,
  { dtype, adapter, memory }: InspectArguments,
  beside: readonly Program[] = [],
): Program =>
  compileKernels(keptAs(bindSizes(graph, sizes), exportDtype(dtype)), adapterNamed(adapter).facts, {
    precision: precisionFor(dtype),
    ...(memory && { memory: bytesOnly(memory), beside }),
  });

interface Subject {
  readonly graph: Graph;
  readonly parts: Partial<Inspection>;
  readonly step?: TrainingSubject["step"];
}

/** A user's own job, at its own sizes and precision where the options say no others. */
async function inspectedJob(
  source: string,
  options: InspectOptions,
): Promise<Subject & { readonly args: InspectArguments }> {
  const { stage, graph: named, dtype } = options;
  const stray = stage !== undefined ? "--stage" : named !== undefined ? "--graph" : undefined;
  if (stray) throw new UsageError(`${stray} is about a model; "${source}" is a job, whose training step is inspected`);
  if (dtype !== "f32")
    throw new UsageError(`--dtype is about a model; a job says it by its settings: --set precision=${dtype}`);
  const job = await jobSubject(source, { set: options.set, size: [] });
  const { graph, precision } = job.step;
  const open = graphSymbols(graph).filter((name) => job.sizes[name] !== undefined);
  const { batch } = options;
  const own = open
    .filter((name) => batch === undefined || name !== samples)
    .map((name) => `${name}=${job.sizes[name]}`);
  const args = { ...options, dtype: precision, batch: batch ?? 1, size: [...own, ...options.size] };
  return { graph, step: job.step, parts: stageParts(job, job.name), args };
}

/** What is said of a training step rather than of its graph. */
function stageParts(subject: Pick<TrainingSubject, "step" | "model">, stage: string): Partial<Inspection> {
  const { all, tensors, buffers, byGroup, trained, trainedTensors } = parameterFigures(subject);
  return {
    model: subject.step.graph.name,
    parameters: all,
    tensors,
    ...(buffers > 0 && { buffers }),
    parametersByGroup: byGroup,
    trainable: { stage, parameters: trained, tensors: trainedTensors },
    settings: stageSettings(subject.step),
  };
}

/** The graph to inspect, and what is known besides: of a stage, its training step. */
async function subject(source: string, args: InspectArguments): Promise<Subject> {
  const named = await loadConfigured(source, { ...args, weights: undefined });
  const { graph, config, model } = named;
  if (args.stage === undefined) {
    const macs = args.graph === undefined ? model?.paper?.macs : undefined;
    const paper = macs && config ? macs(config) : null;
    const parts = { macs: { exact: countMacs(graph, sizesOf(graph, args)), paper } };
    return { graph, parts: { ...parts, graphs: otherGraphs(model, args) } };
  }
  const { step, model: whole } = stageStep(source, args.stage, named, args.graph, precisionFor(args.dtype));
  const parts = { ...stageParts({ step, model: whole() }, args.stage), model: graph.name };
  return { graph: step.graph, step, parts };
}

/** The named graphs of a model, by what they are; a graph on its own has none. */
function otherGraphs(model: Model | undefined, { graph }: GraphChoice): Record<string, string> {
  const graphs = graph === undefined ? (model?.graphs ?? {}) : {};
  return Object.fromEntries(Object.entries(graphs).map(([name, { summary }]) => [name, summary]));
}

function inspect(
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
    ...(r.buffers === undefined ? [] : [["buffers", `${digits(r.buffers)}, which are not learned`] as const]),
    ...(r.trainable
      ? [
          [
            "trainable",
            `${digits(r.trainable.parameters)} in ${r.trainable.tensors} tensors (stage ${r.trainable.stage})`,
          ] as const,
        ]
      : []),
    ...(r.settings ? [["trained with", printSettings(r.settings)] as const] : []),
    ["sizes", sizes === "" ? "all fixed" : sizes],
    ["multiply-accumulates", `${digits(r.macs.exact)} (${short(r.macs.exact)})`],
    ...(r.macs.paper === null ? [] : [["  as the paper counts", digits(r.macs.paper)] as const]),
    ...(r.operations ? operationRows(r.operations) : []),
    ["graph", `${digits(r.graph.nodes)} nodes: ${ops} ...`],
    ["kernels", `${r.kernels.count}: ${kinds}`],
    ...(r.precision ? [["computed in", precisionText(r.precision)] as const] : []),
    ...(r.memoryByKind
      ? memoryRows(r.memoryByKind)
      : ([
          ["memory, parameters", bytes(r.memory.parameters)],
          ["memory, activations", bytes(r.memory.activations)],
        ] as const)),
    ["memory traffic", `${bytes(r.traffic.read)} read, ${bytes(r.traffic.written)} written a run`],
    ["compiled in", `${r.compileMs} ms`],
    ...Object.entries(r.graphs ?? {}).map(([name, what]) => [`--graph ${name}`, what] as const),
  ])}\n`;
}
