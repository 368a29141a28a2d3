/** Protocols that train a classifier on a frozen encoder's features: on all samples, or few-shot. */
import { basename } from "node:path";
import { UsageError } from "../../../compiler/index.ts";
import { type RawSample, selectedRows, type TopClasses, topClasses } from "../../../data/index.ts";
import { type NamedModel, say, withWeights } from "../run/opened-model.ts";
import { albumOf, preprocessingFor } from "../run/pictures.ts";
import { answerCards } from "./asking.ts";
import { type FrozenEncoder, frozenEncoder } from "./frozen-features.ts";
import type { Learner } from "./learner.ts";
import { attention, neighbours, regression } from "./learners.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples, type Samples } from "./samples.ts";
import { type Lesson, lessonsOf, overDraws } from "./shots.ts";

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
  const data = await readTrainAndTest(specs, options);
  const { names, labels, right } = data;
  const lessons = lessonsOf(labels, (label) => `"${names[label]}"`, options);
  const needed = [...new Set(lessons.flatMap(({ rows }) => rows))].sort((a, b) => a - b);
  const { measures, said } = await judgeLessons(named, learner, encoder, { ...data, lessons, needed }, options);
  const answers = data.test.samples.map(({ name }, row) => ({
    name,
    said: names[said[row]!]!,
    right: names[right[row]!]!,
  }));
  const drawn: Readonly<Record<string, string | number>> =
    shots === undefined
      ? { learned: needed.length }
      : { shots: shots.join(","), draws: lessons.length / shots.length, seed: options.seed ?? 0 };
  return {
    samples: data.test.samples.length,
    results: Object.fromEntries([...measures].map(([name, of]): [string, Results] => [name, overDraws(of)])),
    asked: { train: specs.join(", "), feature: encoder.feature, ...drawn, ...learner.asked(options) },
    skipped: [...data.train.skipped, ...data.test.skipped],
    answers,
    ...(options.out !== undefined && { sections: await cardsOf(answers, data.test.samples) }),
  };
}

/** Training and test samples, with the number of each one's class among the classes of the training samples. */
interface TrainAndTest {
  readonly train: Samples;
  readonly test: Samples;
  readonly names: readonly string[];
  readonly labels: readonly number[];
  readonly right: readonly number[];
}

async function readTrainAndTest(specs: readonly string[], options: EvaluateOptions): Promise<TrainAndTest> {
  const train = await readSamples("labels", { ...options, data: specs });
  const test = await readSamples("labels", options);
  const { names, numberOf } = classesOf(train.samples);
  return { train, test, names, labels: train.samples.map(numberOf), right: test.samples.map(numberOf) };
}

/** What is learned and judged; `needed` are the rows of the training samples that any lesson has. */
interface Lessons extends TrainAndTest {
  readonly lessons: readonly Lesson[];
  readonly needed: readonly number[];
}

/** The measures of each lesson, by its name; several draws have one name. `said` are the last lesson's classes. */
async function judgeLessons(
  named: NamedModel,
  learner: Learner,
  encoder: FrozenEncoder,
  { train, test, names, labels, right, lessons, needed }: Lessons,
  options: EvaluateOptions,
): Promise<{ readonly measures: ReadonlyMap<string, readonly TopClasses[]>; readonly said: readonly number[] }> {
  const placeOf = new Map(needed.map((row, place) => [row, place]));
  const album = albumOf(await preprocessingFor(named, encoder.graph, "features", options));
  const imagesOf = (samples: readonly RawSample[]) => samples.map(({ image }) => image!);
  const measures = new Map<string, TopClasses[]>();
  let said: readonly number[] = [];
  await withWeights(named, encoder.graph, options, async (model) => {
    const known = await encoder.vectors(model, imagesOf(needed.map((row) => train.samples[row]!)), album, options);
    const judged = await encoder.vectors(model, imagesOf(test.samples), album, options);
    for (const { name, rows, seed } of lessons) {
      if (options.shots !== undefined) say(`${name}: ${rows.length} samples`);
      const isAll = rows.length === needed.length;
      const vectors = isAll
        ? known
        : selectedRows(
            known,
            rows.map((row) => placeOf.get(row)!),
          );
      const own = rows.map((row) => labels[row]!);
      const { backend } = model;
      const scoresOf = await learner.learn(
        { train: vectors, labels: own, classes: names.length, options, seed, backend },
        judged,
      );
      const count = topClasses(names.length);
      for (const [row, label] of right.entries()) count.add(scoresOf(row), label);
      said = right.map((_, row) => best(scoresOf(row)));
      measures.set(name, [...(measures.get(name) ?? []), count.measures()]);
    }
  });
  return { measures, said };
}

const cardsOf = (
  answers: readonly { readonly name: string; readonly said: string; readonly right: string }[],
  samples: readonly RawSample[],
) =>
  answerCards(
    answers.map(({ name, said, right }, row) => ({
      question: { name, text: basename(name), answers: [right], image: samples[row]!.image! },
      said,
    })),
    ({ said, question }) => said === question.answers[0],
  );

const best = (scores: Float64Array): number => scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));

/** The classes of the training samples, by name or number. Throws UsageError for a test sample of another class. */
function classesOf(train: readonly RawSample[]): {
  readonly names: readonly string[];
  readonly numberOf: (sample: RawSample) => number;
} {
  const known = [...new Set(train.map(classOf))].sort((a, b) => (a < b ? -1 : 1));
  if (known.length < 2)
    throw new UsageError("--train has samples of a single class: at least two classes are required");
  const numbers = new Map(known.map((one, number) => [one, number]));
  const numberOf = (sample: RawSample): number => {
    const number = numbers.get(classOf(sample));
    if (number !== undefined) return number;
    throw new UsageError(`${sample.name} has class "${classOf(sample)}", of which --train has no sample`);
  };
  return { names: known.map(String), numberOf };
}

const classOf = ({ className, label }: RawSample): string | number => className ?? label!;
