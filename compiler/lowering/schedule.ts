/**
 * Schedules: the ways to lower a kind of kernel. Each is a record in its own file; each kind of kernel has an ordered
 * table of them (schedules/tables.ts), and one function chooses from that table.
 */
import { UnsupportedError } from "../diagnostics/error.ts";
import type { RowTiles } from "../fusion/index.ts";
import { boundsOf, type Dim, dimValue, type Sizes, symbolsOf } from "../ir/dim.ts";
import type { KernelFeature } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
import type { KernelCode } from "./kernel.ts";

/** A condition on the sizes of a run: `dim` is at most `max`. */
export interface SizeFact {
  readonly dim: Dim;
  readonly max: number;
}

/** Whether a schedule fits a problem: yes; only if facts about sizes known at run time hold; or the reason why not. */
export type Fit = true | string | { readonly assuming: readonly SizeFact[] };

/** Numeric parameters of a schedule that vary from kernel to kernel: tile shapes, thread counts. */
export type Settings = Readonly<Record<string, number>>;

/** One way to lower kernels of a kind. `P` describes what such a kernel has to compute. */
export interface Schedule<P, S extends Settings = Settings> {
  readonly name: string;
  /** What it does, in one sentence. */
  readonly summary: string;
  /** Adapter features that its kernels require. */
  readonly features?: readonly KernelFeature[];
  /** The settings to consider on an adapter, preferred first; or why the schedule does not apply to that adapter. */
  settings(facts: AdapterFacts): readonly S[] | string;
  fits(problem: P, settings: S, facts: AdapterFacts): Fit;
  /** Whether settings for different ranges of an open size each become a variant; otherwise only the cheapest does. */
  readonly byRange?: boolean;
  /** Estimated cost, for comparing settings of this schedule only: a relative figure, lower is better. */
  cost(problem: P, settings: S, facts: AdapterFacts): number;
  /** Fraction of the work (0 to 1) that falls outside the problem at its typical sizes; for reports only. */
  waste?(problem: P, settings: S): number;
  lower(problem: P, settings: S): KernelCode;
  /**
   * Set if its workgroups can reduce segments of the rows that they write, and combine such partial reductions of the
   * rows that they read: the segment widths that it supports, preferred first.
   */
  readonly rowParts?: readonly number[];
  /** The tiles in which it computes whole rows on an adapter: it is only for kernels that also reduce their rows. */
  rowTiles?(facts: AdapterFacts): RowTiles | undefined;
}

/** The fraction of tile area outside a problem of these sizes. */
export const tileWaste = (sides: readonly (readonly [size: number, tile: number])[]): number =>
  1 - sides.reduce((n, [size, tile]) => (n * size) / (Math.ceil(size / tile) * tile), 1);

/** A schedule that was rejected, and why. */
export interface Refusal {
  readonly schedule: string;
  readonly reason: string;
}

/** A schedule with its settings for one problem. */
export interface Choice<P> {
  readonly schedule: Schedule<P>;
  readonly settings: Settings;
  /** The next choice is used if any of these facts does not hold for the sizes of a run. */
  readonly assuming: readonly SizeFact[];
  readonly cost: number;
  /** Whether a finding (a measurement) selected it rather than the order of the table. */
  readonly found?: boolean;
}

export interface Choices<P> {
  /** In order of preference; the last one assumes nothing. */
  readonly choices: readonly Choice<P>[];
  /** Schedules ahead of the last choice in the table that were rejected. */
  readonly refused: readonly Refusal[];
}

/** The schedules of a problem: those named by findings where they still fit, otherwise those the table prefers. */
export const choose = <P>(
  table: readonly Schedule<P>[],
  problem: P,
  facts: AdapterFacts,
  findings: readonly Finding[] = [],
): Choices<P> =>
  findings.reduce((chosen, f) => withFinding(chosen, f, table, problem, facts), byTable(table, problem, facts));

/**
 * The schedules of a problem by table order: the first that fits whatever the sizes are, with its cheapest settings,
 * preceded by those that fit under facts about open sizes. Facts are resolved against declared bounds: one that always
 * holds is dropped, and a choice whose fact never holds is not made.
 */
function byTable<P>(table: readonly Schedule<P>[], problem: P, facts: AdapterFacts): Choices<P> {
  const choices: Choice<P>[] = [];
  const refused: Refusal[] = [];
  for (const schedule of table) {
    const settings = offered(schedule, facts);
    if (typeof settings === "string") {
      refused.push({ schedule: schedule.name, reason: settings });
      continue;
    }
    const { fitting, reason } = fittingOf(schedule, settings, problem, facts);
    const whatever = fitting.filter((c) => c.assuming.length === 0);
    const special = fitting.filter((c) => c.assuming.length > 0);
    if (schedule.byRange) addReachable(choices, cheapestOfEach(special));
    if (whatever.length > 0) return { choices: [...choices, cheapest(whatever)], refused };
    if (special.length > 0 && !schedule.byRange) addReachable(choices, [cheapest(special)]);
    if (fitting.length === 0) refused.push({ schedule: schedule.name, reason });
  }
  throw new UnsupportedError(`no schedule fits: ${refused.map((r) => `${r.schedule}: ${r.reason}`).join("; ")}`);
}

