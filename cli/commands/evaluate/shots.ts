/** Few-shot learning: repeated random draws of a number of training samples per class. */
import { UsageError } from "../../../compiler/index.ts";
import { pick, seededRandom } from "../../../data/index.ts";
import type { EvaluateOptions, Results } from "./options.ts";

/** One training run: its samples, and the name of its results. */
export interface Lesson {
  readonly name: string;
  readonly rows: readonly number[];
  readonly seed: number;
}

export const usualDraws = 3;

/**
 * One run on all samples, or for each number of `--shots` as many as `--draws`. Throws UsageError for a class with
 * fewer samples.
 */
export function lessonsOf(
  labels: readonly number[],
  nameOf: (label: number) => string,
  { shots, draws = usualDraws, seed = 0 }: Pick<EvaluateOptions, "shots" | "draws" | "seed">,
): readonly Lesson[] {
  if (shots === undefined) return [{ name: "all", rows: [...labels.keys()], seed }];
  const byClass = Map.groupBy(labels.keys(), (row) => labels[row]!);
  const [most, least] = [Math.max(...shots), Math.min(...[...byClass.values()].map((rows) => rows.length))];
  const few = [...byClass].find(([, rows]) => rows.length < most);
  if (few)
    throw new UsageError(
      `class ${nameOf(few[0])} has ${few[1].length} samples in --train: --shots must be at most ${least}`,
    );
  return shots.flatMap((count) =>
    Array.from({ length: draws }, (_, draw) => ({
      name: count === 1 ? "1 shot" : `${count} shots`,
      rows: [...byClass].flatMap(([label, rows]) => drawn(rows, count, seed, draw, label)).sort((a, b) => a - b),
      seed: seed + draw,
    })),
  );
}

/** The first `count` of a draw's order, so that fewer shots are a subset of more. */
function drawn(rows: readonly number[], count: number, ...[seed, ...keys]: [number, ...number[]]): readonly number[] {
  const random = seededRandom(seed, ...keys);
  const left = [...rows];
  return Array.from({ length: count }, () => {
    const row = pick(random, left);
    left.splice(left.indexOf(row), 1);
    return row;
  });
}

/** Means over draws, and the deviation of the first metric if there are several. */
export function overDraws(found: readonly Readonly<Record<string, number>>[]): Results {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const names = Object.keys(found[0]!);
  const means = Object.fromEntries(names.map((name) => [name, mean(found.map((one) => one[name]!))]));
  if (found.length === 1) return means;
  const [first] = names;
  const squares = found.map((one) => (one[first!]! - means[first!]!) ** 2);
  return { ...means, [`${first}Deviation`]: Math.sqrt(squares.reduce((a, b) => a + b, 0) / (found.length - 1)) };
}
