/**
 * Rewrites parts of a tokenizer.json that `@huggingface/tokenizers` computes otherwise than the Rust library that
 * defines the format, as parts on which both agree. Without it, the package gives other ids in silence: it splits at
 * punctuation in runs, at ASCII digits only, and ignores most behaviors of a Split and the `split` of a Metaspace.
 */
import { FileError, shown } from "../compiler/index.ts";
import { isRecord } from "./records.ts";

type Part = Readonly<Record<string, unknown>>;

/** Reads a field of a part, or throws FileError naming both. */
type Read = <T>(name: string, fields: Field<T>) => T;
interface Field<T> {
  readonly is: (value: unknown) => value is T;
  readonly expected: string;
  /** What an absent field means; without it the field is required. */
  readonly absent?: T;
}

const flag = { is: (value: unknown): value is boolean => typeof value === "boolean", expected: "true or false" };
const text = { is: (value: unknown): value is string => typeof value === "string", expected: "a text" };
const count = {
  is: (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0,
  expected: "a positive integer",
};
const oneOf = <N extends string>(names: readonly N[]) => ({
  is: (value: unknown): value is N => names.includes(value as N),
  expected: `one of ${names.join(", ")}`,
});

const reading =
  (path: string, part: Part): Read =>
  (name, { is, expected, absent }) => {
    const value = part[name] ?? absent;
    if (is(value)) return value;
    throw new FileError(
      `tokenizer "${path}" cannot be used: the ${name} of its ${shown(part.type)} must be ${expected}, got ${shown(part[name])}`,
    );
  };

/** The same parts of a file, rewritten. Throws FileError for a field that the Rust library would refuse. */
export function rewriteParts(path: string, model: object): object {
  const { pre_tokenizer, normalizer, decoder } = model as Part;
  const within = (rewrites: Rewrites, list: string) => (part: unknown) => rewritten(path, part, rewrites, list);
  return {
    ...model,
    pre_tokenizer: within(preTokenizers, "pretokenizers")(pre_tokenizer),
    normalizer: within({ Replace: literally }, "normalizers")(normalizer),
    decoder: within(decoders, "decoders")(decoder),
  };
}

type Rewrites = Readonly<Record<string, (part: Part, read: Read) => Part>>;

function rewritten(path: string, part: unknown, rewrites: Rewrites, list: string): unknown {
  if (!isRecord(part)) return part;
  const { type, [list]: inner } = part;
  if (type === "Sequence" && Array.isArray(inner))
    return { ...part, [list]: inner.map((one) => rewritten(path, one, rewrites, list)) };
  const rewrite = typeof type === "string" && Object.hasOwn(rewrites, type) ? rewrites[type] : undefined;
  return rewrite ? rewrite(part, reading(path, part)) : part;
}

const split = (pattern: string, behavior: "Isolated" | "Removed", invert = false): Part => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior,
  invert,
});
const isolating = (pattern: string): Part => split(pattern, "Isolated");
const matches = (pattern: string): Part => split(pattern, "Removed", true);
const between = (pattern: string): string => `(?:(?!${pattern})[\\s\\S])*`;
const end = "(?![\\s\\S])";

const behaviors = {
  Removed: (pattern: string) => split(pattern, "Removed"),
  Isolated: isolating,
  // Up to the end where no match follows, or each position of the rest would be tried in vain.
  MergedWithPrevious: (pattern: string) => isolating(`${between(pattern)}(?:${pattern}|${end})`),
  MergedWithNext: (pattern: string) => isolating(`${pattern}${between(pattern)}`),
  Contiguous: (pattern: string) => isolating(`${pattern}+`),
};

/** With `invert`, matches and what lies between them change places. */
const inverted: typeof behaviors = {
  ...behaviors,
  Removed: matches,
  MergedWithPrevious: behaviors.MergedWithNext,
  MergedWithNext: behaviors.MergedWithPrevious,
};

const behavior = oneOf(Object.keys(behaviors) as (keyof typeof behaviors)[]);

/** A pattern as a regular expression that can be repeated. */
function expressionOf(pattern: Part): string {
  const { Regex: expression, String: literal } = pattern as { Regex?: unknown; String?: string };
  return `(?:${typeof expression === "string" ? expression : literal!.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")})`;
}

/** Rust's \w and char::is_punctuation, which are Unicode's. */
const letter = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const punctuation = "[\\p{P}!-\\/:-@\\[-`{-~]";

const preTokenizers: Rewrites = {
  Split: ({ pattern }, read) =>
    (read("invert", flag) ? inverted : behaviors)[read("behavior", behavior)](expressionOf(pattern as Part)),
  Punctuation: (_, read) => behaviors[read("behavior", { ...behavior, absent: "Isolated" as const })](punctuation),
  Digits: (_, read) => behaviors[read("individual_digits", flag) ? "Isolated" : "Contiguous"]("\\p{N}"),
  Whitespace: () => matches(`[${letter}]+|[^${letter}\\p{White_Space}]+`),
  FixedLength: (_, read) => matches(`[\\s\\S]{1,${read("length", { ...count, absent: 5 })}}`),
  Metaspace: (part, read) => {
    const scheme = schemeOf(part, read);
    const replacement = read("replacement", text);
    const whole = { type: "Metaspace", replacement, prepend_scheme: scheme };
    if (!read("split", { ...flag, absent: true })) return whole;
    const words = behaviors.MergedWithNext(expressionOf({ String: replacement }));
    return { type: "Sequence", pretokenizers: [whole, words] };
  },
};

/** The older name of `prepend_scheme` must agree with it. */
const schemeOf = ({ add_prefix_space: adds }: Part, read: Read) =>
  adds === false
    ? read("prepend_scheme", oneOf(["never"]))
    : read("prepend_scheme", { ...oneOf(["first", "never", "always"]), absent: "always" });

const decoders: Rewrites = {
  Replace: literally,
  Metaspace: (part, read) =>
    schemeOf(part, read) === "never"
      ? { type: "Replace", pattern: { String: read("replacement", text) }, content: " " }
      : part,
};

/** A replacement is inserted as it is, while JavaScript would expand "$&". */
function literally(part: Part): Part {
  return { ...part, content: (part.content as string).replaceAll("$", "$$$$") };
}
