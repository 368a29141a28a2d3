/** The stage that trains a decoder on plain text by next-token prediction. */

import { type Axis, axis } from "./axis.ts";
import type { Config } from "./config.ts";
import type { OneLoss } from "./losses.ts";
import { adamw } from "./optim/adamw.ts";
import { cosine } from "./optim/schedule.ts";
import type { Params } from "./params.ts";
import { type Recipe, type StageRecipe, scaledWarmUp, settled } from "./recipe.ts";
import { idRows, type TextRow } from "./samples.ts";
import { notNegative, whole } from "./setting-rules.ts";
import { defineStage } from "./stage.ts";
import { stageData } from "./stage-data.ts";
import { cast, crossEntropy, div, ge, input, max, mul, sum, type Tensor } from "./tensor.ts";

type Ids = Tensor<"batch" | "token">;

/** What the stage needs from a decoder. */
export interface LanguageModelling<C> {
  /**
   * Next-token logits: ids i32 [batch, token] -> [batch, token, vocab]. Rows are packed with text: attention is causal
   * over the row, and no id is padding.
   */
  readonly scores: (
    p: Params,
    ids: Ids,
    axes: { readonly batch: Axis<"batch">; readonly token: Axis<"token"> },
    config: C,
  ) => Tensor<"batch" | "token" | "vocab">;
  readonly vocab: (config: C) => number;
  /** Default tokens of a row: as many as the model has positions for. */
  readonly length: (config: C) => number;
  /** Where the initial weights come from; default nothing. */
  readonly startsFrom?: string;
}

/**
 * Settings of the smallest GPT-3: Brown et al. 2020, arXiv:2005.14165, table 2.1 and appendix B; GPT-2's are
 * unpublished.
 */
const published = { steps: 600_000, batch: 512, rate: 6e-4, weightDecay: 0.1 };
const publishedWarmup = 750; // 375 million tokens, at 512 rows of 1,024
const noTarget = -100;

/**
 * A stage on texts (`--data` of .txt files, folders of them, lists with "text", shards): packed rows of ids, each text
 * followed by EOS, and the mean cross-entropy of all next tokens. AdamW, clipped at 1, with a cosine schedule that
 * decays to a tenth of the peak. Inputs of the step, i32 [batch, token]: `ids`, and `labels`, the ids that follow them,
 * where -100 is ignored.
 */
export const languageModelling =
  <C extends Config>({ scores, vocab, length, startsFrom = "nothing" }: LanguageModelling<C>): StageRecipe<C> =>
  (config, given): Recipe<C> => {
    const s = settled({ ...published, length: length(config) }, given);
    const { steps, batch, rate, weightDecay } = s;
    const { warmup, notes } = scaledWarmUp(publishedWarmup, published.steps, steps);
    const axes = { batch: axis("batch", "batch"), token: axis("token", s.length) };
    return {
      ...{ config, steps, batch, rate, notes },
      settings: { length: s.length, weightDecay },
      rules: { length: whole(1, length(config)), weightDecay: notNegative },
      startsFrom: [startsFrom],
      stage: defineStage({
        name: "language-modelling",
        loss: (p) => {
          const [ids, labels] = [
            input("ids", "i32", [axes.batch, axes.token]) as Ids,
            input("labels", "i32", [axes.batch, axes.token]) as Ids,
          ];
          return nextTokenLoss(scores(p, ids, axes, config), labels, axes);
        },
        optimizer: {
          rule: adamw({ beta1: 0.9, beta2: 0.95 }),
          rate: cosine({ peak: rate, steps, warmup, floor: rate / 10 }),
          ...{ weightDecay, clip: 1 },
        },
      }),
      data: stageData<"texts">({
        kind: "texts",
        length: s.length + 1, // the last is only a target
        vocabulary: vocab(config),
        feeds: (rows) => ({
          ids: idRows(
            rows.map(({ ids }) => ids.slice(0, -1)),
            s.length,
          ),
          labels: idRows(rows.map(following), s.length, noTarget),
        }),
      }),
    };
  };

const following = ({ ids }: TextRow): readonly number[] => ids.slice(1);

/**
 * The mean cross-entropy of the targets: scores [batch, token, vocab], labels i32 [batch, token]; negative labels are
 * ignored.
 */
function nextTokenLoss(
  scores: Tensor<"batch" | "token" | "vocab">,
  labels: Ids,
  { batch, token }: { readonly batch: Axis<"batch">; readonly token: Axis<"token"> },
): OneLoss {
  const vocab = scores.type.axes.find((a) => a.name === "vocab") as Axis<"vocab">;
  const wanted = cast(ge(labels, 0), "f32");
  const losses = mul(crossEntropy(scores, max(labels, 0), vocab), wanted);
  const weight = sum(wanted, [batch, token]);
  return { loss: div(sum(losses, [batch, token]), max(weight, 1)), weight };
}
