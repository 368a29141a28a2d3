/** Data specs: `[weight*]path[#split,...]`, where the path may have braces and wildcards. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { FileError } from "../../compiler/index.ts";

export interface Spec {
  readonly text: string;
  readonly weight: number;
  readonly path: string;
  /** The splits of a list to read; default all that it has. */
  readonly splits?: readonly string[];
}

const mostWeight = 1e12;

/**
 * A leading number and asterisk are a weight; a path that begins like that needs a "./" prefix. After a "#" are the
 * names of splits, unless a file has that name.
 */
export function parseSpec(text: string): Spec {
  const [, weight, path] = /^(\d+(?:\.\d+)?|\.\d+)\*(.*)$/s.exec(text) ?? [];
  const spec = { text, weight: weight === undefined ? 1 : Number(weight), ...splitsOf(path ?? text) };
  if (spec.path === "")
    throw new FileError(`"${text}" has no path: give a path, or a weight and a path, as in 2*shards/`);
  if (spec.weight <= 0 || spec.weight > mostWeight)
    throw new FileError(`"${text}" has weight ${spec.weight}: a weight must be above 0 and at most ${mostWeight}`);
  return spec;
}

function splitsOf(text: string): Pick<Spec, "path" | "splits"> {
  const [, path, names] = /^(.*\.json)#([^/#]*)$/is.exec(text) ?? [];
  if (path === undefined || existsSync(text)) return { path: text };
  const splits = names!.split(",");
  if (!splits.includes("")) return { path, splits };
  throw new FileError(`"${text}" names no split after #: name those to read, as in ${path}#train,restval`);
}

/** Expands braces and wildcards in a path, wildcard matches in name order; FileError when one does not exist. */
export function pathsOf(path: string): readonly string[] {
  if (existsSync(path)) return [path];
  const expanded = braces(path);
  const found = expanded.map((one) => ({ one, paths: stars(one) }));
  const missing = found.filter(({ paths }) => paths.length === 0).map(({ one }) => one);
  if (missing.length === 0) return [...new Set(found.flatMap(({ paths }) => paths))];
  if (expanded.length === 1)
    throw new FileError(`${path} ${missing[0]!.includes("*") ? "matches no file" : "does not exist"}`);
  if (missing.length === expanded.length) throw new FileError(`${path} matches no file: ${missing[0]} does not exist`);
  throw new FileError(
    `${path}: ${missing.length} of ${expanded.length} files do not exist, the first is ${missing[0]}`,
  );
}

const mostPaths = 1_000_000;

/**
 * Expands `a{01..03}b{x,y}` like a shell: a range keeps the width of its first number, the last braces vary fastest.
 */
function braces(path: string): readonly string[] {
  const match = /^(.*?)\{([^{}]*)\}(.*)$/s.exec(path);
  if (!match) return [path];
  const [, before, inside, after] = match as unknown as [string, string, string, string];
  const choices = rangeOf(inside) ?? (inside.includes(",") ? inside.split(",") : undefined);
  const rest = braces(after);
  if (!choices) return rest.map((end) => `${before}{${inside}}${end}`);
  if (choices.length * rest.length > mostPaths) throw new FileError(`${path} expands to more than ${mostPaths} paths`);
  return choices.flatMap((choice) => rest.map((end) => `${before}${choice}${end}`));
}

function rangeOf(inside: string): readonly string[] | undefined {
  const match = /^(\d+)\.\.(\d+)$/.exec(inside);
  if (!match) return undefined;
  const [from, to] = [Number(match[1]), Number(match[2])];
  const length = Math.abs(to - from) + 1;
  if (length > mostPaths) throw new FileError(`{${inside}} expands to more than ${mostPaths} paths`);
  const width = match[1]!.length;
  return Array.from({ length }, (_, i) => String(from < to ? from + i : from - i).padStart(width, "0"));
}

/**
 * Expands `*` (any characters but "/") and `?` (one character). Like in a shell, names with a leading dot are excluded.
 */
function stars(path: string): readonly string[] {
  if (!/[*?]/.test(path)) return existsSync(path) ? [path] : [];
  const segments = path.split("/");
  let found = [path.startsWith("/") ? "/" : ""];
  for (const segment of segments.filter((s) => s !== "")) {
    found = found.flatMap((folder) => matching(folder, segment));
  }
  return found;
}

function matching(folder: string, segment: string): readonly string[] {
  const under = (name: string) => (folder === "" ? name : join(folder, name));
  if (!/[*?]/.test(segment)) return existsSync(under(segment)) ? [under(segment)] : [];
  const place = folder === "" ? "." : folder;
  if (!statSync(place, { throwIfNoEntry: false })?.isDirectory()) return [];
  const names = readdirSync(place).filter(
    (name) => matches([...name], [...segment]) && (segment.startsWith(".") || !name.startsWith(".")),
  );
  return names.sort().map(under);
}

/**
 * Whether a name matches a pattern; linear backtracking, since a regular expression could take time exponential in the
 * number of asterisks.
 */
function matches(name: readonly string[], pattern: readonly string[]): boolean {
  let [at, next] = [0, 0];
  let [star, taken] = [-1, 0]; // the last asterisk, and the end of what it has matched
  while (at < name.length) {
    if (pattern[next] === "*") [star, taken, next] = [next, at, next + 1];
    else if (pattern[next] === "?" || pattern[next] === name[at]) [at, next] = [at + 1, next + 1];
    else if (star >= 0) [taken, at, next] = [taken + 1, taken + 1, star + 1];
    else return false;
  }
  return pattern.slice(next).every((character) => character === "*");
}
