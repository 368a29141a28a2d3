/** Sample inputs of a graph: random numbers, and meaningful values for decoders' inputs, by name. */
import {
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  loneSymbol,
  type Node,
  nodesOf,
  operandsAs,
  ops,
  type SizeBounds,
  type SizedAxis,
  type Sizes,
  symbolsIn,
} from "../compiler/index.ts";
import type { TokenRun } from "../dsl/index.ts";
import { randomStream } from "../runtime/index.ts";

/** Runs of ids by the input that must contain them. */
export type TokenRuns = Readonly<Record<string, TokenRun>>;

/** The first symbolic size is 2, the next 3: enough to detect an axis mistaken for a constant. */
const fewest = 2;

/** Tokens around a run: one before it, or two in every second row, and at least two after it. */
const aroundRun = 4;

/** A value for each symbolic size; texts are long enough for their runs. */
export function sampleSizes(graph: Graph, runs: TokenRuns): Sizes {
  const sizes = Object.fromEntries(symbolsIn(graph.inputs).map((s, i) => [s.name, allowed(s, fewest + i)]));
  for (const node of graph.inputs) {
    const run = runs[inputName(node)];
    const length = run && loneSymbol(node.type.axes.at(-1)?.size ?? 0);
    if (length && length.name in sizes) sizes[length.name] = allowed(length, run.length + aroundRun);
  }
  return sizes;
}

/** The smallest allowed value of a symbol that is at least `wish`, or its largest. */
const allowed = ({ min, max, multipleOf }: SizeBounds, wish: number): number =>
  Math.min(max, Math.ceil(Math.max(min, wish) / multipleOf) * multipleOf);

/** A value for every input, except parameters, of a graph of known sizes. */
export const sampleFeeds = (graph: Graph, runs: TokenRuns): Record<string, HostTensor> =>
  Object.fromEntries(
    graph.inputs.filter((n) => !isParameter(n)).map((n) => [inputName(n), sample(n, graph, runs[inputName(n)])]),
  );

function sample(node: Node, graph: Graph, run: TokenRun | undefined): HostTensor {
  const { dtype } = node.type;
  const axes = node.type.axes as readonly SizedAxis[];
  const count = axes.reduce((n, a) => n * a.size, 1);
  const random = randomStream(1, `verify ${inputName(node)}`);
  const normal = () => random.fill({ kind: "normal", mean: 0, std: 1 }, count);
  if (dtype === "f32") return hostTensor(dtype, axes, normal());
  if (dtype === "f16") return hostTensor(dtype, axes, Float16Array.from(normal()));
  const row = axes.at(-1)?.size ?? 1;
  const below = dtype === "bool" ? 2 : indexBound(node, graph);
  const special = dtype === "i32" ? placed(inputName(node), row, graph, run) : undefined;
  const values = Array.from(
    { length: count },
    (_, i) => special?.(Math.floor(i / row), i % row) ?? random.integer(i, below),
  );
  return hostTensor(dtype, axes, values);
}

/** The value at a position of a row of a decoder's input; undefined if arbitrary. */
type Placed = (row: number, place: number) => number | undefined;

/** In every second row the first token is padding, and positions count from the next. */
const padded = (row: number): number => row % 2;

function placed(name: string, length: number, graph: Graph, run: TokenRun | undefined): Placed | undefined {
  if (run) {
    return (row, place) => (place > padded(row) && place <= padded(row) + run.length ? run.id : undefined);
  }
  if (name === "attention_mask") return (row, place) => (place < padded(row) ? 0 : 1);
  if (name !== "position_ids") return undefined;
  const mask = graph.inputs.find((n) => inputName(n) === "attention_mask");
  const past = ((mask?.type.axes.at(-1)?.size as number | undefined) ?? length) - length;
  return (row, place) => Math.max(0, past + place - padded(row));
}

/** The exclusive upper bound of an index input: the size of the smallest table it indexes; small if none. */
function indexBound(node: Node, graph: Graph): number {
  const readers = nodesOf(graph).filter((n) => operandsAs(n, "index").some((i) => indexes(i, node)));
  const tables = readers.filter((n) => operandsAs(n, "table").length > 0);
  const sizes = tables.map(
    (n) => operandsAs(n, "table")[0]!.type.axes.find((a) => a.name === n.attrs.axis)!.size as number,
  );
  return sizes.length === 0 ? 8 : Math.min(...sizes);
}

/** True for the input itself, or the input clamped. */
const indexes = (index: Node, input: Node): boolean =>
  index === input ||
  ((ops.is(ops.max, index) || ops.is(ops.min, index)) && index.operands.some((o) => indexes(o, input)));
