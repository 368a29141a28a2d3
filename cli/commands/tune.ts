/** `heddle tune`: times a model's kernel schedules on the GPU and stores the faster ones for later runs. */

import { findingsPath, keepFindings, knownFindings } from "../../api/node-index.ts";
import {
  type FailedKernel,
  mergedFindings,
  type TimedWay,
  type TunedKernel,
  tuneKernels,
  type Way,
} from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { bindSizes, graphSymbols, lowering } from "../../compiler/index.ts";
import type { TrainingStep } from "../../dsl/index.ts";
import { type GraphChoice, isJob, loadConfigured, loadJob } from "../load.ts";
import { json } from "../output.ts";
import { keptAs, precisionFor } from "../precision.ts";
import { type SizeArguments, sizesOf } from "../sizes.ts";
import { stageStep } from "../stage-step.ts";

export interface TuneArguments extends GraphChoice, SizeArguments {
  readonly stage?: string;
  readonly dtype: "f32" | "f16";
  readonly fixed: boolean;
  /** Milliseconds. */
  readonly budget: number;
  readonly json: boolean;
}

type Result = TunedKernel | FailedKernel;

export async function tuneCommand(source: string, args: TuneArguments): Promise<number> {
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const { graph: open, precision } = await subject(source, args);
  const all = sizesOf(open, args);
  const graph = args.fixed ? bindSizes(open, all) : open;
  const sizes = Object.fromEntries(graphSymbols(graph).map((s) => [s, all[s]!]));
  const gpu = await requestDevice({ prefer: "hardware" });
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once("SIGINT", stop);
  try {
    say(`device: ${gpu.adapter.description} (${gpu.reason})`);
    const findings = await knownFindings(gpu);
    await keepFindings(gpu, findings); // fails early if results cannot be stored
    const onKernel = (done: number, total: number, k: Result) => say(`${done}/${total} ${progress(k)}`);
    const options = { sizes, findings, precision, budget: args.budget, onKernel, signal: controller.signal };
    const results = await tuneKernels(gpu, graph, options);
    const merged = mergedFindings(findings, results, sizes);
    await keepFindings(gpu, merged);
    const report = { model: graph.name, adapter: gpu.adapter.description, sizes, path: findingsPath(gpu), results };
    process.stdout.write(args.json ? `${json(report)}\n` : describe(results, report.path));
    return 0;
  } finally {
    process.off("SIGINT", stop);
    gpu.dispose();
  }
}

/** A graph and its precision. */
type Subject = Pick<TrainingStep, "graph" | "precision">;

/** What to tune: a job's step, a stage's step, or a model's graph. */
async function subject(source: string, args: TuneArguments): Promise<Subject> {
  const precision = precisionFor(args.dtype);
  const asked = precision === "f16" ? precision : undefined; // f32 is also what --dtype is if it is not given
  if (args.stage === undefined && (await isJob(source))) {
    const { job, config } = await loadJob(source, args.set, asked);
    return (await job.build(config)).step;
  }
  const named = await loadConfigured(source, { ...args, weights: undefined });
  if (args.stage !== undefined) return stageStep(source, args.stage, named, args.graph, asked).step;
  return { graph: keptAs(named.graph, args.dtype), precision };
}

const isFailed = (k: Result): k is FailedKernel => "failure" in k;

/** Microseconds with three digits. */
const time = ({ nanoseconds }: TimedWay): string => `${Number((nanoseconds / 1000).toPrecision(3))} µs`;

const way = ({ schedule, settings }: Way): string => lowering.printChoice(schedule, settings);

const gain = ({ before, after }: TunedKernel): number => before.nanoseconds / after.nanoseconds;

function progress(k: Result): string {
  if (isFailed(k)) return `${k.name}: ${k.failure}`;
  const faster = k.before === k.after ? "nothing faster" : `${gain(k).toFixed(2)} × by ${way(k.after)}`;
  return `${k.name}: ${k.timed.length} variants timed, ${faster}`;
}

function describe(results: readonly Result[], path: string): string {
  const tuned = results.filter((k): k is TunedKernel => !isFailed(k));
  const head = ["kernel", "count", "before", "after", "gain", "by"];
  const rows = tuned.map((k) => [
    k.name,
    String(k.count),
    time(k.before),
    time(k.after),
    k.before === k.after ? "-" : `${gain(k).toFixed(2)} ×`,
    way(k.after),
  ]);
  const total = (side: "before" | "after") => tuned.reduce((n, k) => n + k.count * k[side].nanoseconds, 0) / 1e6;
  const [before, after] = [total("before"), total("after")];
  const trouble = results.flatMap((k) =>
    isFailed(k)
      ? [`${k.name}: not tuned, ${k.failure}`]
      : k.skipped.map((s) => `${k.name}: ${way(s)} skipped, ${s.reason}`),
  );
  return [
    columns([head, ...rows]),
    ...trouble,
    `all kernels together: ${before.toFixed(2)} ms before, ${after.toFixed(2)} ms after`,
    `saved in ${path}`,
    "",
  ].join("\n");
}

/** Left-aligns text, right-aligns numbers. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
  const last = widths.length - 1;
  const cell = (text: string, i: number) =>
    i === 0 || i === last ? text.padEnd(widths[i]!) : text.padStart(widths[i]!);
  return rows.map((r) => r.map(cell).join("  ").trimEnd()).join("\n");
}
