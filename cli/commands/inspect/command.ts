/**
 * `heddle inspect`: what a model contains, costs and compiles to, before anything runs. Modules that only some options
 * need, such as the exporter and device code, are loaded on demand: figures alone then take a third less memory.
 */
import { printGraph, readSwitches, UsageError } from "../../../compiler/index.ts";
import { anyGpu } from "../../adapters.ts";
import { isJob } from "../../load.ts";
import { json } from "../../output.ts";
import { sizesOf } from "../../sizes.ts";
import type { InspectOptions } from "./arguments.ts";
import { inspect } from "./figures.ts";
import { inspectedJob, subject } from "./subject.ts";
import { describe } from "./text.ts";

/** The default of --target. Figures and kernels are always of this one. */
const usualTarget = "webgpu";

export async function inspectCommand(source: string, options: InspectOptions): Promise<number> {
  const given = { ...options, batch: options.batch ?? 1 };
  if (given.sweep.length > 0) {
    const { sweepCommand } = await import("../sweep.ts");
    return await sweepCommand(source, given);
  }
  const job = (await isJob(source)) ? await inspectedJob(source, options) : undefined;
  const asked = job?.args ?? given;
  const switches = readSwitches(process.env);
  const traced = [switches.dump, switches.trace, switches.time].some((names) => names.length > 0);
  requireTogether(asked, traced);
  const begun = performance.now();
  const { graph, parts, step, args } = job ?? (await subject(source, asked));
  if (args.text) {
    process.stdout.write(printGraph(graph));
    return 0;
  }
  if (args.pass !== undefined || args.html !== undefined) {
    const { showStages } = await import("./stages.ts");
    return await showStages(graph, args);
  }
  if (args.kernels !== undefined) {
    const { showKernels } = await import("./kernels.ts");
    return await showKernels(graph, args, args.kernels === true ? "*" : args.kernels);
  }
  const sizes = sizesOf(graph, args);
  if (traced) {
    const { lookInside } = await import("./switches.ts");
    lookInside(graph, sizes, args, switches);
  }
  const result = { ...inspect(graph, step, sizes, args, begun), ...parts };
  process.stdout.write(args.json ? `${json(result)}\n` : describe(result));
  return 0;
}

/** Throws UsageError for options without those that they need. */
function requireTogether(asked: InspectOptions, traced: boolean): void {
  if (asked.measure && asked.kernels === undefined)
    throw new UsageError("--measure needs --kernels: it times them on this machine's GPU");
  if (asked.measure && asked.adapter !== anyGpu)
    throw new UsageError(
      `--measure times kernels on this machine's GPU and cannot be combined with --adapter ${asked.adapter}`,
    );
  const shown = (["text", "pass", "html", "kernels"] as const).find((key) => asked[key]);
  if (traced && shown)
    throw new UsageError(`DUMP, TRACE and TIME print nothing beside --${shown}: leave out one or the other`);
  const stray = (["budget", "device"] as const).find((key) => asked[key] !== undefined);
  if (stray) throw new UsageError(`--${stray} needs --sweep, as in --sweep depth=32,48`);
  if (asked.target !== usualTarget && asked.pass === undefined && asked.html === undefined && !traced)
    throw new UsageError(`--target ${asked.target} needs --pass or --html, which show the stages of a target`);
}
