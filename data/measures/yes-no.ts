/** Parses answers as yes or no, by the rules of the benchmarks. */

export type Verdict = "yes" | "no";

/**
 * POPE's rule, Li et al. 2023, arXiv:2305.10355, evaluate.py: no if a word of the first sentence is "no", "No" or
 * "not", otherwise yes.
 */
export function popeVerdict(answer: string): Verdict {
  const words = answer.split(".")[0]!.replaceAll(",", "").split(/\s+/);
  return ["No", "no", "not"].some((word) => words.includes(word)) ? "no" : "yes";
}

/** Whether an answer contains neither yes nor no, which POPE's rule counts as yes. */
export const saysNeither = (answer: string): boolean => !/\b(yes|no|not)\b/i.test(answer);

/**
 * MME's rule, Fu et al. 2023, arXiv:2306.13394, calculation.py: decided by the first four characters; an answer with
 * neither there is wrong.
 */
export function mmeVerdict(answer: string): Verdict | undefined {
  const beginning = answer.trim().toLowerCase().slice(0, 4);
  if (beginning.includes("yes")) return "yes";
  return beginning.includes("no") ? "no" : undefined;
}
