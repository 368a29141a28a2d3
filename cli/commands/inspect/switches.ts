/** The switches DUMP, TRACE and TIME, which make `heddle inspect` print to stderr. */
import { exportOnnx, printOnnx } from "../../../backends/onnx/index.ts";
import { emitWgsl } from "../../../backends/webgpu/index.ts";
import { type Graph, printKernel, type Sizes, type Switches, switchObservers } from "../../../compiler/index.ts";
import { assertStage, pipelineTo, runPipeline } from "../../pipelines.ts";
import { weightDtype } from "../../precision.ts";
import type { InspectArguments } from "./arguments.ts";
import { kernelsNamed } from "./kernels.ts";
import { choiceOf, compiled } from "./programs.ts";

/** Prints what the switches ask for. Throws UsageError for a name of which there is no stage or kernel. */
export function lookInside(graph: Graph, sizes: Sizes, args: InspectArguments, switches: Switches): void {
  const { target } = args;
  const dtype = weightDtype(args.dtype);
  const write = (line: string) => void process.stderr.write(`${line}\n`);
  const pipeline = pipelineTo(target, graph, choiceOf(sizes, args));
  const ofStages = [...switches.dump.filter((s) => s.what === "ir"), ...switches.trace, ...switches.time];
  for (const { names } of ofStages) assertStage(target, pipeline, names);
  runPipeline(pipeline, {
    observers: switchObservers(switches, write),
    check: switches.check,
  });
  if (switches.dump.some((s) => s.what === "onnx")) write(printOnnx(exportOnnx(graph, { dtype }).model));
  for (const { what, names } of switches.dump.filter((s) => s.what === "kernel" || s.what === "wgsl")) {
    for (const { name, kernel } of kernelsNamed(compiled(graph, sizes, args), names))
      write(`// ${name}\n${what === "wgsl" ? emitWgsl(kernel) : printKernel(kernel)}\n`);
  }
}
