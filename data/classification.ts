/** How well classes are told: accuracy, and intersection over union as of segmentation. */
import { UsageError } from "../compiler/index.ts";

/** Counts of a class among all that was compared. */
interface ClassCounts {
  readonly right: Float64Array;
  readonly predicted: Float64Array;
  readonly labelled: Float64Array;
}

export interface Classification {
  /** Adds what was predicted beside what is right; a label that is no class, as 255 often is, is left out. */
  add(predicted: ArrayLike<number>, labels: ArrayLike<number>): void;
  /** The share that is right. NaN where nothing was compared. */
  accuracy(): number;
  /** The mean over the classes that occur, predicted or labelled, of intersection over union. NaN where none does. */
  meanIou(): number;
}

export function classification(classes: number): Classification {
  const { right, predicted, labelled }: ClassCounts = {
    right: new Float64Array(classes),
    predicted: new Float64Array(classes),
    labelled: new Float64Array(classes),
  };
  const sum = (x: Float64Array) => x.reduce((a, b) => a + b, 0);
  return {
    add(found, labels) {
      if (found.length !== labels.length)
        throw new UsageError(`${found.length} predictions are compared with ${labels.length} labels`);
      for (let i = 0; i < labels.length; i += 1) {
        const label = labels[i]!;
        if (!(label >= 0 && label < classes)) continue;
        labelled[label]! += 1;
        predicted[found[i]!]! += 1;
        if (found[i] === label) right[label]! += 1;
      }
    },
    accuracy: () => sum(right) / sum(labelled),
    meanIou: () => {
      const ious = Array.from(right, (n, k) => n / (predicted[k]! + labelled[k]! - n)).filter((x) => !Number.isNaN(x));
      return ious.reduce((a, b) => a + b, 0) / ious.length;
    },
  };
}
