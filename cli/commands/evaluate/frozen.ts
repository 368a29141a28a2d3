/** Protocols that learn classes from the vectors of a frozen encoder: a linear probe, and nearest neighbours. */
import { UsageError } from "../../../compiler/index.ts";
import {
  type Embeddings,
  logisticRegression,
  neighbourScores,
  type RawSample,
  topClasses,
  unitRows,
} from "../../../data/index.ts";
import { startProgress } from "../../../runtime/index.ts";
import { type NamedModel, withWeights } from "../run/opened-model.ts";
import { albumOf, lookingOf } from "../run/pictures.ts";
import { frozenEncoder } from "./frozen-features.ts";
import type { EvaluateOptions, Outcome, Protocol } from "./options.ts";
import { readSamples } from "./samples.ts";

/** What CLIP's linear probe takes. Radford et al. 2021, arXiv:2103.00020, appendix A.3; its published example. */
export const usualC = 0.316;

/** Wu et al. 2018, arXiv:1805.01978, section 3.4; k as DINO reports, Caron et al. 2021, arXiv:2104.14294. */
export const usualNeighbours = { k: 20, temperature: 0.07 } as const;

interface Learned {
  readonly train: Embeddings;
  readonly labels: readonly number[];
  readonly classes: number;
  readonly options: EvaluateOptions;
}

/** Scores of the rows of what is judged by. */
type Judge = (test: Embeddings) => (row: number) => Float64Array;

interface Learner {
  readonly summary: string;
  readonly takes: readonly (keyof EvaluateOptions)[];
  readonly asked: (options: EvaluateOptions) => Readonly<Record<string, number>>;
  readonly learn: (given: Learned) => Judge;
}

const protocol = (learner: Learner): Protocol => ({
  summary: learner.summary,
  takes: ["images", "train", "feature", ...learner.takes],
  run: (named, options) => evaluateFrozen(named, learner, options),
});

async function evaluateFrozen(named: NamedModel, learner: Learner, options: EvaluateOptions): Promise<Outcome> {
  const { train: specs } = options;
  if (!specs) throw new UsageError(`--protocol ${options.protocol} learns: give --train what it learns from`);
  const encoder = frozenEncoder(named, options.feature);
  const [train, test] = [
    await readSamples("labels", { ...options, data: specs }),
    await readSamples("labels", options),
  ];
  const { classes, numberOf } = classesOf(train.samples);
  const [labels, right] = [train.samples.map(numberOf), test.samples.map(numberOf)];
  const album = albumOf(await lookingOf(named, encoder.graph, "features", options));
  const [known, judged] = await withWeights(named, encoder.graph, options, async (model) => {
    const vectorsOf = (samples: readonly RawSample[]) =>
      encoder.vectors(
        model,
        samples.map(({ image }) => image!),
        album,
        options,
      );
    return [await vectorsOf(train.samples), await vectorsOf(test.samples)] as const;
  });
  const scoresOf = learner.learn({ train: known, labels, classes, options })(judged);
  const count = topClasses(classes);
  for (const [row, label] of right.entries()) count.add(scoresOf(row), label);
  return {
    samples: test.samples.length,
    results: { all: count.measures() },
    asked: {
      train: specs.join(", "),
      learned: train.samples.length,
      feature: encoder.feature,
      ...learner.asked(options),
    },
    skipped: [...train.skipped, ...test.skipped],
  };
}

/** Classes are those that are learned from. Throws UsageError for a sample to be judged by that is of another. */
function classesOf(train: readonly RawSample[]): {
  readonly classes: number;
  readonly numberOf: (sample: RawSample) => number;
} {
  const names = [...new Set(train.flatMap(({ className }) => className ?? []))].sort();
  const classes = names.length || 1 + train.reduce((most, { label }) => Math.max(most, label!), 0);
  if (new Set(train.map(({ className, label }) => className ?? label)).size < 2)
    throw new UsageError("--train holds samples of one class alone: there is nothing to tell apart");
  const numberOf = ({ name, className, label }: RawSample): number => {
    const number = names.length > 0 ? names.indexOf(className ?? "") : (label ?? -1);
    if (number >= 0 && number < classes) return number;
    throw new UsageError(`${name} is of class "${className ?? label}", of which --train holds no sample`);
  };
  return { classes, numberOf };
}

export const linearProbe = protocol({
  summary: "logistic regression on a frozen encoder's vectors: top-1, top-5, mean per class",
  takes: ["c"],
  asked: ({ c = usualC }) => ({ c }),
  learn: ({ train, labels, classes, options: { c = usualC } }) => {
    const progress = startProgress({ description: "regression", total: mostSteps, unit: "steps" });
    try {
      const onStep = (step: number, loss: number) => progress.update(step, { loss });
      const model = logisticRegression(train, labels, { classes, c, mostSteps, onStep });
      return ({ data, width }) =>
        (row) =>
          model.scores(data.subarray(row * width, (row + 1) * width));
    } finally {
      progress.dispose();
    }
  },
});

const mostSteps = 1000;

export const knn = protocol({
  summary: "the nearest vectors of a frozen encoder vote: top-1, top-5, mean per class",
  takes: ["k", "temperature"],
  asked: ({ k = usualNeighbours.k, temperature = usualNeighbours.temperature }) => ({ k, temperature }),
  learn: ({ train, labels, classes, options }) => {
    const { k = usualNeighbours.k, temperature = usualNeighbours.temperature } = options;
    const known = unitRows(train);
    return (test) => {
      const queries = unitRows(test);
      return (row) => neighbourScores(queries, row, known, labels, { classes, k, temperature });
    };
  },
});
