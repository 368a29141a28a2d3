/** Evaluates sizes, numbers, names, types and attributes of the syntax tree, with loop variables substituted. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import { addDims, type Dim, mulDims, symbol } from "../dim.ts";
import { type DType, dtypes } from "../dtype.ts";
import type { AttrValue } from "../node.ts";
import type { AttrKind } from "../op.ts";
import { type Axis, type TensorType, tensorType } from "../type.ts";
import { distributionArguments } from "./spell.ts";
import type { Expression, Span, TypeTree, Value, Word } from "./tree.ts";

/** A mistake at a position; caught per statement. */
export class TextFault extends Error {
  readonly span: Span;
  readonly hint: string | undefined;
  constructor(span: Span, message: string, hint?: string) {
    super(message);
    this.span = span;
    this.hint = hint;
  }
}

/** A name that is not a loop variable here; not reported if the head of an enclosing loop is broken. */
export class UnknownIteration extends TextFault {}

/** Values of names in expressions: loop variables are bound to iterations, declared symbols to sizes. */
export type Bindings = ReadonlyMap<string, Dim>;

/** An expression as a size: a polynomial over symbols. */
function readDim(e: Expression, bindings: Bindings): Dim {
  const size = e.terms.reduce<Dim>((total, { sign, factors }) => {
    const product = factors.reduce<Dim>((p, f) => mulDims(p, readFactor(f, e, bindings)), sign);
    return addDims(total, product);
  }, 0);
  if (typeof size !== "number" || Number.isSafeInteger(size)) return size;
  throw new TextFault(e.span, `a size is an integer below 2^53, not ${size}`);
}

function readFactor(f: number | string, e: Expression, bindings: Bindings): Dim {
  if (typeof f === "string") return bindings.get(f) ?? symbol(f);
  if (Number.isSafeInteger(f)) return f;
  throw new TextFault(e.span, `a size is an integer below 2^53, not ${f}`);
}

const words: ReadonlyMap<string, number> = new Map([
  ["inf", Number.POSITIVE_INFINITY],
  ["nan", Number.NaN],
]);

/** An expression as a number: a literal, or arithmetic with iterations. */
function readNumber(e: Expression, bindings: Bindings): number {
  const value = e.terms.map(({ sign, factors }) =>
    factors.map((f) => numberOf(f, e, bindings)).reduce((p, f) => p * f, sign),
  );
  return value.length === 1 ? value[0]! : value.reduce((a, b) => a + b);
}

function numberOf(f: number | string, e: Expression, bindings: Bindings): number {
  const value = typeof f === "number" ? f : (bindings.get(f) ?? words.get(f));
  if (typeof value === "number") return value;
  throw new UnknownIteration(e.span, `a number is expected here, and "${f}" is none`);
}

/** An integer, such as an iteration or a count. */
export function readInteger(e: Expression, bindings: Bindings): number {
  const value = readNumber(e, bindings);
  if (Number.isSafeInteger(value)) return value;
  throw new TextFault(e.span, `an integer is expected here, not ${value}`);
}

/** A literal, or `[0.1, 0.2][i]`: the item at the iteration. */
export function readLiteral(value: Value, bindings: Bindings): number {
  if (value.kind === "expression") return readNumber(value.expression, bindings);
  if ((value.kind !== "list" && value.kind !== "numbers") || !value.index) {
    throw new TextFault(value.span, "a number is expected here, or a list with an iteration: [0.1, 0.2][i]");
  }
  const at = readInteger(value.index, bindings);
  const items = value.kind === "list" ? value.items : value.numbers;
  const item = items[at];
  if (item !== undefined) return typeof item === "number" ? item : readLiteral(item, bindings);
  throw new TextFault(value.index.span, `the list has ${items.length} items, and item ${at} is asked for`);
}

/** A name: bare, or in quotes with `{i}` for an iteration. */
export function readName(word: Word, bindings: Bindings): string {
  if (!word.text.startsWith('"')) return word.text;
  let text: string;
  try {
    text = JSON.parse(word.text) as string;
  } catch {
    throw new TextFault(word.span, `${word.text} is no text: a backslash escapes as in JSON`);
  }
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, inner: string | undefined) => {
    if (whole === "{{" || whole === "}}") return whole[0]!;
    const value = inner === undefined ? undefined : evaluateInner(inner, bindings);
    if (value !== undefined) return String(value);
    const known = loopVariables(bindings).join(", ") || "none here";
    throw new UnknownIteration(
      word.span,
      `"${whole}" holds no iteration; loop variables: ${known}. Write {{ and }} for braces`,
    );
  });
}

const loopVariables = (bindings: Bindings): string[] =>
  [...bindings].flatMap(([name, value]) => (typeof value === "number" ? [name] : []));

/** Evaluates `i`, `47-i` or `2*i+1` within the braces of a text. */
function evaluateInner(text: string, bindings: Bindings): number | undefined {
  if (!/^[-+]?[^-+]+([-+][^-+]+)*$/.test(text)) return undefined;
  let total = 0;
  for (const term of text.replace(/\s+/g, "").match(/[-+]?[^-+]+/g) ?? []) {
    const [sign, factors] = /^[-+]/.test(term) ? [term[0] === "-" ? -1 : 1, term.slice(1)] : [1, term];
    let product = sign;
    for (const f of factors.split("*")) {
      const value = /^\d+$/.test(f) ? Number(f) : bindings.get(f);
      if (typeof value !== "number") return undefined;
      product *= value;
    }
    total += product;
  }
  return total;
}

