/** The training step of a stage of a bundled model, for commands that show or tune it. */
import { type Precision, UsageError } from "../compiler/index.ts";
import { type TrainingStep, trainingStep } from "../dsl/index.ts";
import { bundled } from "../models/index.ts";
import type { NamedModel } from "./load.ts";

/** Throws UsageError for a stage that there is not, naming those that there are, and for a graph beside it. */
export function stageStep(
  source: string,
  stage: string,
  named: NamedModel,
  graph: string | undefined,
  precision: Precision,
): TrainingStep {
  if (graph !== undefined) throw new UsageError("--stage is about a training step: give it or --graph, not both");
  const known = bundled.find((b) => b.model.build === named.model?.build);
  const recipe = known?.stages[stage];
  if (recipe && named.config) return trainingStep({ ...recipe(named.config).stage, precision });
  const stages = Object.keys(known?.stages ?? {});
  throw new UsageError(
    `"${source}" has no stage "${stage}"; ${stages.length > 0 ? `it has ${stages.join(", ")}` : "it has none"}`,
  );
}
