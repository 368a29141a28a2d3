/** Row statistics of norms: where a gradient needs them, onnxruntime's norm returns them as a second output. */
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

/** Matches an rsqrt that is rms_norm's statistic in the form its gradient uses. */
export function rootMeanSquareOf(node: Node): RootMeanSquare | undefined {
  const found = rewrite.matchPattern(statistic, node);
  if (!found) return undefined;
  const { x, over, weight, epsilon } = Object.fromEntries(found) as typeof samples;
  const count = over.reduce((n, name) => n * Number(x.type.axes.find((a) => a.name === name)?.size), 1);
  return weight === 1 / count ? { x, over, epsilon } : undefined;
}

/** Statistics by `statisticKey`. */
export type Statistics = Map<string, Value | undefined>;

const identity = new WeakMap<Node, number>();
let next = 0;

/** Key of a statistic: the same for a norm and for the gradient that needs it. */
export function statisticKey({ x, over, epsilon }: RootMeanSquare): string {
  if (!identity.has(x)) identity.set(x, next++);
  return `${identity.get(x)} ${[...over].sort()} ${epsilon}`;
}

/** Every statistic that the graph uses, initially without a value. */
export function wantedStatistics(graph: Graph): Statistics {
  const keys = nodesOf(graph).flatMap((n) => {
    const found = rootMeanSquareOf(n);
    return found ? [statisticKey(found)] : [];
  });
  return new Map(keys.map((k) => [k, undefined]));
}
