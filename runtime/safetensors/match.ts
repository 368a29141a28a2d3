/** Compares the tensors that a model expects with those in a file. */
import { FileError } from "../../compiler/index.ts";
import { quoted } from "../file-errors.ts";
import { nearestNames } from "../nearest-names.ts";
import { describeShape } from "./header.ts";

export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** All differences between the expected and the actual tensors. */
export interface TensorMatch<Expected extends NamedShape, Found extends NamedShape> {
  readonly matched: readonly { readonly expected: Expected; readonly found: Found }[];
  readonly missing: readonly Expected[];
  readonly unexpected: readonly Found[];
  readonly misshaped: readonly { readonly expected: Expected; readonly found: Found }[];
}

/** Matches by name and shape; each list keeps the order of its source. */
export function matchTensors<Expected extends NamedShape, Found extends NamedShape>(
  expected: readonly Expected[],
  source: { readonly tensors: ReadonlyMap<string, Found> },
): TensorMatch<Expected, Found> {
  const missing = expected.filter(({ name }) => !source.tensors.has(name));
  const pairs = expected.flatMap((tensor) => {
    const found = source.tensors.get(tensor.name);
    return found === undefined ? [] : [{ expected: tensor, found }];
  });
  const known = new Set(expected.map(({ name }) => name));
  return {
    matched: pairs.filter((pair) => sameShape(pair.expected, pair.found)),
    missing,
    unexpected: [...source.tensors.values()].filter(({ name }) => !known.has(name)),
    misshaped: pairs.filter((pair) => !sameShape(pair.expected, pair.found)),
  };
}

const sameShape = (a: NamedShape, b: NamedShape) =>
  a.shape.length === b.shape.length && a.shape.every((size, i) => size === b.shape[i]);

/** Which differences are allowed: unexpected tensors may be left unread on purpose. */
export interface MatchRules {
  readonly allowMissing?: boolean;
  readonly allowUnexpected?: boolean;
}

/** Throws one FileError listing every difference that the rules forbid. */
export function requireMatch(path: string, match: TensorMatch<NamedShape, NamedShape>, rules: MatchRules = {}): void {
  const isFault =
    match.misshaped.length > 0 ||
    (match.missing.length > 0 && !rules.allowMissing) ||
    (match.unexpected.length > 0 && !rules.allowUnexpected);
  if (isFault) throw new FileError(`${path}: ${describeMatch(match)}`);
}

/** Names listed per kind, so that messages stay readable for models with thousands of tensors. */
const mostShown = 10;

/** A match as text: a line of counts, then the first names of each kind, with suggestions for missing ones. */
export function describeMatch(match: TensorMatch<NamedShape, NamedShape>): string {
  const { matched, missing, unexpected, misshaped } = match;
  const counts = [
    `${matched.length} tensors match`,
    `${missing.length} missing`,
    `${misshaped.length} with another shape`,
    `${unexpected.length} unexpected`,
  ];
  const free = unexpected.map(({ name }) => name);
  return [
    counts.join(", "),
    ...section("missing", missing, (tensor) => `${describe(tensor)}${suggestion(tensor.name, free)}`),
    ...section("with another shape", misshaped, (pair) => `${describe(pair.expected)} is ${shapeText(pair.found)}`),
    ...section("unexpected", unexpected, describe),
    ...prefixHint(missing, new Set(free)),
  ].join("\n");
}

function section<T>(title: string, items: readonly T[], line: (item: T) => string): string[] {
  if (items.length === 0) return [];
  const lines = items.slice(0, mostShown).map((item) => `    ${line(item)}`);
  const rest = items.length - lines.length;
  return [`  ${title}:`, ...lines, ...(rest > 0 ? [`    and ${rest} more`] : [])];
}

const shapeText = ({ shape }: NamedShape) => `[${describeShape(shape)}]`;
const describe = (tensor: NamedShape) => `${quoted(tensor.name)} ${shapeText(tensor)}`;

function suggestion(name: string, candidates: readonly string[]): string {
  const [near] = nearestNames(name, candidates, 1);
  return near === undefined ? "" : `, nearest: ${quoted(near)}`;
}

/** Checkpoints often add a prefix to a model's names ("model.", "vision_model."), or lack an expected one. */
function prefixHint(missing: readonly NamedShape[], unexpected: ReadonlySet<string>): string[] {
  const first = missing[0]?.name;
  if (first === undefined) return [];
  for (const name of unexpected) {
    if (name === first) continue;
    if (name.endsWith(first)) {
      const prefix = name.slice(0, -first.length);
      const count = missing.filter((tensor) => unexpected.has(prefix + tensor.name)).length;
      if (count > 1) return [`  hint: ${count} of the missing names exist with the prefix ${quoted(prefix)}`];
    } else if (first.endsWith(name)) {
      const prefix = first.slice(0, -name.length);
      const isThere = (tensor: NamedShape) =>
        tensor.name.startsWith(prefix) && unexpected.has(tensor.name.slice(prefix.length));
      const count = missing.filter(isThere).length;
      if (count > 1) return [`  hint: ${count} of the missing names exist without the prefix ${quoted(prefix)}`];
    }
  }
  return [];
}
