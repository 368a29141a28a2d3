/** Dimensions of a file's inputs as axes: named as the file says, else by an invented name, which is told. */
import type { Axis, Dim } from "../../../compiler/index.ts";
import type { DimMessage } from "./messages.ts";
import { freshName } from "./values.ts";
import { shownName } from "./weights.ts";

const isIdentifier = (name: string): boolean => /^[A-Za-z_]\w{0,63}$/.test(name);

/** A name of the file as one that an axis or a size may have. */
export const identifier = (name: string): string => {
  const plain = shownName(name)
    .slice(0, 64)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_");
  return plain.replace(/_+$/, "") === "" ? "size" : plain;
};

/** The size that a dimension's name stands for. */
export const openSize = (param: string): string => (isIdentifier(param) ? param : identifier(param));

export interface NamedDimensions {
  readonly axes: readonly Axis[];
  readonly notes: readonly string[];
}

/**
 * The axes of an input. A dimension is called after its denotation, else after its size where that has a name, else after the
 * input and its place. Sizes without name or number are open, and called as their axis is.
 */
export function namedDimensions(
  input: string,
  dims: readonly DimMessage[],
  sizeOf: (name: string) => Dim,
): NamedDimensions {
  const axes: Axis[] = [];
  const invented: string[] = [];
  for (const [i, { dimValue, dimParam, denotation }] of dims.entries()) {
    const taken = axes.map((a) => a.name);
    const said =
      isIdentifier(denotation) && !taken.includes(denotation)
        ? denotation
        : dimParam === ""
          ? undefined
          : openSize(dimParam);
    const name = freshName(said ?? `${identifier(input)}_${i}`, taken);
    const own = said === name ? name : taken.includes(said ?? "") ? name : (said ?? name);
    const axisName = taken.includes(own) ? name : own;
    if (said === undefined) invented.push(axisName);
    const isNumber = dimValue !== undefined && Number.isSafeInteger(dimValue) && dimValue >= 1;
    axes.push({ name: axisName, size: isNumber ? dimValue : sizeOf(dimParam === "" ? axisName : openSize(dimParam)) });
  }
  const notes =
    invented.length === 0 ? [] : [`the axes ${invented.join(", ")} of the input "${input}" have no names in the file`];
  return { axes, notes };
}
