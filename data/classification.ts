/** Classification metrics: accuracy, and intersection over union for segmentation. */
import { UsageError } from "../compiler/index.ts";

/** Per-class counts. */
interface ClassCounts {
  readonly right: Float64Array;
  readonly predicted: Float64Array;
  readonly labelled: Float64Array;
}

export interface Classification {
  /** Adds predictions with their labels; labels outside the classes, such as 255, are ignored. */
  add(predicted: ArrayLike<number>, labels: ArrayLike<number>): void;
  /** The fraction of correct predictions. NaN without any labels. */
  accuracy(): number;
  /** The mean of intersection over union over the classes that occur in predictions or labels. NaN if none does. */
  meanIou(): number;
  /** The mean over the labelled classes of the fraction of correct predictions. NaN if there is none. */
  meanAccuracy(): number;
  /** Metrics per class, by number; undefined for a class that was neither predicted nor labelled. */
  byClass(): readonly (ClassFigures | undefined)[];
}

/** Metrics of one class. */
export interface ClassFigures {
  readonly iou: number;
  /** The fraction of its labels predicted correctly; undefined without labels of this class. */
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
        throw new UsageError(
          `expected as many predictions as labels, got ${found.length} predictions and ${labels.length} labels`,
        );
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
