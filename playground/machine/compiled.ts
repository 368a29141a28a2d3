/** A compilation, held by the worker, so that the page requests only the texts it shows: stages, kernels, WGSL. */
import { emitWgsl } from "../../backends/webgpu/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  callsOf,
  compileKernels,
  countMacs,
  countOps,
  countParameters,
  countStepOperations,
  dimValue,
  fusedNodes,
  type Graph,
  gridOf,
  memoryOf,
  type Node,
  nodesOf,
  type Precision,
  type Program,
  printKernel,
  printUnrolled,
  recordingObserver,
  type StageReport,
  tensorName,
} from "../../compiler/index.ts";
import { type Model, stepMemory } from "../../dsl/index.ts";
import { lineFrom, linesByName } from "./kernel-lines.ts";
import { graphOf, type Subject, sizesOf } from "./model.ts";
import { modelFile } from "./user-module-name.ts";

export interface CompileOptions {
  readonly batch: number;
  readonly precision: Precision;
  /** Facts of the open device; without one, WebGPU's guaranteed limits. */
  readonly facts?: AdapterFacts;
}

/** The result of a compilation. Units are bytes, elements, operations. */
export interface CompiledAbout {
  readonly title: string;
  readonly milliseconds: number;
  readonly parameters: number;
  readonly byGroup: Readonly<Record<string, number>>;
  readonly macs: number;
  /** Operations by part: forward, backward and update for a training step. */
  readonly operations: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly ops: Readonly<Record<string, number>>;
  /** Bytes by purpose. */
  readonly memory: Readonly<Record<string, number>>;
  readonly read: number;
  readonly written: number;
  readonly stages: readonly StageAbout[];
  readonly kernels: readonly KernelAbout[];
}

export interface StageAbout {
  readonly name: string;
  readonly changed: boolean;
  readonly milliseconds: number;
  readonly from: string;
  readonly to: string;
  /** "161 nodes". */
  readonly size: string;
  readonly isGraph: boolean;
}

export interface KernelAbout {
  readonly name: string;
  readonly kind: string;
  readonly schedule: string;
  readonly flops: number;
  readonly read: number;
  readonly written: number;
  readonly grid: readonly number[];
  readonly workgroup: readonly number[];
  /** Lines of the user's file that its nodes originate from. */
  readonly lines: readonly number[];
  /** The ops it computes. */
  readonly ops: readonly string[];
}

export interface KernelDetail {
  readonly wgsl: readonly TextLine[];
  readonly ir: readonly TextLine[];
  readonly buffers: readonly { readonly name: string; readonly access: string; readonly tensor: string }[];
  /** Schedules that precede it in its kind's table, and why they were rejected. */
  readonly refused: readonly { readonly schedule: string; readonly reason: string }[];
  /** The nodes it computes, one per line. */
  readonly nodes: readonly TextLine[];
}

/** A line of text, and the line of the user's file that it originates from. */
export interface TextLine {
  readonly text: string;
  readonly line?: number;
}

export interface StageText {
  readonly before?: readonly TextLine[];
  readonly after: readonly TextLine[];
}

export interface Compiled {
  readonly about: CompiledAbout;
  readonly graph: () => readonly TextLine[];
  readonly stage: (index: number) => StageText;
  readonly kernel: (index: number) => KernelDetail;
}

/** Compiles a subject. Throws the compiler's errors. */
export function compiled(
  model: Model,
  subject: Subject,
  { batch, precision, facts = baselineFacts }: CompileOptions,
): Compiled {
  const begun = performance.now();
  const { graph: open, step } = graphOf(model, subject);
  const sizes = sizesOf(open, batch);
  const graph = bindSizes(open, sizes);
  const recording = recordingObserver();
  const program = compileKernels(graph, facts, { precision, observers: [recording] });
  const fused = fusedNodes(recording.reports);
  const milliseconds = performance.now() - begun;
  return {
    about: {
      title: graph.name,
      milliseconds,
      ...aboutGraph(graph, step, sizes),
      ...aboutProgram(program, fused),
      memory: step ? stepMemory(step, [program], sizes) : { ...memoryOf(program) },
      stages: recording.reports.map(aboutStage),
    },
    graph: () => graphLines(graph),
    stage: (index) => stageText(recording.reports[index]!),
    kernel: (index) => kernelDetail(program, index, fused[index] ?? []),
  };
}

