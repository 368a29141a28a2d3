/** How the tokens of an image lie in rows and columns. */
import {
  type Graph,
  type ImageSize,
  nodesOf,
  type SizedAxis,
  sidesOf,
  sizeText,
  UsageError,
} from "../../../compiler/index.ts";

type Grid = readonly [rows: number, columns: number];

/** What is known of a model's grids. */
export interface TokenGrid {
  readonly size: ImageSize;
  /** By the record. */
  readonly declared?: Grid;
  /** All pairs of rows and columns in the graph. */
  readonly pairs: readonly Grid[];
}

/** The grids in a graph for images of a size, and the one that the record declares. */
export function tokenGrid(graph: Graph, size: ImageSize, declared: Grid | undefined): TokenGrid {
  const found = nodesOf(graph).flatMap(({ type: { axes } }): Grid[] => {
    const sizeOf = (name: string) => axes.find((a) => a.name === name)?.size;
    const [rows, columns] = ["row", "column"].map((name) => sizeOf(`grid_${name}`) ?? sizeOf(name));
    return typeof rows === "number" && typeof columns === "number" ? [[rows, columns]] : [];
  });
  const pairs = [...new Map(found.map((pair) => [pair.join(), pair])).values()];
  return { size, pairs, ...(declared && { declared }) };
}

/**
 * The rows and columns of so many tokens: as declared, else the only such pair in the graph, else those of square
 * patches. Throws UsageError if none of these has as many.
 */
export function gridOf(tokens: number, { size, declared, pairs }: TokenGrid, what: string): Grid {
  if (declared) {
    if (declared[0] * declared[1] === tokens) return declared;
    throw new UsageError(`${what}: modes.features declares a grid of ${declared.join(" × ")}, not of ${tokens} tokens`);
  }
  const known = tokens < 1 ? [] : pairs.filter(([rows, columns]) => rows * columns === tokens);
  const ofSquares = squarePatches(tokens, size);
  const likely = ofSquares && (known.length === 0 || known.some((pair) => pair.join() === ofSquares.join()));
  const grid = known.length === 1 ? known[0] : likely ? ofSquares : undefined;
  if (grid) return grid;
  throw new UsageError(
    `${what}: features must have axes row and column, or tokens that are patches of an image of ${sizeText(size)}, after those that modes.features.before counts; declare their grid as modes.features.grid: (config) => [rows, columns]`,
  );
}

/** The grid of square patches of an image; of a square image any square grid, as patches may overlap. */
function squarePatches(tokens: number, size: ImageSize): Grid | undefined {
  const { width, height } = sidesOf(size);
  const side = Math.sqrt(tokens);
  if (tokens < 1) return undefined;
  if (width === height) return Number.isInteger(side) ? [side, side] : undefined;
  const patch = Math.sqrt((width * height) / tokens);
  const [rows, columns] = [height / patch, width / patch];
  return [patch, rows, columns].every(Number.isInteger) ? [rows, columns] : undefined;
}

/** "token=13, embed=16" */
export const axesText = (axes: readonly SizedAxis[]): string => axes.map((a) => `${a.name}=${a.size}`).join(", ");
