/**
 * What ranks have that should be the same on all of them, in words that are the same whichever of them is the odd one.
 */

import { UsageError } from "../../compiler/index.ts";

/** By name; it is compared as text. */
export type Facts = Readonly<Record<string, string>>;

/** A line for each fact in which ranks differ, which says who has what; none where they are alike. */
export function differences(ofRanks: readonly Facts[]): readonly string[] {
  const names = [...new Set(ofRanks.flatMap((facts) => Object.keys(facts)))];
  return names.flatMap((name) => {
    // Another version may have facts of other names.
    const holders = Map.groupBy(ofRanks.keys(), (rank) => ofRanks[rank]![name] ?? "an unknown one");
    return holders.size > 1 ? [`ranks differ in ${name}: ${whoHasWhat(holders)}`] : [];
  });
}

function whoHasWhat(holders: ReadonlyMap<string, readonly number[]>): string {
  const values = [...holders.keys()];
  // What is short is told; of a digest, that it differs says all.
  const areShown = values.every((value) => value.length <= longestShown && !/^[0-9a-f]{64}$/.test(value));
  const shown = (value: string, i: number) => (areShown ? value : (["one", "another"][i] ?? "yet another"));
  return [...holders].map(([value, ranks], i) => `${ranksText(ranks)} ${shown(value, i)}`).join("; ");
}

const longestShown = 60;

/** "rank 0 has", "ranks 1 to 3 have", "ranks 0, 2 and 5 have". */
function ranksText(ranks: readonly number[]): string {
  const [first, last] = [ranks[0]!, ranks.at(-1)!];
  if (ranks.length === 1) return `rank ${first} has`;
  if (ranks.length > 2 && last - first === ranks.length - 1) return `ranks ${first} to ${last} have`;
  return `ranks ${ranks.slice(0, -1).join(", ")} and ${last} have`;
}

/** Ranks have not the same of what must be the same on all. */
export class RanksDifferError extends UsageError {
  /** Whether this rank is the one that tells it. */
  readonly isToldHere: boolean;

  constructor(found: readonly string[], isToldHere: boolean) {
    super(`${found.join("\n")}\n  hint: every rank needs the same heddle, job file, settings and data`);
    this.isToldHere = isToldHere;
  }
}
