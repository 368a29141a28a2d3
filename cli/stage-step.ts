/** The training step of a model's stage, for commands that show or tune it. */
import { type Graph, type Precision, UsageError } from "../compiler/index.ts";
import {
  type Config,
  type Model,
  type Recipe,
  type StageRecipe,
  type TrainingStep,
  trace,
  trainingStep,
} from "../dsl/index.ts";
import type { NamedModel } from "./load.ts";
import { recipeFor, withSettings } from "./stages/settings.ts";

export interface StageOfModel {
  readonly step: TrainingStep;
  /**
   * The whole model as configured by the stage, including parts its loss does not use: a stage may have its own
   * resolution.
   */
  readonly model: () => Graph;
  readonly recipe: Recipe;
}

/**
 * The step of a stage, in the precision that is given or else that of its settings. Throws UsageError for an unknown
 * stage, listing the known ones, and if a graph is also given.
 */
export function stageStep(
  source: string,
  stage: string,
  named: NamedModel,
  graph: string | undefined,
  precision: Precision | undefined,
): StageOfModel {
  if (graph !== undefined) throw new UsageError("--stage cannot be combined with --graph: it selects a training step");
  const { model, config } = named;
  const recipe = recipeNamed(source, model, stage);
  const made = recipeFor(recipe, config!, named.ofStage ?? {}, undefined);
  const whole = withSettings(made.stage, named.ofStage ?? {});
  return {
    step: trainingStep({ ...whole, ...(precision && { precision }) }),
    model: () => trace(model!, made.config),
    recipe: made,
  };
}

/** The recipe of a model's stage. Throws UsageError for an unknown stage, listing the known ones. */
export function recipeNamed(source: string, model: Model | undefined, stage: string): StageRecipe<Config> {
  const stages = model?.stages ?? {};
  if (Object.hasOwn(stages, stage)) return stages[stage]!;
  const known = Object.keys(stages);
  throw new UsageError(
    `"${source}" has no stage "${stage}"; ${known.length > 0 ? `it has ${known.join(", ")}` : withoutStages}`,
  );
}

/** What to do about a model that cannot be trained. */
export const withoutStages = "it has none: declare one as stages: { name: recipe } in the model's record";
