/**
 * Values that PyTorch's side of the marks can generate bit-identically: tensors repeat a short table, each from its own
 * phase. 12 GB of weights then need not be transferred.
 */
import {
  allocate,
  type Distribution,
  elementCount,
  type Graph,
  type HostTensor,
  inputName,
  type Node,
  type SizedAxis,
} from "../../compiler/index.ts";

/** A prime, so that rows of common lengths all differ. */
export const period = 2039;
const step = 1103;

/** Multiples of 1/1024 from -1 to 1, exactly representable in f16. */
const table = Float32Array.from({ length: period }, (_, i) => ((i * step) % period) / 1024 - 1);

/** base + scale · table[(i + phase) mod period], for each element i. */
export interface Pattern {
  readonly shape: readonly number[];
  readonly base: number;
  readonly scale: number;
  readonly phase: number;
}

export const patternOf = (name: string, shape: readonly number[], scale = 1, base = 0): Pattern => ({
  shape,
  base,
  scale,
  phase: [...name].reduce((h, c) => (h * 31 + c.charCodeAt(0)) % period, 7),
});

export function valuesOf({ shape, base, scale, phase }: Pattern, dtype: "f32" | "f16" = "f32"): HostTensor["data"] {
  const count = shape.reduce((n, s) => n * s, 1);
  const data = allocate(dtype, count);
  const first = Math.min(period, count);
  for (let i = 0; i < first; i++) data[i] = Math.fround(base + scale * table[(i + phase) % period]!);
  for (let done = first; done < count; done *= 2) data.copyWithin(done, 0, Math.min(done, count - done));
  return data;
}

/** The power of two nearest to the spread of an initializer: scaling by it is exact. */
const scaleOf = (std: number): number => 2 ** Math.round(Math.log2(std * Math.sqrt(3)));

/**
 * A parameter's pattern: the spread of its initializer, or its constant plus small variations, so that omitting it
 * would show.
 */
export function parameterPattern(node: Node): Pattern {
  const init = node.attrs.init as unknown as Distribution | undefined;
  const shape = (node.type.axes as readonly SizedAxis[]).map((a) => a.size);
  const name = inputName(node);
  if (init?.kind === "constant") return patternOf(name, shape, 2 ** -6, init.value);
  if (init?.kind === "normal" || init?.kind === "truncated_normal") return patternOf(name, shape, scaleOf(init.std));
  return patternOf(name, shape, 2 ** -4);
}

/** The parameters of a graph by name. */
export const patternsOf = (graph: Pick<Graph, "inputs">): Record<string, Pattern> =>
  Object.fromEntries(
    graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), parameterPattern(n)] as const),
  );

export const tensorOf = (node: Node, pattern: Pattern, dtype: "f32" | "f16" = "f32"): HostTensor => ({
  dtype,
  axes: node.type.axes as readonly SizedAxis[],
  data: valuesOf(pattern, dtype),
});

/** Number of elements sampled evenly from a result, for the comparison with PyTorch. */
const sampled = 512;

export function sampleOf(data: ArrayLike<number>): Float32Array {
  const count = Math.min(sampled, data.length);
  return Float32Array.from({ length: count }, (_, i) => data[Math.floor(((i + 0.5) * data.length) / count)]!);
}

export const countOf = (node: Node): number => elementCount(node.type.axes as readonly SizedAxis[]);
