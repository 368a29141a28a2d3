/** Axes for a file's input dimensions: named as in the file, else by role or by an invented name, which is noted. */
import { type Axis, addDims, type Dim, mulDims } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { DimMessage } from "./messages.ts";
import { freshName } from "./values.ts";

const isIdentifier = (name: string): boolean => /^[A-Za-z_]\w{0,63}$/.test(name);

/** A file's name as a valid axis or size name. */
export const identifier = (name: string): string => {
  const plain = shownName(name)
    .slice(0, 64)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_");
  return plain.replace(/_+$/, "") === "" ? "size" : plain;
};

/** The factors of each term of a text such as "past + tokens" or "2*batch". */
const factorsOf = (text: string): string[][] => text.split("+").map((t) => t.split("*").map((f) => f.trim()));

/** The names in a sum of products. */
export const namesIn = (text: string): string[] => factorsOf(text).flat().filter(isIdentifier);

/** A sum of products of names and numbers; undefined for any other text. */
export function polynomialOf(text: string, sizeOf: (name: string) => Dim): Dim | undefined {
  const factors = factorsOf(text);
  const isSum = factors.flat().every((f) => isIdentifier(f) || /^\d{1,9}$/.test(f)) && text.length < 200;
  if (!isSum) return undefined;
  const product = (all: readonly string[]) =>
    all.map((f) => (/^\d/.test(f) ? Number(f) : sizeOf(f))).reduce<Dim>(mulDims, 1);
  return factors.map(product).reduce<Dim>(addDims, 0);
}

/** Sizes of dimensions without a number. */
export interface DimensionSizes {
  /** The same size for all dimensions without a text that have this role. */
  shared(name: string): Dim;
  /** A size of this dimension's own, named `name` where that is free. */
  own(name: string): Dim;
  /** The size that a dimension's text denotes. */
  ofText(text: string): Dim;
}

export interface NamedDimensions {
  readonly axes: readonly Axis[];
  readonly notes: readonly string[];
}

/**
 * The axes of an input. A dimension is named by its denotation, else by its size if that is an identifier, else by its
 * role in the input's reader, else by the input and the dimension's index. Sizes without name or number are symbols
 * named like their axis; all but batches differ.
 */
export function namedDimensions(
  input: string,
  dims: readonly DimMessage[],
  roles: readonly string[],
  sizes: DimensionSizes,
): NamedDimensions {
  const axes: Axis[] = [];
  const invented: string[] = [];
  // Two images have one batch, but need not have the same sides.
  const unnamed = (name: string) => (name === "batch" ? sizes.shared(name) : sizes.own(name));
  for (const [i, { dimValue, dimParam, denotation }] of dims.entries()) {
    const taken = axes.map((a) => a.name);
    const said = [denotation, dimParam].find((name) => isIdentifier(name) && !taken.includes(name));
    const name = said ?? unlike(roles.length === dims.length ? roles[i]! : `${identifier(input)}_dim${i}`, taken);
    if (said === undefined) invented.push(name);
    const isNumber = dimValue !== undefined && Number.isSafeInteger(dimValue) && dimValue >= 1;
    axes.push({ name, size: isNumber ? dimValue : dimParam === "" ? unnamed(name) : sizes.ofText(dimParam) });
  }
  const notes =
    invented.length === 0 ? [] : [`the file has no names for the axes ${invented.join(", ")} of the input "${input}"`];
  return { axes, notes };
}

/** The name itself where it is free. */
export const unlike = (name: string, taken: readonly string[]): string =>
  taken.includes(name) ? freshName(name, taken) : name;
