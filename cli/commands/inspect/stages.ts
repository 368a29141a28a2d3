/** `heddle inspect --pass` and `--html`: the compiler stages of a target, before and after. */
import { beforeAndAfter, type Graph, inspectionPage, recordingObserver } from "../../../compiler/index.ts";
import { writeFileAtomically } from "../../../runtime/index.ts";
import { assertStage, pipelineTo, runPipeline } from "../../pipelines.ts";
import { sizesOf } from "../../sizes.ts";
import type { InspectArguments } from "./arguments.ts";
import { choiceOf } from "./programs.ts";

/** Prints the input and output of a compiler stage, or writes one page to step through all stages of a target. */
export async function showStages(graph: Graph, args: InspectArguments): Promise<number> {
  const { target, pass, html } = args;
  const pipeline = pipelineTo(target, graph, choiceOf(sizesOf(graph, args), args));
  // For a representation with named parts, such as kernels, a pattern selects some.
  const [stage, names] = pass?.split(":") ?? [];
  if (stage !== undefined) assertStage(target, pipeline, stage);
  const recording = recordingObserver();
  runPipeline(pipeline, { observers: [recording] });
  if (html !== undefined) {
    await writeFileAtomically(html, inspectionPage(`${graph.name} to ${target}`, recording.reports));
    process.stdout.write(`${html}\n`);
  }
  for (const report of recording.reports)
    if (report.stage === stage) process.stdout.write(`${beforeAndAfter(report, names)}\n`);
  return 0;
}
