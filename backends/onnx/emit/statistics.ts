/** Row statistics that a norm computes anyway: where a gradient asks for them, onnxruntime's norm gives them as a second output. */
import { type Graph, type Node, nodesOf } from "../../../compiler/index.ts";
import type { Value } from "./value.ts";

/** 1 / sqrt(mean(x²) + ε) over some axes. */
export interface RootMeanSquare {
  readonly x: Node;
  readonly over: readonly string[];
  readonly epsilon: number;
}

/** What a reciprocal square root is of, where it is rms_norm's statistic as its gradient spells it. */
export function rootMeanSquareOf(node: Node): RootMeanSquare | undefined {
  const [sum, epsilon] = node.op === "rsqrt" ? node.operands[0]!.operands : [];
  if (sum?.op !== "mul" || node.operands[0]!.op !== "add" || epsilon?.op !== "constant") return undefined;
  const [total, weight] = sum.operands;
  if (total?.op !== "reduce_sum" || weight?.op !== "constant") return undefined;
  const square = total.operands[0]!;
  const over = total.attrs.over as string[];
  if (square.op !== "mul" || square.operands[0] !== square.operands[1]) return undefined;
  const x = square.operands[0]!;
  const count = over.reduce((n, name) => n * Number(x.type.axes.find((a) => a.name === name)?.size), 1);
  const exact = weight.attrs.value === 1 / count && typeof epsilon.attrs.value === "number";
  return exact ? { x, over, epsilon: epsilon.attrs.value as number } : undefined;
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
