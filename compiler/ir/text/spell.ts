/** Spelling of names, numbers, sizes, types and attributes, as text with holes for what may vary between iterations. */
import { InternalError } from "../../diagnostics/error.ts";
import type { Dim } from "../dim.ts";
import type { Distribution } from "../initializer.ts";
import type { AttrValue } from "../node.ts";
import type { AttrKind } from "../op.ts";
import type { Axis, TensorType } from "../type.ts";

/** A number that may be linear in the iteration: a number in a name, or an integer size. */
export interface Counter {
  readonly kind: "counter";
  readonly value: number;
  /** In a name it is written in braces. */
  readonly quoted: boolean;
}

/** A number that may be listed per iteration. */
export interface Literal {
  readonly kind: "literal";
  readonly value: number;
}

export type Piece = string | Counter | Literal;

/** The arguments of each distribution, in the order in which they are written. */
export const distributionArguments = {
  constant: ["value"],
  normal: ["mean", "std"],
  truncated_normal: ["mean", "std", "low", "high"],
  uniform: ["low", "high"],
  bernoulli: ["p"],
} as const satisfies { readonly [K in Distribution["kind"]]: readonly string[] };

const plain = /^[A-Za-z_]\w*$/;

/** A name as it is if it parses back, else in quotes. */
export const spellName = (name: string): string => (plain.test(name) ? name : spellText(name));

/** A quoted text with braces doubled: single ones contain an iteration. */
export const spellText = (text: string): string => JSON.stringify(text).replace(/[{}]/g, "$&$&");

/** A quoted text with its numbers as counters, except those with leading zeros. */
export function countedText(text: string): Piece[] {
  const parts = text.split(/(?<![\d])(0|[1-9]\d{0,14})(?!\d)/);
  const pieces = parts.map((part, i): Piece => {
    if (i % 2 === 1) return { kind: "counter", value: Number(part), quoted: true };
    return spellText(part).slice(1, -1);
  });
  return ['"', ...pieces.filter((p) => p !== ""), '"'];
}

/** The shortest text that parses back to the same number. */
export function spellNumber(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Object.is(value, -0) ? "-0" : String(value);
}

const spellAxis = (a: Axis): string => `${spellName(a.name)}=${a.size}`;

/** `f32[heads=2, patch=5]`. */
export const spellType = (type: TensorType): string => `${type.dtype}[${type.axes.map(spellAxis).join(", ")}]`;

/** An attribute's value, by its kind. */
export function spellAttr(kind: AttrKind, value: AttrValue): Piece[] {
  switch (kind) {
    case "axis":
    case "word":
      return [spellName(value as string)];
    case "axes":
      return [`[${(value as string[]).map(spellName).join(", ")}]`];
    case "sized_axis":
      return [spellAxis(value as unknown as Axis)];
    case "sized_axes":
      return [`[${(value as unknown as Axis[]).map(spellAxis).join(", ")}]`];
    case "dim":
      return [countedDim(value as Dim)];
    case "number":
      return [{ kind: "literal", value: value as number }];
    case "numbers":
      return [`[${(value as number[]).map(spellNumber).join(", ")}]`];
    case "boolean":
    case "dtype":
      return [String(value)];
    case "text":
      return countedText(value as string);
    case "distribution":
      return spellDistribution(value as unknown as Distribution);
  }
}

const countedDim = (dim: Dim): Piece =>
  typeof dim === "number" ? { kind: "counter", value: dim, quoted: false } : String(dim);

function spellDistribution(distribution: Distribution): Piece[] {
  const names: readonly string[] | undefined = distributionArguments[distribution.kind];
  if (!names) throw new InternalError(`there is no distribution "${distribution.kind}"`);
  const values = distribution as unknown as Readonly<Record<string, number>>;
  const args = names.flatMap((n, i): Piece[] => [
    `${i === 0 ? "" : ", "}${n}=`,
    { kind: "literal", value: values[n]! },
  ]);
  return [`${distribution.kind}(`, ...args, ")"];
}

/** The default name of an output: "y", or "y0", "y1" ... by position. */
export const defaultOutputName = (position: number, count: number): string => (count === 1 ? "y" : `y${position}`);
