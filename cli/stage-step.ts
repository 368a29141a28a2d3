/** The training step of a stage of a bundled model, for commands that show or tune it. */
import { type Graph, type Precision, UsageError } from "../compiler/index.ts";
import { type TrainingStep, trace, trainingStep } from "../dsl/index.ts";
import { bundled } from "../models/index.ts";
import type { NamedModel } from "./load.ts";

export interface StageOfModel {
  readonly step: TrainingStep;
  /** The whole model as the stage has it, also what its loss does not use: a stage may have a resolution of its own. */
  readonly model: () => Graph;
  /** Samples of one update over all devices, and updates, as the stage has them. */
  readonly recipe: { readonly batch: number; readonly steps: number };
}

/** Throws UsageError for a stage that there is not, naming those that there are, and for a graph beside it. */
export function stageStep(
  source: string,
  stage: string,
  named: NamedModel,
  graph: string | undefined,
  precision: Precision,
): StageOfModel {
  if (graph !== undefined) throw new UsageError("--stage is about a training step: give it or --graph, not both");
  const known = bundled.find((b) => b.model.build === named.model?.build);
  const recipe = known?.stages[stage];
  if (known && recipe && named.config) {
    const made = recipe(named.config);
    const { batch, steps } = made;
    const step = trainingStep({ ...made.stage, precision });
    return { step, model: () => trace(known.model, made.config), recipe: { batch, steps } };
  }
  const stages = Object.keys(known?.stages ?? {});
  throw new UsageError(
    `"${source}" has no stage "${stage}"; ${stages.length > 0 ? `it has ${stages.join(", ")}` : "it has none"}`,
  );
}
