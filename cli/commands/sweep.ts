/** `heddle inspect --sweep`: a grid of encoder shapes with one parameter budget. InternVL section 3.2. */
import type { Backend } from "../../backends/backend.ts";
import {
  bindSizes,
  countMacs,
  countParameters,
  elementCount,
  type HostTensor,
  hostTensor,
  inputName,
  isFeed,
  isParameter,
  type Node,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import { type Config, configure, type Model, trace } from "../../dsl/index.ts";
import { createSession } from "../../runtime/index.ts";
import { openDevice, parseDevice } from "../device.ts";
import { loadConfigured } from "../load.ts";
import { digits, json } from "../output.ts";

export interface SweepArguments {
  readonly set: readonly string[];
  readonly sweep: readonly string[];
  readonly budget?: number;
  readonly device?: string;
  readonly batch: number;
  readonly json: boolean;
}

/** The settings that make a shape, for a model of identical blocks. */
const shapeSettings = ["depth", "width", "heads", "mlp"] as const;
type ShapeConfig = Config & Readonly<Record<(typeof shapeSettings)[number], number>>;

const keys = ["depth", "headDim", "mlpRatio"] as const;
type Key = (typeof keys)[number];

export interface Shape {
  readonly depth: number;
  readonly headDim: number;
  readonly mlpRatio: number;
  readonly width: number;
  readonly heads: number;
  readonly parameters: number;
  /** `paper` counts as the model's paper does; null if no paper does. */
  readonly macs: { readonly exact: number; readonly paper: number | null };
  /** Images per second, from one block's measured time scaled to the depth; null without a device. */
  readonly imagesPerSecond: number | null;
}

export async function sweepCommand(source: string, args: SweepArguments): Promise<number> {
  const { model, config: given } = await loadConfigured(source, { set: args.set, weights: undefined });
  const missing = shapeSettings.find((key) => typeof given?.[key] !== "number");
  if (!model || missing !== undefined)
    throw new UsageError(
      `--sweep varies the shape of a model with the settings ${shapeSettings.join(", ")}, such as internvit-6b; "${source}" has no ${missing ?? "settings"}`,
    );
  const config = given as ShapeConfig;
  const budget = args.budget ?? roundedBudget(countParameters(trace(model, config)).parameters);
  process.stderr.write(
    `budget: ${digits(budget)} parameters${args.budget === undefined ? ", as many as the model has" : ""}\n`,
  );
  const grid = parseGrid(args.sweep, config);
  const shapes: Shape[] = [];
  for (const depth of grid.depth)
    for (const headDim of grid.headDim)
      for (const mlpRatio of grid.mlpRatio)
        shapes.push(await shapeOf(model, fitBudget(model, config, budget, depth, headDim, mlpRatio), args));
  process.stdout.write(args.json ? `${json({ model: source, budget, shapes })}\n` : describe(shapes));
  return 0;
}

/** Rounded to whole billions, as in the paper: its six shapes follow from 6 billion, not from 5.9. */
const roundedBudget = (parameters: number): number =>
  parameters >= 2e9 ? Math.round(parameters / 1e9) * 1e9 : parameters;

function parseGrid(sweep: readonly string[], c: ShapeConfig): Record<Key, number[]> {
  const grid: Record<Key, number[]> = { depth: [c.depth], headDim: [c.width / c.heads], mlpRatio: [c.mlp / c.width] };
  const given = new Set<Key>();
  for (const text of sweep) {
    const [key, values] = text.split("=");
    const name = keys.find((k) => k === key);
    const numbers = (values ?? "").split(",").map(Number);
    const fits = (n: number) => Number.isFinite(n) && n > 0 && (name === "mlpRatio" || Number.isInteger(n));
    if (!name || !numbers.every(fits)) {
      throw new UsageError(
        `--sweep takes ${keys.join(", ")} with numbers (integers except for mlpRatio), such as depth=32,48; got "${text}"`,
      );
    }
    if (given.has(name)) throw new UsageError(`--sweep ${name} is given twice: give all its numbers at once`);
    given.add(name);
    grid[name] = numbers;
  }
  return grid;
}

/**
 * The width, a multiple of the head size, whose parameter count is closest to the budget. Throws UsageError if none is
 * close, as when one head is already too large.
 */
function fitBudget(
  model: Parameters<typeof trace>[0],
  c: ShapeConfig,
  budget: number,
  depth: number,
  headDim: number,
  mlpRatio: number,
): ShapeConfig {
  const at = (heads: number): ShapeConfig => {
    const width = heads * headDim;
    return { ...c, depth, width, heads, mlp: Math.round(mlpRatio * width) };
  };
  // Ignores the embeddings, which make the best width a little smaller.
  const ideal = Math.ceil(Math.sqrt(budget / (depth * (4 + 2 * mlpRatio))) / headDim);
  const candidates = [ideal, ideal - 1, ideal - 2]
    .filter((heads) => heads >= 1)
    .map((heads) => {
      const config = at(heads);
      const parameters = parametersOf(model, config);
      return { config, parameters, off: Math.abs(parameters - budget) };
    });
  const best = candidates.reduce((a, b) => (a.off <= b.off ? a : b));
  if (best.parameters <= 2 * budget) return best.config;
  throw new UsageError(
    `--budget ${budget} is too small for a depth of ${depth} with heads of ${headDim}, which needs at least ${digits(best.parameters)}`,
  );
}

/** Parameters of a model, extrapolated from one and two blocks, which are all alike. */
function parametersOf(model: Model, config: ShapeConfig): number {
  configure(model, config); // throws for an invalid depth
  const [one, two] = [1, 2].map((depth) => countParameters(trace(model, { ...config, depth })).parameters);
  return one! + (two! - one!) * (config.depth - 1);
}

async function shapeOf(model: Parameters<typeof trace>[0], c: ShapeConfig, args: SweepArguments): Promise<Shape> {
  const graph = trace(model, c);
  return {
    depth: c.depth,
    headDim: c.width / c.heads,
    mlpRatio: c.mlp / c.width,
    width: c.width,
    heads: c.heads,
    parameters: countParameters(graph).parameters,
    macs: { exact: countMacs(graph, { batch: 1 }), paper: model.paper?.macs?.(c) ?? null },
    imagesPerSecond: args.device === undefined ? null : await throughput(model, c, args.device, args.batch),
  };
}

/**
 * Constant values: sampling a block of 123 million would take longer than running it, and time does not depend on
 * values.
 */
function filled(node: Node): HostTensor {
  const axes = node.type.axes as readonly SizedAxis[];
  if (node.type.dtype !== "f32") return hostTensor(node.type.dtype, axes, new Int32Array(elementCount(axes)));
  return hostTensor("f32", axes, new Float32Array(elementCount(axes)).fill(0.01));
}

/** Warm-up seconds, in which a GPU leaves its idle clocks, and measured seconds; a slow device runs a few times. */
const [warmSeconds, countedSeconds] = [0.5, 0.5];
const [fewestRuns, mostRuns] = [5, 100];

/** The median time of a run in the steady state, in seconds. */
async function steadySeconds(run: () => Promise<unknown>): Promise<number> {
  const since = (begun: number) => (performance.now() - begun) / 1000;
  const warmed = performance.now();
  do await run();
  while (since(warmed) < warmSeconds);
  const times: number[] = [];
  const counted = performance.now();
  while (times.length < fewestRuns || (since(counted) < countedSeconds && times.length < mostRuns)) {
    const begun = performance.now();
    await run();
    times.push(since(begun));
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

/** Times the model with two blocks and with one: the difference is one block, without the embeddings. */
async function throughput(model: Model, c: ShapeConfig, device: string, batch: number): Promise<number> {
  const { backend } = await openDevice(parseDevice(device));
  try {
    const [one, two] = [
      await runSeconds(backend, model, { ...c, depth: 1 }, batch),
      await runSeconds(backend, model, { ...c, depth: 2 }, batch),
    ];
    return batch / (one + Math.max(0, two - one) * (c.depth - 1));
  } finally {
    backend.dispose();
  }
}

async function runSeconds(backend: Backend, model: Model, c: ShapeConfig, batch: number): Promise<number> {
  const graph = trace(model, c);
  const weights = graph.inputs.filter(isParameter).map((n) => [inputName(n), filled(n)] as const);
  const session = await createSession(backend, graph, new Map(weights), { sizes: { batch } });
  const feeds = Object.fromEntries(
    bindSizes(graph, { batch })
      .inputs.filter(isFeed)
      .map((n) => [inputName(n), filled(n)]),
  );
  try {
    return await steadySeconds(() => session.run(feeds));
  } finally {
    session.dispose();
  }
}

/** Formatted as in the paper's tables, with at least three digits. */
const giga = (macs: number): string =>
  `${macs < 1e11 ? Number((macs / 1e9).toPrecision(3)) : Math.round(macs / 1e9)} G`;

function describe(shapes: readonly Shape[]): string {
  const rows = shapes.map((s) =>
    [
      s.depth,
      s.headDim,
      Number(s.mlpRatio.toPrecision(4)),
      s.width,
      s.heads,
      digits(s.parameters),
      s.macs.paper === null ? "-" : giga(s.macs.paper),
      giga(s.macs.exact),
      s.imagesPerSecond === null ? "-" : s.imagesPerSecond.toPrecision(3),
    ].map(String),
  );
  const head = [
    "depth",
    "head dim",
    "MLP ratio",
    "width",
    "heads",
    "parameters",
    "MACs (paper)",
    "MACs (exact)",
    "images/s",
  ];
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i]!.length)));
  return `${[head, ...rows].map((r) => r.map((cell, i) => cell.padStart(widths[i]!)).join("  ")).join("\n")}\n`;
}
