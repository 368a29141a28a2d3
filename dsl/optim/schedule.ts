/** Learning-rate schedules, as graphs of the step counter. */
import { UsageError } from "../../compiler/index.ts";
import { kindOfValue } from "../declared.ts";
import { checkOptions } from "../options.ts";
import { add, constant, div, floor, ge, lt, min, mul, pow, select, sin, sub, type Tensor } from "../tensor.ts";

/**
 * Maps the number of completed steps (0 at first; an f32 scalar cast from the integer step counter) to the learning
 * rate of the next step.
 */
export interface Schedule {
  (step: Tensor<never>): Tensor<never>;
  /** A human-readable description. */
  readonly text?: string;
}

const told = (text: string, schedule: Schedule): Schedule => Object.assign(schedule, { text });

/** Options of `cosine`. */
export interface CosineOptions {
  readonly peak: number;
  /** Total steps, warm-up included. */
  readonly steps: number;
  /** Steps of linear warm-up, from peak/warmup to peak: a number of steps, not a share of them. Default 0. */
  readonly warmup?: number;
  /** The rate at the end; default 0. */
  readonly floor?: number;
}

/**
 * Linear warm-up, then cosine decay to the floor. Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5. Throws
 * UsageError if `steps` is not an integer of 1 or more, or `warmup` not one of 0 or more.
 */
export const cosine = (options: CosineOptions): Schedule => {
  checkOptions("cosine", options, { peak: true, steps: true, warmup: true, floor: true });
  const { peak, steps, warmup = 0, floor = 0 } = options;
  requireNumbers("cosine", { peak, floor });
  requireSteps("cosine", steps);
  if (!(Number.isSafeInteger(warmup) && warmup >= 0))
    throw new UsageError(`warmup of cosine is a number of steps, an integer of at least 0, got ${warmup}`);
  const span = Math.max(1, steps - warmup);
  const text = `cosine from ${peak} to ${floor} over ${steps} steps${warmup > 0 ? `, with ${warmup} warmup steps` : ""}`;
  return told(text, (step) => {
    // (1 + cos πx) / 2 = sin² (1 − x)π/2, which stays accurate in f32 at the last steps, where 1 + cos πx cancels.
    const left = mul(sub(span, min(sub(step, warmup), span)), Math.PI / 2 / span);
    const wave = sin(left);
    const falling = add(mul(mul(wave, wave), peak - floor), floor);
    if (warmup === 0) return falling;
    return select(lt(step, warmup), mul(add(step, 1), peak / warmup), falling);
  });
};

/** A constant rate. */
export const constantRate = (rate: number): Schedule => {
  requireNumbers("constantRate", { rate });
  return told(`constant ${rate}`, () => constant(rate));
};

/** Options of `linearRate`. */
export interface LinearRateOptions {
  readonly from: number;
  /** Default 0. */
  readonly to?: number;
  /** Steps from one to the other; the rate then stays constant. */
  readonly steps: number;
}

/**
 * Linear interpolation from one rate to another, then constant. Throws UsageError if `steps` is not an integer of 1 or
 * more.
 */
export const linearRate = (options: LinearRateOptions): Schedule => {
  checkOptions("linearRate", options, { from: true, to: true, steps: true });
  const { from, to = 0, steps } = options;
  requireNumbers("linearRate", { from, to });
  requireSteps("linearRate", steps);
  return told(`linear from ${from} to ${to} over ${steps} steps`, (step) =>
    add(mul(sub(steps, min(step, steps)), (from - to) / steps), to),
  );
};

/** Options of `warmUp`. */
export interface WarmUpOptions {
  readonly peak: number;
  readonly steps: number;
}

/** Linear warm-up from peak/steps, which reaches the peak at the last of `steps`, then constant. */
export const warmUp = (options: WarmUpOptions): Schedule => {
  checkOptions("warmUp", options, { peak: true, steps: true });
  const { peak, steps } = options;
  requireNumbers("warmUp", { peak });
  requireSteps("warmUp", steps);
  return told(`linear warmup to ${peak} over ${steps} steps`, (step) => mul(min(add(step, 1), steps), peak / steps));
};

/** Options of `steppedRate`. */
export interface SteppedOptions {
  readonly rate: number;
  /** The factor of each decrease; default 0.1. */
  readonly factor?: number;
  /** Every so many steps, or after each of the listed numbers of steps. */
  readonly after: number | readonly number[];
}

/**
 * Step decay: `rate`, times `factor` every `after` steps, or after each of the listed ones. Throws UsageError for an
 * empty list.
 */
export const steppedRate = (options: SteppedOptions): Schedule => {
  checkOptions("steppedRate", options, { rate: true, factor: true, after: true });
  const { rate, factor = 0.1, after } = options;
  requireNumbers("steppedRate", { rate, factor });
  for (const n of [after].flat()) requireSteps("steppedRate", n);
  if (Array.isArray(after) && after.length === 0)
    throw new UsageError("steppedRate: list at least one number of steps in `after`, or use constantRate");
  if (typeof after === "number")
    return told(`${rate}, times ${factor} after every ${after} steps`, (step) =>
      // Half a step more: devices may divide with an error, and just below a whole number is the one before.
      mul(pow(factor, floor(div(add(step, 0.5), after))), rate),
    );
  const places = [...after].sort((a, b) => a - b);
  return told(`${rate}, times ${factor} after ${places.join(", ")} steps`, (step) =>
    places.reduce((now: Tensor<never>, at, i) => select(ge(step, at), rate * factor ** (i + 1), now), constant(rate)),
  );
};

/** A schedule and its number of steps, after which the next takes over; the last needs none. */
export interface Section {
  readonly schedule: Schedule;
  readonly steps?: number;
}

/** Schedules in sequence, each counting from its own first step. */
export const inSequence = (...sections: readonly Section[]): Schedule => {
  if (sections.length === 0) throw new UsageError("inSequence: give at least one schedule");
  for (const section of sections) {
    if (typeof section?.schedule !== "function")
      throw new UsageError(`inSequence takes sections { schedule, steps }, got ${kindOfValue(section)}`);
    checkOptions("a section of inSequence", section, { schedule: true, steps: true });
  }
  const lengths = sections.slice(0, -1).map((s) => s.steps ?? 0);
  for (const n of lengths) requireSteps("inSequence: each schedule but the last", n);
  const text = sections.map(({ schedule }) => schedule.text ?? "a custom schedule").join(", then ");
  return told(text, (step) => {
    const rateOf = (i: number, before: number): Tensor<never> => {
      const own = sections[i]!.schedule(before === 0 ? step : sub(step, before));
      if (i === lengths.length) return own;
      const end = before + lengths[i]!;
      return select(lt(step, end), own, rateOf(i + 1, end));
    };
    return rateOf(0, 0);
  });
};

function requireNumbers(what: string, given: Readonly<Record<string, unknown>>): void {
  const wrong = Object.entries(given).find(([, value]) => !Number.isFinite(value));
  if (wrong) throw new UsageError(`${wrong[0]} of ${what} must be a number, got ${kindOfValue(wrong[1])}`);
}

function requireSteps(what: string, steps: number): void {
  if (!Number.isSafeInteger(steps) || steps < 1)
    throw new UsageError(`${what} takes a positive integer number of steps, got ${steps}`);
}
