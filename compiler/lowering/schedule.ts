/**
 * Schedules: the ways in which kernels of a kind are lowered. Each is a record in a file of its own; each kind has an
 * ordered table of them (schedules/tables.ts), and choosing is one function over that table.
 */
import { UnsupportedError } from "../diagnostics/error.ts";
import { boundsOf, type Dim, dimValue, type Sizes } from "../ir/dim.ts";
import type { KernelFeature } from "../kernel/features.ts";
import type { AdapterFacts } from "./facts.ts";
import type { KernelCode } from "./kernel.ts";

/** Something that must hold of the sizes of a run: `dim` is at most `max`. */
export interface SizeFact {
  readonly dim: Dim;
  readonly max: number;
}

/** What a schedule says of a problem: it fits, it fits where facts hold that only a run's sizes decide, or why it does not. */
export type Fit = true | string | { readonly assuming: readonly SizeFact[] };

/** Numbers by which one schedule differs from kernel to kernel: tile shapes, threads. */
export type Settings = Readonly<Record<string, number>>;

/** One way to lower the kernels of a kind. `P` is what a kernel of that kind has to compute. */
export interface Schedule<P, S extends Settings = Settings> {
  readonly name: string;
  /** What it does, in one sentence. */
  readonly summary: string;
  /** Features of the adapter that its kernels need. */
  readonly features?: readonly KernelFeature[];
  /** What it may be set to on an adapter, the preferred first; or why it is not for that adapter. */
  settings(facts: AdapterFacts): readonly S[] | string;
  fits(problem: P, settings: S, facts: AdapterFacts): Fit;
  /** Whether settings that assume other ranges of an open size are all taken, each for its range; else the cheapest. */
  readonly byRange?: boolean;
  /** Estimated cost, by which the settings of one schedule are compared: a relative figure, the lower the better. */
  cost(problem: P, settings: S, facts: AdapterFacts): number;
  lower(problem: P, settings: S): KernelCode;
}

/** A schedule that was passed over, and why. */
export interface Refusal {
  readonly schedule: string;
  readonly reason: string;
}

/** A schedule with its settings for one problem. */
export interface Choice<P> {
  readonly schedule: Schedule<P>;
  readonly settings: Settings;
  /** Where any of these facts does not hold of a run's sizes, the next choice is taken. */
  readonly assuming: readonly SizeFact[];
  readonly cost: number;
}

export interface Choices<P> {
  /** The last one assumes nothing. */
  readonly choices: readonly Choice<P>[];
  /** Those before the last choice in the table that were not taken. */
  readonly refused: readonly Refusal[];
}

/**
 * The schedules of a problem: the first of the table that fits it whatever its sizes are, with its cheapest settings; before
 * that, those that fit where facts about open sizes hold. What declared bounds decide is no question of a run: a fact that
 * always holds is not asked, and what needs one that never does is not made.
 */
export function choose<P>(table: readonly Schedule<P>[], problem: P, facts: AdapterFacts): Choices<P> {
  const choices: Choice<P>[] = [];
  const refused: Refusal[] = [];
  for (const schedule of table) {
    const missing = (schedule.features ?? []).filter((f) => !facts.features.has(f));
    const settings = missing.length > 0 ? `the adapter lacks ${missing.join(", ")}` : schedule.settings(facts);
    if (typeof settings === "string") {
      refused.push({ schedule: schedule.name, reason: settings });
      continue;
    }
    const { fitting, reason } = fittingOf(schedule, settings, problem, facts);
    const whatever = fitting.filter((c) => c.assuming.length === 0);
    const special = fitting.filter((c) => c.assuming.length > 0);
    if (schedule.byRange) addReachable(choices, special);
    if (whatever.length > 0) return { choices: [...choices, cheapest(whatever)], refused };
    if (special.length > 0 && !schedule.byRange) addReachable(choices, [cheapest(special)]);
    if (fitting.length === 0) refused.push({ schedule: schedule.name, reason });
  }
  throw new UnsupportedError(`no schedule fits: ${refused.map((r) => `${r.schedule}: ${r.reason}`).join("; ")}`);
}

/** Adds choices, but for those whose facts hold only where those of one before them do: that one is taken then. */
function addReachable<P>(choices: Choice<P>[], more: readonly Choice<P>[]): void {
  for (const c of more) {
    const implied = (f: SizeFact) => c.assuming.some((own) => own.dim === f.dim && own.max <= f.max);
    if (!choices.some((earlier) => earlier.assuming.every(implied))) choices.push(c);
  }
}

const cheapest = <P>(choices: readonly Choice<P>[]): Choice<P> =>
  choices.reduce((best, c) => (c.cost < best.cost ? c : best));

/** The choices that a schedule offers, and why its last settings do not fit. */
function fittingOf<P>(schedule: Schedule<P>, settings: readonly Settings[], problem: P, facts: AdapterFacts) {
  const fitting: Choice<P>[] = [];
  let reason = "it has no settings for this adapter";
  for (const s of settings) {
    const fit = schedule.fits(problem, s, facts);
    const assumed = typeof fit === "object" ? fit.assuming : [];
    const never = assumed.find(({ dim, max }) => boundsOf(dim).min > max);
    if (typeof fit === "string") reason = fit;
    else if (never) reason = `${never.dim} is never at most ${never.max}`;
    else {
      const assuming = assumed.filter(({ dim, max }) => boundsOf(dim).max > max); // the others always hold
      fitting.push({ schedule, settings: s, assuming, cost: schedule.cost(problem, s, facts) });
    }
  }
  return { fitting, reason };
}

/** Whether facts hold of the sizes of a run. */
export const holds = (assuming: readonly SizeFact[], sizes: Sizes): boolean =>
  assuming.every(({ dim, max }) => dimValue(dim, sizes) <= max);

/** `batch*tokens <= 8`: what a variant assumes of the sizes of a run. */
export const printFact = ({ dim, max }: SizeFact): string => `${dim} <= ${max}`;

/** `shared-tiles side=64 depth=16`: a choice as text. */
export const printChoice = (name: string, settings: Settings): string =>
  [name, ...Object.entries(settings).map(([k, v]) => `${k}=${v}`)].join(" ");
