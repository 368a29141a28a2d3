/** Top-1, top-5 and per-class accuracy. */
import { UsageError } from "../../compiler/index.ts";

/** Fractions in [0, 1]. */
export type TopClasses = {
  /** How often the correct class has the highest score. */
  readonly top1: number;
  /** How often it is among the five highest; absent with five classes or fewer. */
  readonly top5?: number;
  /** The mean of `top1` over the classes that occur, that is, balanced accuracy. */
  readonly meanPerClass: number;
};

export interface TopClassesCount {
  /**
   * Adds an image's scores, one per class, and its class. Throws UsageError for an invalid label, or scores that are
   * not numbers.
   */
  add(scores: ArrayLike<number>, label: number): void;
  /** Throws UsageError if nothing was added. */
  measures(): TopClasses;
}

/** A wrong class that ties with the correct one ranks before it, so that a model with constant scores gets 0. */
export function topClasses(classes: number): TopClassesCount {
  const [seen, right] = [new Float64Array(classes), new Float64Array(classes)];
  let amongFive = 0;
  return {
    add(scores, label) {
      if (!(Number.isInteger(label) && label >= 0 && label < classes))
        throw new UsageError(`label ${label} is out of range for ${classes} classes`);
      if (scores.length !== classes)
        throw new UsageError(`expected ${classes} scores, one per class, got ${scores.length}`);
      const rank = rankOf(scores, label);
      seen[label]! += 1;
      if (rank === 1) right[label]! += 1;
      if (rank <= 5) amongFive += 1;
    },
    measures() {
      const total = seen.reduce((a, b) => a + b, 0);
      if (total === 0) throw new UsageError("there are no samples to score");
      const shares = Array.from(seen, (n, c) => right[c]! / n).filter((share) => !Number.isNaN(share));
      return {
        top1: right.reduce((a, b) => a + b, 0) / total,
        ...(classes > 5 && { top5: amongFive / total }),
        meanPerClass: shares.reduce((a, b) => a + b, 0) / shares.length,
      };
    },
  };
}

/** 1 for the highest; ties rank below the others. */
function rankOf(scores: ArrayLike<number>, label: number): number {
  const own = scores[label]!;
  let rank = 1;
  for (let c = 0; c < scores.length; c += 1) {
    if (Number.isNaN(scores[c]!)) throw new UsageError(`the score of class ${c} is NaN`);
    if (c !== label && scores[c]! >= own) rank += 1;
  }
  return rank;
}
