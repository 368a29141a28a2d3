/** Debug switches, each a verb with an argument. Read from a record; only the command line reads the environment. */
import { didYouMean } from "./did-you-mean.ts";
import { UsageError } from "./error.ts";

/** What to show: a kind of output, and a name pattern in which * matches anything. */
export interface Selection {
  readonly what: string;
  readonly names: string;
}

export interface Switches {
  readonly dump: readonly Selection[];
  readonly trace: readonly Selection[];
  readonly time: readonly Selection[];
  readonly check: "forms" | "all";
  readonly seed: number | undefined;
}

/** Each switch with an example and what it does; `--help` lists them. */
export const switchHelp = [
  {
    name: "DUMP",
    example: "DUMP=ir:canonicalize",
    help: "print what stages made, kernels or their WGSL by name",
  },
  {
    name: "TRACE",
    example: "TRACE=rules:canonicalize",
    help: "say which rules of a pass fired, and why others did not",
  },
  { name: "TIME", example: "TIME=passes", help: "say how long each pass took" },
  { name: "CHECK", example: "CHECK=all", help: "also check that passes are idempotent and graphs read back" },
  { name: "SEED", example: "SEED=7", help: "the seed of everything random" },
] as const;

/** The kinds that each switch takes. */
const kinds = {
  DUMP: ["ir", "kernel", "wgsl", "onnx"],
  TRACE: ["rules"],
  TIME: ["passes"],
} as const;

/** Reads the switches from a record such as process.env; throws UsageError for an unknown kind or an invalid value. */
export function readSwitches(record: Readonly<Record<string, string | undefined>>): Switches {
  return {
    dump: selections("DUMP", record.DUMP),
    trace: selections("TRACE", record.TRACE),
    time: selections("TIME", record.TIME),
    check: readCheck(record.CHECK),
    seed: readSeed(record.SEED),
  };
}

/** Parses `ir:fuse-*,wgsl:*softmax*`: a list of kinds, each with an optional name pattern (default: all names). */
function selections(name: keyof typeof kinds, text: string | undefined): Selection[] {
  return (text ?? "")
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const [what, ...rest] = part.trim().split(":");
      const known: readonly string[] = kinds[name];
      if (!known.includes(what!)) {
        const hint = didYouMean(what!, known) || `; it takes ${known.join(", ")}`;
        throw new UsageError(`${name}=${part.trim()}: there is no "${what}" to ${name.toLowerCase()}${hint}`);
      }
      return { what: what!, names: rest.join(":") || "*" };
    });
}

function readCheck(text: string | undefined): Switches["check"] {
  if (text === undefined || text === "" || text === "forms") return "forms";
  if (text === "all") return "all";
  throw new UsageError(`CHECK=${text}: it takes "forms" or "all"`);
}

function readSeed(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`SEED=${text}: a seed is a whole number from 0`);
}

/** Whether one of the selections has this kind and a pattern that matches the name. */
export const selects = (list: readonly Selection[], what: string, name: string): boolean =>
  list.some((s) => s.what === what && globMatches(s.names, name));

/** Glob match where * matches anything; without backtracking, so no pattern is slow. */
export function globMatches(pattern: string, name: string): boolean {
  const [first = "", ...parts] = pattern.split("*");
  if (parts.length === 0) return pattern === name;
  if (!name.startsWith(first)) return false;
  const last = parts.pop()!;
  let at = first.length;
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - at >= last.length && name.endsWith(last);
}
