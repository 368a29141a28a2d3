/** The optimizer's settings as text, for reports and `heddle inspect`. */
import type { AdamOptions } from "./adamw.ts";
import type { Schedule } from "./schedule.ts";
import type { UpdateRule } from "./update-rule.ts";

interface Described extends AdamOptions {
  readonly rate: Schedule;
  readonly weightDecay?: number;
  readonly clip?: number;
  readonly rateScale?: (name: string) => number;
}

/** Settings by name; those left at the rule's own default are omitted. */
export function describeOptimizer(
  { rate, weightDecay, clip, rateScale, beta1, beta2, epsilon }: Described,
  rule: Pick<UpdateRule, "weightDecay">,
): Readonly<Record<string, string>> {
  const numbers = { "Weight decay": weightDecay ?? rule.weightDecay ?? 0, "Clipped at": clip, beta1, beta2, epsilon };
  return {
    "Learning rate": rate.text ?? "a custom schedule",
    ...(rateScale && { "Rates by parameter": "scaled" }),
    ...Object.fromEntries(Object.entries(numbers).flatMap(([name, n]) => (n === undefined ? [] : [[name, String(n)]]))),
  };
}
