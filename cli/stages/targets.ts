/** Whether the batches of a stage have targets: a step without any has loss 0 and trains nothing. */
import { UsageError } from "../../compiler/index.ts";
import type { Feeds, TargetInput } from "../../dsl/index.ts";

/**
 * A run whose first samples, this many or a batch, all lack targets is mistaken; later ones are the data's accidents.
 */
const mostWithout = 64;

export interface TargetCheck {
  readonly targets: TargetInput | undefined;
  /** Samples of a batch. */
  readonly rows: number;
  /** Counts of what was changed in the samples so far, by kind. */
  readonly counts: () => Readonly<Record<string, number>>;
}

/** Whether a batch has a target; true for a stage that does not declare which of its inputs holds them. */
export const hasTarget = (feeds: Feeds, targets: TargetInput | undefined): boolean =>
  targets === undefined || feeds[targets.input]!.data.some((value) => value !== targets.none);

/**
 * The batches of a run from its start. Throws UsageError, before the first of them is trained on, if none of the first
 * samples has a target.
 */
export async function* beginningWithTargets<B extends { readonly feeds: Feeds }>(
  batches: AsyncIterable<B>,
  { targets, rows, counts }: TargetCheck,
): AsyncGenerator<B> {
  const held: B[] = [];
  let isBegun = false;
  for await (const batch of batches) {
    if (isBegun) {
      yield batch;
      continue;
    }
    held.push(batch);
    isBegun = hasTarget(batch.feeds, targets);
    if (isBegun) yield* held.splice(0);
    else if (held.length * rows >= mostWithout) throw withoutTargets(held.length * rows, counts());
  }
}

function withoutTargets(samples: number, counts: Readonly<Record<string, number>>): UsageError {
  const reasons = Object.entries(counts).map(([what, count]) => `  ${count} ${what}`);
  const what = `none of the first ${samples} samples has a target, so nothing would be trained:`;
  return new UsageError([what, ...reasons, "  hint: change the settings named here, or the data"].join("\n"));
}
