/** What an answer in words says: yes or no, by the rules of the benchmarks that ask so. */

export type Verdict = "yes" | "no";

/**
 * POPE's rule, Li et al. 2023, arXiv:2305.10355, evaluate.py: of the first sentence, no where one of its words is "no", "No"
 * or "not", and yes in all other cases.
 */
export function popeVerdict(answer: string): Verdict {
  const words = answer.split(".")[0]!.replaceAll(",", "").split(/\s+/);
  return ["No", "no", "not"].some((word) => words.includes(word)) ? "no" : "yes";
}

/** Whether an answer says neither in words of its own, which POPE's rule takes for yes. */
export const saysNeither = (answer: string): boolean => !/\b(yes|no|not)\b/i.test(answer);

/**
 * MME's rule, Fu et al. 2023, arXiv:2306.13394, calculation.py: what the first four characters hold; an answer that holds
 * neither there is wrong.
 */
export function mmeVerdict(answer: string): Verdict | undefined {
  const beginning = answer.trim().toLowerCase().slice(0, 4);
  if (beginning.includes("yes")) return "yes";
  return beginning.includes("no") ? "no" : undefined;
}