/** Every way to lower a problem that fits it, for a tuner to time: grouped by schedule, in table order. */
export const candidates = <P>(table: readonly Schedule<P>[], problem: P, facts: AdapterFacts): Choice<P>[] =>
  table.flatMap((schedule) => {
    const settings = offered(schedule, facts);
    return typeof settings === "string" ? [] : fittingOf(schedule, settings, problem, facts).fitting;
  });

/** The settings of a schedule for an adapter, or why it does not apply to that adapter. */
function offered<P>(schedule: Schedule<P>, facts: AdapterFacts): readonly Settings[] | string {
  const missing = (schedule.features ?? []).filter((f) => !facts.features.has(f));
  return missing.length > 0 ? `the adapter lacks ${missing.join(", ")}` : schedule.settings(facts);
}

/**
 * The choices with a finding's choice inserted in place of what would run at its sizes. It keeps the assumptions of the
 * choice it replaces and adds its own; if it adds any, the replaced choice stays as the fallback. A finding that no
 * longer fits changes nothing and is listed among the refusals with the reason.
 */
function withFinding<P>(
  { choices, refused }: Choices<P>,
  finding: Finding,
  table: readonly Schedule<P>[],
  problem: P,
  facts: AdapterFacts,
): Choices<P> {
  const own = foundChoice(finding, table, problem, facts);
  if (typeof own === "string")
    return { choices, refused: [...refused, { schedule: `${finding.schedule} (found)`, reason: own }] };
  const known = ({ assuming }: Choice<P>) => assuming.every(({ dim }) => isKnown(dim, finding.sizes));
  const at = choices.findIndex((c) => known(c) && holds(c.assuming, finding.sizes));
  const before = choices[at]!; // the last assumes nothing
  const more = own.assuming.filter((f) => !before.assuming.some((b) => b.dim === f.dim && b.max <= f.max));
  const better = { ...own, assuming: [...before.assuming, ...more], found: true };
  return { choices: choices.toSpliced(at, more.length === 0 ? 1 : 0, better), refused };
}

/** The choice that a finding names, or why it is not available for the problem. */
function foundChoice<P>(
  { schedule: name, settings, sizes }: Finding,
  table: readonly Schedule<P>[],
  problem: P,
  facts: AdapterFacts,
): Choice<P> | string {
  const schedule = table.find((s) => s.name === name);
  if (!schedule) return "this schedule no longer exists";
  const all = offered(schedule, facts);
  if (typeof all === "string") return all;
  const same = all.filter((s) => printChoice(name, s) === printChoice(name, settings));
  if (same.length === 0) return `it no longer offers ${printChoice("settings", settings)}`;
  const { fitting, reason } = fittingOf(schedule, same, problem, facts);
  const [choice] = fitting;
  if (!choice) return reason;
  const holding = choice.assuming.every(({ dim }) => isKnown(dim, sizes)) && holds(choice.assuming, sizes);
  return holding ? choice : "it does not fit the sizes at which it was timed";
}

const isKnown = (dim: Dim, sizes: Sizes): boolean => symbolsOf(dim).every((s) => Object.hasOwn(sizes, s.name));

/** Appends choices, except those that are unreachable because an earlier choice covers all of their cases. */
function addReachable<P>(choices: Choice<P>[], more: readonly Choice<P>[]): void {
  for (const c of more) {
    const implied = (f: SizeFact) => c.assuming.some((own) => own.dim === f.dim && own.max <= f.max);
    if (!choices.some((earlier) => earlier.assuming.every(implied))) choices.push(c);
  }
}

/** The cheapest of each group of choices with the same assumptions. */
const cheapestOfEach = <P>(choices: readonly Choice<P>[]): Choice<P>[] => {
  const factsOf = ({ assuming }: Choice<P>) => assuming.map(({ dim, max }) => `${dim} <= ${max}`).join();
  return [...Map.groupBy(choices, factsOf).values()].map(cheapest);
};

const cheapest = <P>(choices: readonly Choice<P>[]): Choice<P> =>
  choices.reduce((best, c) => (c.cost < best.cost ? c : best));

/** The choices that a schedule offers, and why the last rejected settings do not fit. */
function fittingOf<P>(schedule: Schedule<P>, settings: readonly Settings[], problem: P, facts: AdapterFacts) {
  const fitting: Choice<P>[] = [];
  let reason = "it has no settings for this adapter";
  for (const s of settings) {
    const fit = schedule.fits(problem, s, facts);
    const assumed = typeof fit === "object" ? fit.assuming : [];
    const never = assumed.find(({ dim, max }) => boundsOf(dim).min > max);
    if (typeof fit === "string") reason = fit;
    else if (never) reason = `it needs ${printFact(never)}, which never holds`;
    else {
      const assuming = assumed.filter(({ dim, max }) => boundsOf(dim).max > max); // the others always hold
      fitting.push({ schedule, settings: s, assuming, cost: schedule.cost(problem, s, facts) });
    }
  }
  return { fitting, reason };
}

/** Whether the facts hold for the sizes of a run. */
export const holds = (assuming: readonly SizeFact[], sizes: Sizes): boolean =>
  assuming.every(({ dim, max }) => dimValue(dim, sizes) <= max);

/** `batch*tokens <= 8`: an assumption of a variant, as text. */
export const printFact = ({ dim, max }: SizeFact): string => `${dim} <= ${max}`;

/** `shared-tiles side=64 depth=16`: a choice as text. */
export const printChoice = (name: string, settings: Settings): string =>
  [name, ...Object.entries(settings).map(([k, v]) => `${k}=${v}`)].join(" ");
