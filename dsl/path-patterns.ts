/**
 * Glob patterns of parameter paths: `*` is one part between dots, `**` any number of them, and a leading `!` excludes.
 */
import { didYouMean } from "../compiler/index.ts";

const isExclusion = (pattern: string): boolean => pattern.startsWith("!");
const positive = (pattern: string): string => pattern.replace(/^!/, "");

/**
 * Whether patterns select a path: at least one matches and none with `!` does, in any order. If all have a `!`,
 * everything else is selected.
 */
export function chosenBy(patterns: readonly string[]): (path: string) => boolean {
  const [wanted, unwanted] = [patterns.filter((p) => !isExclusion(p)), patterns.filter(isExclusion)];
  const included = wanted.length > 0 || unwanted.length === 0 ? wanted : ["**"];
  return (path) => included.some((p) => matchesPath(p, path)) && !unwanted.some((p) => matchesPath(positive(p), path));
}

/** The fault of the first pattern that matches no path; undefined if each matches one. */
export function unmatched(
  patterns: readonly string[],
  paths: readonly string[],
  what = "parameter",
): string | undefined {
  const pattern = patterns.find((p) => !paths.some((path) => matchesPath(positive(p), path)));
  if (pattern === undefined) return undefined;
  if (paths.length === 0) return `the pattern "${pattern}" matches no ${what}: nothing in this computation reads one.`;
  const hint = nearPattern(positive(pattern), paths) || ".";
  return `the pattern "${pattern}" matches no ${what}${hint} There are ${paths.length}, such as "${paths[0] ?? ""}".`;
}

/** The pattern below another scope if that matches, or patterns of the same form that are spelt alike. */
function nearPattern(pattern: string, paths: readonly string[]): string {
  const below = `**.${pattern}`;
  if (paths.some((path) => matchesPath(below, path))) return `; did you mean "${below}"?`;
  return didYouMean(pattern, new Set(paths.flatMap((path) => likeOf(pattern.split("."), path.split(".")) ?? [])));
}

/** The pattern with the parts of a path where it has names; undefined if the path has fewer parts. */
function likeOf(pattern: readonly string[], path: readonly string[]): string | undefined {
  const [first, last] = [pattern.indexOf("**"), pattern.lastIndexOf("**")];
  if (first < 0 ? path.length !== pattern.length : path.length < pattern.length - (last - first + 1)) return undefined;
  const fromEnd = path.length - pattern.length;
  const made = pattern.map((part, i) => {
    if (part.includes("*") || (first < i && i < last)) return part;
    return path[first < 0 || i < first ? i : i + fromEnd]!;
  });
  return made.join(".");
}

/** Whether a pattern without `!` matches a path. */
export function matchesPath(pattern: string, path: string): boolean {
  const source = pattern
    .split(/(\*\*\.|\.\*\*|\*\*|\*)/)
    .map((part) => {
      if (part === "**.") return "(?:.*\\.)?";
      if (part === ".**") return "(?:\\..*)?";
      if (part === "**") return ".*";
      if (part === "*") return "[^.]*";
      return part.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
    })
    .join("");
  return new RegExp(`^${source}$`).test(path);
}
