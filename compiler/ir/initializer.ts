/** Distributions of initial parameters and of random inputs; drawn from the runtime's seeded counter-based streams. */
export type Distribution =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal"; readonly mean: number; readonly std: number }
  | {
      readonly kind: "truncated_normal";
      readonly mean: number;
      readonly std: number;
      readonly low: number;
      readonly high: number;
    }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  | { readonly kind: "bernoulli"; readonly p: number };

/** The same number everywhere. */
export const constantInit = (value: number): Distribution => ({ kind: "constant", value });
/** 0 everywhere. */
export const zeros: Distribution = constantInit(0);
/** 1 everywhere. */
export const ones: Distribution = constantInit(1);
/** Normal; the mean defaults to 0. */
export const normal = (std: number, mean = 0): Distribution => ({ kind: "normal", mean, std });

/** Truncated at two standard deviations on either side, as in BERT and BEiT. */
export const truncatedNormal = (std: number, mean = 0): Distribution => ({
  kind: "truncated_normal",
  mean,
  std,
  low: mean - 2 * std,
  high: mean + 2 * std,
});

/** Uniform between two numbers. */
export const uniform = (low: number, high: number): Distribution => ({ kind: "uniform", low, high });
/** 1 with probability p, else 0. */
export const bernoulli = (p: number): Distribution => ({ kind: "bernoulli", p });
