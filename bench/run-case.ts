/**
 * Runs a case: contenders alternate, each time in a fresh process, and count only if their outputs agree with heddle's.
 */
import { readdirSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { largestDifference } from "./agreement.ts";
import { bringsOwnDawn, type Case, type ContenderName } from "./cases.ts";
import { measureAlone, type Outcome } from "./fresh-process.ts";
import type { Measurement } from "./subject.ts";

export interface RunOptions {
  readonly rounds: number;
  /** Maximum timed repetitions per process. */
  readonly timed?: number;
  /** Excluded contenders, with the reason. */
  readonly absent: ReadonlyMap<ContenderName, string>;
  readonly note: (text: string) => void;
}

export interface ContenderResult {
  readonly contender: ContenderName;
  /** One per round. */
  readonly measurements: readonly Measurement[];
  /** The largest difference from heddle's outputs, relative to the largest magnitude. */
  readonly difference: number;
  /** Why this contender has no results. */
  readonly failure?: string;
}

/** Measures every contender `rounds` times; one that fails or computes something else is dropped with the reason. */
export async function runCase(c: Case, options: RunOptions): Promise<ContenderResult[]> {
  const names = Object.keys(c.contenders) as ContenderName[];
  const failures = new Map(options.absent);
  const measured = new Map(names.map((name) => [name, [] as Measurement[]]));
  const heddle = () => measured.get("heddle")![0];
  for (let round = 0; round < options.rounds; round++) {
    for (const name of turns(names, round)) {
      if (failures.has(name) || failures.has("heddle")) continue;
      options.note(`${c.name}: ${name}, round ${round + 1} of ${options.rounds}`);
      const outcome = await take(c, name, options, heddle());
      const reason = refusal(c, outcome, heddle());
      if (reason) failures.set(name, reason);
      else if ("measurement" in outcome) measured.get(name)!.push(outcome.measurement);
    }
  }
  if (failures.has("heddle")) {
    for (const name of names) if (!failures.has(name)) failures.set(name, "there are no figures of heddle beside it");
  }
  return names.map((contender) => resultOf(contender, measured.get(contender)!, failures.get(contender), heddle()));
}

/**
 * heddle starts the first round, since the others are compared with it; each later round starts with the next
 * contender.
 */
const turns = (names: readonly ContenderName[], round: number): ContenderName[] => {
  const first = round % names.length;
  return [...names.slice(first), ...names.slice(0, first)];
};

function take(c: Case, contender: ContenderName, options: RunOptions, heddle?: Measurement): Promise<Outcome> {
  const order = {
    name: c.name,
    contender,
    timed: Math.min(options.timed ?? c.timed, c.timed),
    profile: false,
    patience: c.patience,
  };
  return measureAlone(order, bringsOwnDawn.has(contender) && heddle ? sameDriver(heddle.drivers) : {});
}

/** Why an outcome does not count, or undefined if it does. */
function refusal(c: Case, outcome: Outcome, heddle: Measurement | undefined): string | undefined {
  if ("failure" in outcome) return outcome.failure;
  if (!heddle) return undefined;
  const { outputs, device, drivers } = outcome.measurement;
  const apart = largestDifference(outputs, heddle.outputs);
  if (!(apart <= c.tolerance)) return `its outputs differ from heddle's by ${apart.toExponential(1)} of the largest`;
  if (device && device.description !== heddle.device?.description) return `it ran on "${device.description}"`;
  const other = driverNames(heddle.drivers).find((name) => !driverNames(drivers).includes(name));
  return other && `it ran without the driver ${other} that heddle ran on`;
}

function resultOf(
  contender: ContenderName,
  measurements: readonly Measurement[],
  failure: string | undefined,
  heddle: Measurement | undefined,
): ContenderResult {
  const apart = measurements.map((m) => largestDifference(m.outputs, heddle!.outputs));
  const result = { contender, measurements, difference: Math.max(0, ...apart) };
  return failure ? { ...result, measurements: [], failure } : result;
}

const isLoader = (path: string) => basename(path).startsWith("libvulkan.so");
const driverNames = (paths: readonly string[]) => paths.filter((p) => !isLoader(p)).map((p) => basename(p));

/**
 * Environment variables that make a library with its own Dawn use the same Vulkan loader and driver as heddle. Only a
 * driver whose manifest lies beside it needs them, such as SwiftShader; others are found by every loader.
 */
function sameDriver(paths: readonly string[]): Record<string, string> {
  const folder = paths.filter((p) => !isLoader(p)).map((p) => dirname(p))[0];
  const manifest = folder && readdirSync(folder).find((name) => /icd.*\.json$/.test(name));
  if (!folder || !manifest) return {};
  const libraries = [...new Set(paths.filter(isLoader).map((p) => dirname(p)))];
  const before = process.env.LD_LIBRARY_PATH;
  return {
    VK_ICD_FILENAMES: join(folder, manifest),
    VK_DRIVER_FILES: join(folder, manifest),
    LD_LIBRARY_PATH: [...libraries, ...(before ? [before] : [])].join(delimiter),
  };
}