type Step = ReturnType<typeof graphOf>["step"];

const aboutGraph = (graph: Graph, step: Step, sizes: Readonly<Record<string, number>>) => ({
  ...countParametersOf(graph, step?.trained),
  macs: countMacs(graph, sizes),
  operations: operationsOf(graph, step !== undefined),
  nodes: nodesOf(graph).length,
  ops: countOps(graph),
});

/** `fused` are the nodes of each kernel. */
function aboutProgram({ kernels }: Program, fused: readonly (readonly Node[])[]) {
  const about = kernels.map((kernel, i) => aboutKernel(kernel, fused[i] ?? []));
  const total = (of: (k: KernelAbout) => number) => about.reduce((n, k) => n + of(k), 0);
  return { kernels: about, read: total((k) => k.read), written: total((k) => k.written) };
}

const aboutKernel = (k: Program["kernels"][number], nodes: readonly Node[]): KernelAbout => ({
  name: k.name,
  kind: k.kind,
  schedule: k.schedule,
  flops: dimValue(k.flops),
  read: dimValue(k.bytesRead),
  written: dimValue(k.bytesWritten),
  grid: gridOf(k.kernel),
  workgroup: k.kernel.workgroup,
  lines: linesOf(nodes),
  ops: [...new Set(nodes.map((n) => n.op))],
});

function operationsOf(graph: Graph, isStep: boolean): Readonly<Record<string, number>> {
  const { forward, backward, update } = countStepOperations(graph);
  // A graph without a loss has a single part, which is counted as the update.
  if (!isStep) return { forward: forward.flops + backward.flops + update.flops };
  return { forward: forward.flops, backward: backward.flops, update: update.flops };
}

function countParametersOf(graph: Graph, trained: readonly Node[] | undefined) {
  const { parameters, byGroup } = countParameters(trained ? { inputs: trained } : graph);
  return { parameters, byGroup };
}

const aboutStage = ({ stage, changed, milliseconds, from, to, after }: StageReport): StageAbout => ({
  name: stage,
  changed,
  milliseconds,
  from: from.name,
  to: to.name,
  size: to.size(after),
  isGraph: to.name === "graph",
});

function stageText({ from, to, before, after, changed }: StageReport): StageText {
  const made = lines(to.name, to.print(after), after);
  return changed && from === to
    ? { before: lines(from.name, from.print(before), before), after: made }
    : { after: made };
}

const lines = (form: string, text: string, value: unknown): readonly TextLine[] =>
  form === "graph"
    ? graphLines(value as Graph)
    : text
        .trimEnd()
        .split("\n")
        .map((line) => ({ text: line }));

/** A graph with one line per node, each linked to its source line. */
function graphLines(graph: Graph): TextLine[] {
  const { text, names } = printUnrolled(graph);
  const nodes = new Map([...names].map(([node, name]) => [name, node]));
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const node = nodes.get(/^\s*(%\S+) = /.exec(line)?.[1] ?? "");
      return { text: line, ...(node && lineOf(node)) };
    });
}

/** The innermost line of the user's file in the node's call stack. */
function lineOf({ birth }: Node): { line?: number } {
  const call = birth && callsOf(birth).find(({ file }) => file === modelFile);
  return call ? { line: call.line } : {};
}

const linesOf = (nodes: readonly Node[]): number[] =>
  [...new Set(nodes.flatMap((node) => lineOf(node).line ?? []))].sort((a, b) => a - b);

function kernelDetail({ kernels }: Program, index: number, nodes: readonly Node[]): KernelDetail {
  const { kernel, bindings, refused } = kernels[index]!;
  const roots = bindings.map(({ root }) => root);
  const known = linesByName(kernel, roots, nodes, (node) => lineOf(node).line);
  const linked = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line): TextLine => ({ text: line, ...lineFrom(line, known) }));
  return {
    wgsl: linked(emitWgsl(kernel)),
    ir: linked(printKernel(kernel)),
    buffers: kernel.buffers.map(({ name, access }, i) => ({ name, access, tensor: tensorName(bindings[i]!.root) })),
    refused,
    nodes: nodes.map((node) => ({
      text: `${node.op} [${node.type.axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`,
      ...lineOf(node),
    })),
  };
}
