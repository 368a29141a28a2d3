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
  /** The mean over the classes that are labelled of the share of their labels that is right. NaN where none is. */
  meanAccuracy(): number;
  /** Of each class, in the order of numbers; undefined for one that was neither predicted nor labelled. */
  byClass(): readonly (ClassFigures | undefined)[];
}

/** Of one class. */
export interface ClassFigures {
  readonly iou: number;
  /** The share of its labels that is right; undefined where nothing was labelled so. */
  readonly accuracy?: number;
}

export function classification(classes: number): Classification {
  const { right, predicted, labelled }: ClassCounts = {
    right: new Float64Array(classes),
    predicted: new Float64Array(classes),
    labelled: new Float64Array(classes),
  };
  const sum = (x: Float64Array) => x.reduce((a, b) => a + b, 0);
  const iou = (k: number) => right[k]! / (predicted[k]! + labelled[k]! - right[k]!);
  const meanOf = (shares: readonly number[]) => {
    const known = shares.filter((x) => !Number.isNaN(x));
    return known.reduce((a, b) => a + b, 0) / known.length;
  };
  const all = Array.from(right, (_, k) => k);
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
    meanIou: () => meanOf(all.map(iou)),
    meanAccuracy: () => meanOf(all.map((k) => right[k]! / labelled[k]!)),
    byClass: () =>
      all.map((k) => {
        if (predicted[k] === 0 && labelled[k] === 0) return undefined;
        return { iou: iou(k), ...(labelled[k]! > 0 && { accuracy: right[k]! / labelled[k]! }) };
      }),
  };
}