export function readType(tree: TypeTree, bindings: Bindings): TensorType {
  const dtype = readDtype(tree.dtype);
  const axes = tree.axes.map(({ name, size }) => ({
    name: readName(name, bindings),
    size: readSize(size, bindings),
  }));
  const twice = axes.findIndex((a, i) => axes.findIndex((b) => b.name === a.name) < i);
  if (twice >= 0) throw new TextFault(tree.axes[twice]!.name.span, `axis "${axes[twice]!.name}" is listed twice`);
  return tensorType(dtype, axes);
}

export function readDtype(word: Word): DType {
  if ((dtypes as readonly string[]).includes(word.text)) return word.text as DType;
  throw new TextFault(word.span, `there is no dtype "${word.text}"; dtypes are ${dtypes.join(", ")}`);
}

function readSize(e: Expression, bindings: Bindings): Dim {
  const size = readDim(e, bindings);
  if (typeof size !== "number" || (Number.isSafeInteger(size) && size >= 1)) return size;
  throw new TextFault(e.span, `an axis has at least one element, not ${size}`);
}

const booleans: ReadonlyMap<string | undefined, boolean> = new Map([
  ["true", true],
  ["false", false],
]);

/** The syntax of each attribute kind, for messages. */
const forms: Readonly<Record<AttrKind, string>> = {
  axis: "one axis name, such as key",
  axes: "a list of axis names, such as [a, b]",
  sized_axis: "an axis with its size, such as a=4",
  sized_axes: "a list of axes with their sizes, such as [a=2, b=3]",
  dim: "a size, such as 4 or past+1",
  number: "a number, such as 0.5",
  numbers: "a list of numbers, such as [1, 2, 3]",
  boolean: "true or false",
  text: 'a text in quotes, such as "blocks.0.weight"',
  word: "one word",
  dtype: `a dtype: ${dtypes.join(", ")}`,
  distribution: "a distribution, such as normal(mean=0, std=0.02)",
};

/** Reads an attribute's value by its kind; throws TextFault at the value. */
export function readAttr(kind: AttrKind, value: Value, label: string, bindings: Bindings): AttrValue {
  const wrong = (): never => {
    throw new TextFault(value.span, `${label} is ${forms[kind]}`);
  };
  const items = (): readonly Value[] => (value.kind === "list" && !value.index ? value.items : wrong());
  switch (kind) {
    case "axis":
    case "word":
      return bareName(value, bindings) ?? wrong();
    case "axes":
      return items().map((v) => bareName(v, bindings) ?? wrong());
    case "sized_axis":
      return (sizedAxis(value, bindings) ?? wrong()) as unknown as AttrValue;
    case "sized_axes":
      return items().map((v) => sizedAxis(v, bindings) ?? wrong()) as unknown as AttrValue;
    case "dim":
      return value.kind === "expression" ? readDim(value.expression, bindings) : wrong();
    case "number":
      return isNumeric(value, bindings) ? readLiteral(value, bindings) : wrong();
    case "numbers":
      if (value.kind === "numbers" && !value.index) return value.numbers;
      return items().map((v) => (isNumeric(v, bindings) ? readLiteral(v, bindings) : wrong()));
    case "boolean":
      return booleans.get(loneWord(value)?.text) ?? wrong();
    case "text":
      return value.kind === "text" ? readName(value.text, bindings) : wrong();
    case "dtype":
      return readDtype(loneWord(value) ?? wrong());
    case "distribution":
      return value.kind === "call" ? readDistribution(value, bindings) : wrong();
  }
}

function loneWord(value: Value): Word | undefined {
  if (value.kind !== "expression") return undefined;
  const [term, ...more] = value.expression.terms;
  const [factor, ...others] = term?.factors ?? [];
  if (more.length > 0 || others.length > 0 || term?.sign !== 1 || typeof factor !== "string") return undefined;
  return { text: factor, span: value.span };
}

const bareName = (value: Value, bindings: Bindings): string | undefined =>
  value.kind === "text" ? readName(value.text, bindings) : loneWord(value)?.text;

/** A lone word is a number only if it is a loop variable, inf or nan. */
function isNumeric(value: Value, bindings: Bindings): boolean {
  const word = loneWord(value)?.text;
  if (word !== undefined) return typeof bindings.get(word) === "number" || words.has(word);
  return value.kind === "expression" || ("index" in value && value.index !== undefined);
}

function sizedAxis(value: Value, bindings: Bindings): Axis | undefined {
  if (value.kind !== "sized") return undefined;
  return { name: readName(value.name, bindings), size: readSize(value.size, bindings) };
}

function readDistribution(value: Extract<Value, { kind: "call" }>, bindings: Bindings): AttrValue {
  const kind = value.name.text;
  const table: Readonly<Record<string, readonly string[]>> = distributionArguments;
  const names = Object.hasOwn(table, kind) ? table[kind]! : undefined;
  if (!names) {
    const known = Object.keys(table);
    throw new TextFault(
      value.name.span,
      `there is no distribution "${kind}"${didYouMean(kind, known) || `; distributions are ${known.join(", ")}`}`,
    );
  }
  const given = new Map(value.args.map((a) => [a.name.text, a]));
  const unknown = value.args.find((a) => !names.includes(a.name.text));
  if (unknown) {
    const text = unknown.name.text;
    throw new TextFault(unknown.name.span, `${kind} has no argument "${text}"; it takes ${names.join(", ")}`);
  }
  const missing = names.find((n) => !given.has(n));
  if (missing) throw new TextFault(value.span, `${kind} needs the argument "${missing}"`);
  const args = names.map((n) => [n, readLiteral(given.get(n)!.value, bindings)] as const);
  return { kind, ...Object.fromEntries(args) };
}
