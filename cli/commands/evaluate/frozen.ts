/** Protocols that train a classifier on a frozen encoder's features: on all samples, or few-shot. */
import { basename } from "node:path";
import { UsageError } from "../../../compiler/index.ts";
import { type RawSample, type TopClasses, topClasses } from "../../../data/index.ts";
import { type NamedModel, say, withWeights } from "../run/opened-model.ts";
import { albumOf, preprocessingFor } from "../run/pictures.ts";
import { answerCards } from "./asking.ts";
import { frozenEncoder } from "./frozen-features.ts";
import type { Learner, TokenVectors } from "./learner.ts";
import { attention, neighbours, regression } from "./learners.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples } from "./samples.ts";
import { lessonsOf, overDraws } from "./shots.ts";

const protocol = (learner: Learner): Protocol => ({
  summary: learner.summary,
  takes: ["images", "train", "shots", "draws", "seed", ...learner.takes],
  run: (named, options) => evaluateFrozen(named, learner, options),
});

export const linearProbe = protocol(regression);
export const knn = protocol(neighbours);
export const attentive = protocol(attention);

async function evaluateFrozen(named: NamedModel, learner: Learner, options: EvaluateOptions): Promise<Outcome> {
  const { train: specs, shots } = options;
  if (!specs) throw new UsageError(`--protocol ${options.protocol} needs training data: give it with --train`);
  const encoder = frozenEncoder(named, learner.readsTokens ? "all" : options.feature);
  const [train, test] = [
    await readSamples("labels", { ...options, data: specs }),
    await readSamples("labels", options),
  ];
  const { names, numberOf } = classesOf(train.samples);
  const [labels, right] = [train.samples.map(numberOf), test.samples.map(numberOf)];
  const lessons = lessonsOf(labels, (label) => `"${names[label]}"`, options);
  const needed = [...new Set(lessons.flatMap(({ rows }) => rows))].sort((a, b) => a - b);
  const placeOf = new Map(needed.map((row, place) => [row, place]));
  const album = albumOf(await preprocessingFor(named, encoder.graph, "features", options));
  const measures = new Map<string, TopClasses[]>();
  let said: readonly number[] = [];
  await withWeights(named, encoder.graph, options, async (model) => {
    const vectorsOf = (samples: readonly RawSample[]) =>
      encoder.vectors(
        model,
        samples.map(({ image }) => image!),
        album,
        options,
      );
    const known = await vectorsOf(needed.map((row) => train.samples[row]!));
    const judged = await vectorsOf(test.samples);
    for (const { name, rows, seed } of lessons) {
      if (shots !== undefined) say(`${name}: ${rows.length} samples`);
      const given = {
        train:
          rows.length === needed.length
            ? known
            : rowsOf(
                known,
                rows.map((row) => placeOf.get(row)!),
              ),
        labels: rows.map((row) => labels[row]!),
        ...{ classes: names.length, options, seed, backend: model.backend },
      };
      const scoresOf = await learner.learn(given, judged);
      const count = topClasses(names.length);
      for (const [row, label] of right.entries()) count.add(scoresOf(row), label);
      said = right.map((_, row) => best(scoresOf(row)));
      measures.set(name, [...(measures.get(name) ?? []), count.measures()]);
    }
  });
  const answers = test.samples.map(({ name }, row) => ({
    name,
    said: names[said[row]!]!,
    right: names[right[row]!]!,
  }));
  return {
    samples: test.samples.length,
    results: Object.fromEntries([...measures].map(([name, of]): [string, Results] => [name, overDraws(of)])),
    asked: {
      train: specs.join(", "),
      feature: encoder.feature,
      ...(shots === undefined
        ? { learned: needed.length }
        : { shots: shots.join(","), draws: lessons.length / shots.length, seed: options.seed ?? 0 }),
      ...learner.asked(options),
    },
    skipped: [...train.skipped, ...test.skipped],
    answers,
    ...(options.out !== undefined && {
      sections: await answerCards(
        answers.map(({ name, said, right }, row) => ({
          question: { name, text: basename(name), answers: [right], image: test.samples[row]!.image! },
          said,
        })),
        ({ said, question }) => said === question.answers[0],
      ),
    }),
  };
}

const best = (scores: Float64Array): number => scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));

/** Selected rows, in this order. */
function rowsOf({ data, width, ...rest }: TokenVectors, rows: readonly number[]): TokenVectors {
  const taken = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) taken.set(data.subarray(row * width, (row + 1) * width), i * width);
  return { ...rest, data: taken, width };
}

/** The classes of the training samples. Throws UsageError for a test sample of another class. */
function classesOf(train: readonly RawSample[]): {
  readonly names: readonly string[];
  readonly numberOf: (sample: RawSample) => number;
} {
  const known = [...new Set(train.flatMap(({ className }) => className ?? []))].sort();
  const count = known.length || 1 + train.reduce((most, { label }) => Math.max(most, label!), 0);
  if (new Set(train.map(({ className, label }) => className ?? label)).size < 2)
    throw new UsageError("--train has samples of a single class: at least two classes are required");
  const numberOf = ({ name, className, label }: RawSample): number => {
    const number = known.length > 0 ? known.indexOf(className ?? "") : (label ?? -1);
    if (number >= 0 && number < count) return number;
    throw new UsageError(`${name} has class "${className ?? label}", of which --train has no sample`);
  };
  return { names: known.length > 0 ? known : Array.from({ length: count }, (_, i) => String(i)), numberOf };
}
