/** How well a model answers: texts that are right to the letter, and yes or no. */
import { UsageError } from "../compiler/index.ts";

/** Shares of answers, in [0, 1]. */
export type ExactAnswers = {
  /** Those that are the reference to the letter. */
  readonly exact: number;
  /** Those that would be right if one and the same answer were given always, the best that there is for these references. */
  readonly mostFrequent: number;
};

/** Answers beside their references. Throws UsageError for none, or not as many of both. */
export function exactAnswers(answers: readonly string[], references: readonly string[]): ExactAnswers {
  requireAlike(answers, references);
  const uses = new Map<string, number>();
  for (const reference of references) uses.set(reference, (uses.get(reference) ?? 0) + 1);
  return {
    exact: answers.filter((answer, i) => answer === references[i]).length / answers.length,
    mostFrequent: Math.max(...uses.values()) / references.length,
  };
}

/** The measures of POPE, Li et al. 2023, arXiv:2305.10355, section 4: "yes" is the positive class. In [0, 1]. */
export type YesNoMeasures = {
  readonly accuracy: number;
  /** Of what was answered with yes; 0 where nothing was. */
  readonly precision: number;
  /** Of what is to be answered with yes; 0 where nothing is. */
  readonly recall: number;
  /** 0 where precision and recall are. */
  readonly f1: number;
  /** How often the answer was yes. */
  readonly yes: number;
};

/**
 * Verdicts beside what is right. An answer that is neither yes nor no is wrong, and no yes.
 * Throws UsageError for none, or not as many of both.
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
    `${answers.length} answers cannot be compared with ${references.length} references: give one of each, at least`,
  );
}
