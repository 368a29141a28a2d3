/** The symbolic sides of a graph's images, for images of a given size. */
import {
  type Dim,
  dimValue,
  type Graph,
  type ImageSize,
  inputName,
  isFeed,
  sidesOf,
  solveDim,
  symbolsOf,
} from "../compiler/index.ts";

/** Height and width of the input "pixels"; undefined for a graph without it, or without axes row and column. */
export function imageSides(graph: Graph): readonly [height: Dim, width: Dim] | undefined {
  const pixels = graph.inputs.find((node) => isFeed(node) && inputName(node) === "pixels");
  const [height, width] = ["row", "column"].map((name) => pixels?.type.axes.find((a) => a.name === name)?.size);
  return height === undefined || width === undefined ? undefined : [height, width];
}

/** The sizes of the sides' symbols for images of a size; undefined if the sides cannot have it. */
export function sizesOfSides(
  sides: readonly [height: Dim, width: Dim],
  size: ImageSize,
): Readonly<Record<string, number>> | undefined {
  const { width, height } = sidesOf(size);
  const sizes: Record<string, number> = {};
  for (const [i, value] of [height, width].entries()) {
    const side = sides[i]!;
    const solved = solveDim(side, value, sizes);
    if (solved) sizes[solved.symbol.name] = solved.value;
    else if (!symbolsOf(side).every((s) => Object.hasOwn(sizes, s.name)) || dimValue(side, sizes) !== value)
      return undefined;
    if (solved && !isAllowed(solved)) return undefined;
  }
  return sizes;
}

const isAllowed = ({ symbol, value }: NonNullable<ReturnType<typeof solveDim>>): boolean =>
  Number.isInteger(value) && value >= symbol.min && value <= symbol.max && value % symbol.multipleOf === 0;
