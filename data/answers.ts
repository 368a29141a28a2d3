/** Answer accuracy: exact match, and yes/no questions. */
import { UsageError } from "../compiler/index.ts";

/** Fractions of the answers, in [0, 1]. */
export type ExactAnswers = {
  /** Answers that equal their reference exactly. */
  readonly exact: number;
  /** The accuracy of the best constant answer for these references. */
  readonly mostFrequent: number;
};

/** Compares answers with their references. Throws UsageError when there are none, or their numbers differ. */
export function exactAnswers(answers: readonly string[], references: readonly string[]): ExactAnswers {
  requireAlike(answers, references);
  const uses = new Map<string, number>();
  for (const reference of references) uses.set(reference, (uses.get(reference) ?? 0) + 1);
  return {
    exact: answers.filter((answer, i) => answer === references[i]).length / answers.length,
    mostFrequent: Math.max(...uses.values()) / references.length,
  };
}

/** The metrics of POPE, Li et al. 2023, arXiv:2305.10355, section 4: "yes" is the positive class. In [0, 1]. */
export type YesNoMeasures = {
  readonly accuracy: number;
  /** 0 when no answer was yes. */
  readonly precision: number;
  /** 0 when no reference is yes. */
  readonly recall: number;
  /** 0 when precision and recall are. */
  readonly f1: number;
  /** The fraction of yes answers. */
  readonly yes: number;
};

/**
 * Compares verdicts with the references. An answer that is neither yes nor no is wrong, and does not count as yes.
 * Throws UsageError when there are none, or their numbers differ.
 */
export function yesNoMeasures(
  answers: readonly ("yes" | "no" | undefined)[],
  right: readonly ("yes" | "no")[],
): YesNoMeasures {
  requireAlike(answers, right);
  const count = (test: (answer: string | undefined, truth: string) => boolean) =>
    answers.filter((answer, i) => test(answer, right[i]!)).length;
  const found = count((a, r) => a === "yes" && r === "yes");
  const [said, asked] = [count((a) => a === "yes"), count((_, r) => r === "yes")];
  const share = (n: number, of: number) => (of === 0 ? 0 : n / of);
  return {
    accuracy: count((a, r) => a === r) / answers.length,
    precision: share(found, said),
    recall: share(found, asked),
    f1: share(2 * found, said + asked),
    yes: said / answers.length,
  };
}

function requireAlike(answers: readonly unknown[], references: readonly unknown[]): void {
  if (answers.length === references.length && answers.length > 0) return;
  throw new UsageError(
    `expected as many answers as references, at least one, got ${answers.length} answers and ${references.length} references`,
  );
}
