/**
 * Split-K: splits contractions with few output tiles and long sums. Partial sums are computed by that many times more
 * workgroups, then added in a fixed order, so that results are reproducible. Operands in f16 are widened first: partial
 * sums are stored as f32, so one that would overflow f16 may still cancel in the total.
 *
 *     before  %n = contract %x, %y over [token]                  x: f32[token=16448, in=1024]  y: f32[token=16448, out=1024]
 *     after   %p = split %x token into [token=4, token_part=4112]
 *             %q = split %y token into [token=4, token_part=4112]
 *             %r = contract %p, %q over [token_part]
 *             %n = reduce_sum %r over [token]
 */
import { withBirth } from "../diagnostics/source-location.ts";
import type { Pass } from "../driver/index.ts";
import type { DType } from "../ir/dtype.ts";
import { rewriteGraph } from "../ir/graph.ts";
import { type Node, withPath } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { type Axis, axisNames, findAxis, hasAxis } from "../ir/type.ts";
import { cast, contract, reduceSum, split, transpose } from "../ops/index.ts";

/** A tile shape of the product kernels, and the rate of one processor with it, in tera operations per second. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly rate: number;
}

/** Measured on an NVIDIA H200 with 132 processors; only the ratios to each other and to memory matter. */
const card = 132;
const tiles: Readonly<Record<"matrices" | "scalars", readonly Tile[]>> = {
  matrices: [
    { rows: 128, columns: 128, rate: 196 / card },
    { rows: 64, columns: 64, rate: 137 / card },
  ],
  scalars: [{ rows: 64, columns: 128, rate: 37.9 / card }],
};
/**
 * Relative speed of a processor with one workgroup, which cannot overlap compute with loads: estimated, not measured.
 */
const alone = 0.6;
/**
 * Memory bandwidth in terabytes per second, and the overhead of one more kernel in seconds, measured on the same GPU.
 */
const memory = 4.2;
const dispatch = 5e-6;

/** Partial sums are at least this long: below, a tile's prologue and epilogue dominate. */
const leastPart = 512;
/** Products with fewer rows or columns have kernels of their own, which split long sums themselves. */
const leastSide = 9;
/** Split only if the estimate drops to this fraction of the time: estimates are rough, and parts take memory. */
const worthwhile = 0.85;

/** The hardware that computes products. */
export interface ProductsOn {
  /** Processors that run workgroups independently (streaming multiprocessors, compute units). */
  readonly processors: number;
  /** Whether f16 products run on matrix units. */
  readonly halves: "matrices" | "scalars";
}

export const splitContractions = (on: ProductsOn): Pass => ({
  name: "split-contractions",
  needs: ["canonicalize", "decompose"],
  run: (graph) => rewriteGraph(graph, (node) => (opRecord(node.op).kind === "contraction" ? splitOne(node, on) : node)),
});

function splitOne(node: Node, on: ProductsOn): Node {
  const [a, b] = node.operands as [Node, Node];
  const over = (node.attrs.over as string[]).map((name) => findAxis(a.type, name)!);
  const own = (x: Node, y: Node) =>
    spanOf(node.type.axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name)));
  const [rows, columns, all, depth] = [own(a, b), own(b, a), spanOf(node.type.axes), spanOf(over)];
  if ([rows, columns, all, depth].some((n) => n === undefined)) return node; // symbolic size
  if (rows! < leastSide || columns! < leastSide) return node;
  const batch = all! / (rows! * columns!);
  const seconds = (parts: number): number =>
    secondsOf({ rows: rows!, columns: columns!, batch, depth: depth! }, parts, node.type.dtype, on);
  const isInnermost = ({ name }: Axis) => [a, b].some((x) => x.type.axes.at(-1)!.name === name);
  const choices = over.flatMap((axis) =>
    partsOf(axis, depth!, isInnermost(axis)).map((parts) => ({ axis, parts, seconds: seconds(parts) })),
  );
  const best = choices.reduce((x, y) => (y.seconds < x.seconds ? y : x), {
    axis: over[0]!,
    parts: 1,
    seconds: seconds(1),
  });
  if (best.seconds > worthwhile * seconds(1)) return node;
  return withBirth(node.birth, () => withPath(node.path, () => inParts(node, best.axis, best.parts)));
}

const spanOf = (axes: readonly Axis[]): number | undefined =>
  axes.reduce<number | undefined>(
    (n, { size }) => (n === undefined || typeof size !== "number" ? undefined : n * size),
    1,
  );

/** The possible numbers of parts of an axis; along an innermost axis, groups of eight elements stay together. */
function partsOf({ size }: Axis, depth: number, isInnermost: boolean): number[] {
  const length = size as number;
  if (length > longest) return [];
  const fits = (parts: number) => !(isInnermost && length % 8 === 0 && (length / parts) % 8 !== 0);
  return divisorsOf(length).filter((parts) => parts >= 2 && parts <= depth / leastPart && fits(parts));
}

/** Kernels count in i32: a longer axis is refused when it is lowered. */
const longest = 2 ** 31 - 1;

/** In ascending order. */
function divisorsOf(n: number): number[] {
  const [small, large]: [number[], number[]] = [[], []];
  for (let d = 1; d * d <= n; d++) {
    if (n % d !== 0) continue;
    small.push(d);
    if (d * d !== n) large.push(n / d);
  }
  return [...small, ...large.reverse()];
}

/** Estimates the time of a product in parts: compute per processor, plus the memory traffic of the parts. */
function secondsOf(
  { rows, columns, batch, depth }: Readonly<Record<"rows" | "columns" | "batch" | "depth", number>>,
  parts: number,
  dtype: DType,
  { processors, halves }: ProductsOn,
): number {
  const products = tiles[dtype === "f16" ? halves : "scalars"].map((t) => {
    const workgroups = Math.ceil(rows / t.rows) * Math.ceil(columns / t.columns) * batch * parts;
    const turns = workgroups <= processors ? 1 / alone : Math.ceil(workgroups / processors);
    return (turns * 2 * t.rows * t.columns * (depth / parts)) / (t.rate * 1e12);
  });
  const bytes = 4 * rows * columns * batch * (2 * parts + 1);
  return Math.min(...products) + (parts === 1 ? 0 : dispatch + bytes / (memory * 1e12));
}

function inParts(node: Node, { name, size }: Axis, parts: number): Node {
  const inner = `${name}_part`;
  const into = [
    { name, size: parts },
    { name: inner, size: (size as number) / parts },
  ];
  const operands = node.operands.map((x) => cast(split(x, name, into), "f32")) as [Node, Node];
  const over = (node.attrs.over as string[]).map((n) => (n === name ? inner : n));
  const sum = reduceSum(contract(...operands, over), [name]);
  return transpose(cast(sum, node.type.dtype), axisNames(node.type));
}
