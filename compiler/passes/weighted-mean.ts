/**
 * Whether micro-batches, averaged by a weight, add up to the loss of the whole batch: true of Σ a·s / w, where s and w
 * are sums over samples and a is none of theirs. The derivative of such a loss by s is a / w, so that its product with
 * w depends on no sample. Two sets of sums tell: simplifying such a product would need algebra that passes lack.
 */
import { dimValue, type Sizes, symbolsOf } from "../ir/dim.ts";
import { isFloat } from "../ir/dtype.ts";
import { topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isParameter, opRecord, type RefTensor, sourceOf } from "../ir/op.ts";
import { elementsOf, type TensorType } from "../ir/type.ts";
import { differentiate } from "./differentiate.ts";
import { dependences } from "./sample-mean.ts";

/** Whether `loss` is a mean over samples along `axis` of the inputs, weighted by the scalar `weight`. */
export function isWeightedMean(loss: Node, weight: Node, axis: string): boolean {
  const nodes = topological([loss, weight]);
  const found = dependences(nodes, axis);
  const sums = nodes.filter((n) => found.get(n) === "sum");
  const learned = sums.filter((s) => topological([s]).some(isParameter));
  const slopes = differentiate(loss, learned);
  const [once, again] = [0, 1].map((trial) => evaluated([...slopes, weight], new Set(sums), trial));
  if (!once || !again) return false;
  const by = (values: readonly Float64Array[], i: number, j: number) => values[i]![j]! * values.at(-1)![0]!;
  return slopes.every((_, i) => once[i]!.every((_, j) => isNear(by(once, i, j), by(again, i, j))));
}

/** The weights, among scalar sums over samples without parameters, that `loss` is a mean by. */
export const weightsOf = (loss: Node, axis: string): Node[] => {
  const nodes = topological([loss]);
  const found = dependences(nodes, axis);
  return nodes.filter(
    (n) =>
      found.get(n) === "sum" &&
      n.type.axes.length === 0 &&
      !topological([n]).some(isParameter) &&
      isWeightedMean(loss, n, axis),
  );
};

const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));

/** The most elements of a value that is computed to find this out. */
const mostElements = 2 ** 20;

/**
 * The values of scalars and small tensors for made-up sums and sizes, which differ between trials, and made-up
 * parameters, states and inputs, which do not. Undefined for tensors that are large or of a symbolic size.
 */
function evaluated(roots: readonly Node[], sums: ReadonlySet<Node>, trial: number): Float64Array[] | undefined {
  const values = new Map<Node, RefTensor>();
  for (const [i, node] of needed(roots, sums).entries()) {
    const elements = elementsOf(node.type);
    if (typeof elements !== "number" || elements > mostElements) return undefined;
    const data = sums.has(node) ? madeUp(node.type, elements, i, trial) : computed(node, values, elements, i, trial);
    values.set(node, { type: node.type, data });
  }
  return roots.map((root) => values.get(root)!.data);
}

function computed(
  node: Node,
  values: ReadonlyMap<Node, RefTensor>,
  elements: number,
  i: number,
  trial: number,
): Float64Array {
  const { operands, attrs, type } = node;
  const source = sourceOf(node);
  if (source === "size") return Float64Array.of(dimValue(attrs.of as number, madeUpSizes(attrs.of as number, trial)));
  if (source === "constant")
    return Float64Array.from((attrs.values as number[] | undefined) ?? new Array(elements).fill(attrs.value as number));
  if (operands.length === 0) return madeUp(type, elements, i, 0);
  return opRecord(node.op).reference(
    operands.map((o) => values.get(o)!),
    attrs,
    type,
  );
}

/** The nodes to compute, in order, where the sums' own operands are not. */
function needed(roots: readonly Node[], sums: ReadonlySet<Node>): Node[] {
  const reached = new Set<Node>();
  const queue = [...roots];
  for (let node = queue.pop(); node; node = queue.pop()) {
    if (reached.has(node)) continue;
    reached.add(node);
    if (!sums.has(node)) queue.push(...node.operands);
  }
  return topological(roots).filter((n) => reached.has(n));
}

/** Numbers from 2 to 12, as counts are: at 0 and 1 losses often have a case of their own. */
function madeUp({ dtype }: TensorType, elements: number, i: number, trial: number): Float64Array {
  const value = (j: number) => 2 + 10 * ((0.618 * (i + 1) + 0.414 * j + 0.732 * trial) % 1);
  const values = Float64Array.from({ length: elements }, (_, j) => value(j));
  return isFloat(dtype) ? values : values.map(Math.round);
}

const madeUpSizes = (of: Parameters<typeof symbolsOf>[0], trial: number): Sizes =>
  Object.fromEntries(symbolsOf(of).map(({ name }, i) => [name, 6 + 5 * trial + i]));
