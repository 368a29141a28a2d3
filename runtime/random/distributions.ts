/** Maps random words to samples of a distribution. */
import { type Distribution, UsageError } from "../../compiler/index.ts";
import { normalProbability, normalQuantile } from "./normal-quantile.ts";

/**
 * Turns `words`, uniform over 32 bits, into as many f32 values. Value i depends only on words i and i ^ 1, so that
 * values can be computed in any pieces that keep pairs together.
 */
export type Sampler = (words: Uint32Array, out: Float32Array) => void;

/** The sampler of a distribution; throws UsageError for invalid parameters. */
export function samplerOf(distribution: Distribution): Sampler {
  for (const [name, value] of Object.entries(distribution)) {
    if (name !== "kind" && !Number.isFinite(value)) throw unfit(distribution, `its ${name} is not a finite number`);
  }
  switch (distribution.kind) {
    case "constant":
      return (_words, out) => void out.fill(distribution.value);
    case "normal":
      return normalSampler(distribution);
    case "truncated_normal":
      return truncatedNormalSampler(distribution);
    case "uniform":
      return uniformSampler(distribution);
    case "bernoulli":
      return bernoulliSampler(distribution);
  }
}

type Of<Kind extends Distribution["kind"]> = Extract<Distribution, { kind: Kind }>;

function unfit({ kind, ...parameters }: Distribution, why: string): UsageError {
  const text = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  return new UsageError(`${kind}(${text.join(", ")}) is not a valid distribution: ${why}`);
}

/** Box and Muller 1958: two words give a radius and an angle, and thus two normal values. |z| stays below 6.7. */
function normalSampler(distribution: Of<"normal">): Sampler {
  const { mean, std } = distribution;
  if (std < 0) throw unfit(distribution, "its std is negative");
  return (words, out) => {
    for (let i = 0; i < words.length; i += 2) {
      const radius = std * Math.sqrt(-2 * Math.log((words[i]! + 1) * 2 ** -32)); // (0, 1]: the logarithm is finite
      const angle = words[i + 1]! * (2 * Math.PI * 2 ** -32);
      out[i] = mean + radius * Math.cos(angle);
      out[i + 1] = mean + radius * Math.sin(angle);
    }
  };
}

/**
 * By inverting the distribution function, so that each value takes exactly one word: rejection would shift its
 * successors. `low` and `high` bound the value itself, not multiples of std.
 */
function truncatedNormalSampler(distribution: Of<"truncated_normal">): Sampler {
  const { mean, std, low, high } = distribution;
  if (std <= 0) throw unfit(distribution, "its std is not positive");
  if (low >= high) throw unfit(distribution, "low is not below high");
  // In the upper tail Φ is too close to 1 to resolve values: sample the mirror image there.
  const side = low > mean ? -1 : 1;
  const ends = [normalProbability((side * (low - mean)) / std), normalProbability((side * (high - mean)) / std)];
  const from = Math.min(...ends);
  const width = Math.max(...ends) - from;
  if (width === 0) throw unfit(distribution, "no value between low and high has any probability");
  const scale = side * std;
  return (words, out) => {
    for (let i = 0; i < words.length; i++) {
      const value = mean + scale * normalQuantile(from + width * (words[i]! + 0.5) * 2 ** -32);
      out[i] = value < low ? low : value > high ? high : value;
    }
  };
}

/** Values of [low, high), in steps of 2^-24 of the width, which f32 holds exactly for [0, 1). */
function uniformSampler(distribution: Of<"uniform">): Sampler {
  const { low, high } = distribution;
  if (low >= high) throw unfit(distribution, "low is not below high");
  const below = largestBelow(high);
  const width = high - low;
  return (words, out) => {
    for (let i = 0; i < words.length; i++) {
      const value = Math.fround(low + width * ((words[i]! >>> 8) * 2 ** -24));
      out[i] = value < high ? value : below; // where f32 is coarser than the steps, rounding may reach high
    }
  };
}

/** The largest f32 below a number. */
function largestBelow(value: number): number {
  const float = Float32Array.of(value);
  if (float[0]! < value) return float[0]!;
  if (float[0] === 0) return -(2 ** -149);
  new Int32Array(float.buffer)[0]! += float[0]! > 0 ? -1 : 1;
  return float[0]!;
}

/** 1 with probability p, else 0. */
function bernoulliSampler(distribution: Of<"bernoulli">): Sampler {
  const { p } = distribution;
  if (p < 0 || p > 1) throw unfit(distribution, "p is not in [0, 1]");
  return (words, out) => {
    for (let i = 0; i < words.length; i++) out[i] = words[i]! * 2 ** -32 < p ? 1 : 0;
  };
}
