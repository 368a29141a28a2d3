/** Row statistics that a norm computes anyway: where a gradient asks for them, onnxruntime's norm gives them as a second output. */
import { type Graph, type Node, nodesOf, ops, rewrite } from "../../../compiler/index.ts";
import type { Value } from "./value.ts";

/** 1 / sqrt(mean(x²) + ε) over some axes. */
export interface RootMeanSquare {
  readonly x: Node;
  readonly over: readonly string[];
  readonly epsilon: number;
}

const given = {
  x: rewrite.tensor({ a: 2, b: 3 }),
  over: rewrite.axisNames("b"),
  weight: rewrite.number(0.375),
  epsilon: rewrite.number(0.001),
};
const samples = rewrite.samplesOf(given);
const spelled = ({ x, over, weight, epsilon }: typeof samples) =>
  ops.rsqrt(ops.add(ops.mul(ops.reduceSum(ops.mul(x, x), over), weight), epsilon));
const statistic = rewrite.pattern(given, samples, spelled(samples));

/** What a reciprocal square root is of, where it is rms_norm's statistic as its gradient spells it. */
export function rootMeanSquareOf(node: Node): RootMeanSquare | undefined {
  const found = rewrite.matchPattern(statistic, node);
  if (!found) return undefined;
  const { x, over, weight, epsilon } = Object.fromEntries(found) as typeof samples;
  const count = over.reduce((n, name) => n * Number(x.type.axes.find((a) => a.name === name)?.size), 1);
  return weight === 1 / count ? { x, over, epsilon } : undefined;
}

/** Statistics by what they are of. */
export type Statistics = Map<string, Value | undefined>;

const identity = new WeakMap<Node, number>();
let next = 0;

/** A key for the statistic of a node over axes: the same for a norm and for the gradient that needs it. */
export function statisticKey({ x, over, epsilon }: RootMeanSquare): string {
  if (!identity.has(x)) identity.set(x, next++);
  return `${identity.get(x)} ${[...over].sort()} ${epsilon}`;
}

/** Every statistic that the graph asks for, none of them there yet. */
export function wantedStatistics(graph: Graph): Statistics {
  const keys = nodesOf(graph).flatMap((n) => {
    const found = rootMeanSquareOf(n);
    return found ? [statisticKey(found)] : [];
  });
  return new Map(keys.map((k) => [k, undefined]));
}
