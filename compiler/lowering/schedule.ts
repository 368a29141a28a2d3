/**
 * Schedules: the ways in which kernels of a kind are lowered. Each is a record in a file of its own; each kind has an
 * ordered table of them (schedules/tables.ts), and choosing is one function over that table.
 */
import { UnsupportedError } from "../diagnostics/error.ts";
import type { RowTiles } from "../fusion/index.ts";
import { boundsOf, type Dim, dimValue, type Sizes, symbolsOf } from "../ir/dim.ts";
import type { KernelFeature } from "../kernel/index.ts";
import type { AdapterFacts } from "./facts.ts";
import type { Finding } from "./findings.ts";
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
  /** Whether settings that assume other ranges of an open size are taken for each of them; else the cheapest of all. */
  readonly byRange?: boolean;
  /** Estimated cost, by which the settings of one schedule are compared: a relative figure, the lower the better. */
  cost(problem: P, settings: S, facts: AdapterFacts): number;
  /** Share of the work, 0 to 1, that lies past the edges of a problem of the typical sizes; for people to read. */
  waste?(problem: P, settings: S): number;
  lower(problem: P, settings: S): KernelCode;
  /**
   * That its workgroups reduce parts of the rows that they make, and begin with what was reduced of those that they read:
   * how long such parts may be, the preferred first.
   */
  readonly rowParts?: readonly number[];
  /** How it makes whole rows on an adapter: it is for kernels that fold these too, and for no others. */
  rowTiles?(facts: AdapterFacts): RowTiles | undefined;
}

/** The share of tiles that lies past the edges, of results so long and so wide in tiles of these sides. */
export const tileWaste = (sides: readonly (readonly [size: number, tile: number])[]): number =>
  1 - sides.reduce((n, [size, tile]) => (n * size) / (Math.ceil(size / tile) * tile), 1);

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
  /** Whether it is here because it was timed, rather than by the order of the table. */
  readonly found?: boolean;
}

export interface Choices<P> {
  /** The last one assumes nothing. */
  readonly choices: readonly Choice<P>[];
  /** Those before the last choice in the table that were not taken. */
  readonly refused: readonly Refusal[];
}

/** The schedules of a problem: those that findings name where they still fit, else what the table prefers. */
export const choose = <P>(
  table: readonly Schedule<P>[],
  problem: P,
  facts: AdapterFacts,
  findings: readonly Finding[] = [],
): Choices<P> =>
  findings.reduce((chosen, f) => honour(chosen, f, table, problem, facts), byTable(table, problem, facts));

/**
 * The schedules of a problem by the order of the table: the first of the table that fits it whatever its sizes are, with its cheapest settings; before
 * that, those that fit where facts about open sizes hold. What declared bounds decide is no question of a run: a fact that
 * always holds is not asked, and what needs one that never does is not made.
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

/** All ways to lower a problem that fit it: what a tuner times. Those of one schedule stand together, by the table's order. */
export const candidates = <P>(table: readonly Schedule<P>[], problem: P, facts: AdapterFacts): Choice<P>[] =>
  table.flatMap((schedule) => {
    const settings = offered(schedule, facts);
    return typeof settings === "string" ? [] : fittingOf(schedule, settings, problem, facts).fitting;
  });

/** What a schedule may be set to on an adapter, or why it is not for that adapter. */
function offered<P>(schedule: Schedule<P>, facts: AdapterFacts): readonly Settings[] | string {
  const missing = (schedule.features ?? []).filter((f) => !facts.features.has(f));
  return missing.length > 0 ? `the adapter lacks ${missing.join(", ")}` : schedule.settings(facts);
}

/**
 * The choices with what a finding names in place of what would run at its sizes. It assumes what that assumed, and its own
 * facts besides: where it has any, what was there stays behind it. A finding that fits no more changes nothing, and says why
 * among the refusals.
 */
function honour<P>(
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

/** The choice that a finding names, or why there is no such choice for the problem. */
function foundChoice<P>(
  { schedule: name, settings, sizes }: Finding,
  table: readonly Schedule<P>[],
  problem: P,
  facts: AdapterFacts,
): Choice<P> | string {
  const schedule = table.find((s) => s.name === name);
  if (!schedule) return "there is no such schedule any more";
  const all = offered(schedule, facts);
  if (typeof all === "string") return all;
  const same = all.filter((s) => printChoice(name, s) === printChoice(name, settings));
  if (same.length === 0) return `it is not offered with ${printChoice("settings", settings)}`;
  const { fitting, reason } = fittingOf(schedule, same, problem, facts);
  const [choice] = fitting;
  if (!choice) return reason;
  const holding = choice.assuming.every(({ dim }) => isKnown(dim, sizes)) && holds(choice.assuming, sizes);
  return holding ? choice : `it was timed at sizes at which it does not fit`;
}

const isKnown = (dim: Dim, sizes: Sizes): boolean => symbolsOf(dim).every((s) => Object.hasOwn(sizes, s.name));

/** Adds choices, but for those whose facts hold only where those of one before them do: that one is taken then. */
function addReachable<P>(choices: Choice<P>[], more: readonly Choice<P>[]): void {
  for (const c of more) {
    const implied = (f: SizeFact) => c.assuming.some((own) => own.dim === f.dim && own.max <= f.max);
    if (!choices.some((earlier) => earlier.assuming.every(implied))) choices.push(c);
  }
}

/** Of choices that assume the same, the cheapest. */
const cheapestOfEach = <P>(choices: readonly Choice<P>[]): Choice<P>[] => {
  const factsOf = ({ assuming }: Choice<P>) => assuming.map(({ dim, max }) => `${dim} <= ${max}`).join();
  return [...Map.groupBy(choices, factsOf).values()].map(cheapest);
};

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
