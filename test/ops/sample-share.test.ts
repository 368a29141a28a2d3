/**
 * Shares of a loss over a whole batch: together they are the loss, and none computes pairs of which no sample is its
 * own.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  bindSizes,
  differentiate,
  inputName,
  makeGraph,
  mulDims,
  type Node,
  nodesOf,
  ops,
  sampleShares,
  symbol,
} from "../../compiler/index.ts";
import { seeded } from "../support/samples.ts";

const [parts, part, features] = [4, 3, 5];
const all = mulDims(parts, symbol("batch"));
const twice = mulDims(2, all);
const input = (name: string, size = all, sample = "batch") =>
  ops.input(name, "f32", [
    { name: sample, size },
    { name: "feature", size: features },
  ]);
const [image, text, captions] = [input("image"), input("text"), input("captions", twice, "caption")];
const warmth = ops.parameter("warmth", "f32", [], { kind: "constant", value: 1 });
const logitsOf = (other: Node, from: string, to: string) =>
  ops.mul(ops.contract(image, ops.rename(other, from, to), ["feature"]), ops.mul(warmth, warmth));
const own = (along: string, size = all) => ops.iota({ name: along, size });
const logits = logitsOf(text, "batch", "pair");
const rows = ops.crossEntropy(logits, own("batch"), "pair");
const columns = ops.crossEntropy(logits, own("pair"), "batch");

/** A positive weight for each sample. */
const counts = ops.reduceSum(ops.mul(text, text), ["feature"]);

const losses: Readonly<Record<string, { readonly loss: Node; readonly isDivided: boolean }>> = {
  "of one direction": { loss: ops.reduceMean(rows, ["batch"]), isDivided: true },
  "of both directions and a penalty": {
    loss: ops.add(
      ops.mul(ops.add(ops.reduceMean(rows, ["batch"]), ops.reduceMean(columns, ["pair"])), 0.5),
      ops.mul(warmth, 0.01),
    ),
    isDivided: true,
  },
  "of two captions for each image": {
    loss: ops.reduceMean(ops.logsumexp(logitsOf(captions, "caption", "other"), "other"), ["batch"]),
    isDivided: true,
  },
  "of all pairs at once": {
    loss: ops.div(ops.reduceSum(ops.exp(logits), ["batch", "pair"]), 1000),
    isDivided: true,
  },
  "of the pairs that count": {
    loss: ops.add(
      ops.div(ops.reduceSum(ops.mul(rows, counts), ["batch"]), ops.reduceSum(counts, ["batch"])),
      ops.div(ops.reduceSum(ops.mul(columns, ops.rename(counts, "batch", "pair")), ["pair"]), 7),
    ),
    isDivided: true,
  },
  "of one logit of each pair": {
    loss: ops.reduceMean(ops.at(logits, "pair", 2), ["batch"]),
    isDivided: true,
  },
  "that compares a sum with a number": {
    loss: ops.add(
      ops.reduceMean(rows, ["batch"]),
      ops.cast(ops.gt(ops.reduceMean(rows, ["batch"]), ops.constant(1)), "f32"),
    ),
    isDivided: false,
  },
  "that is not linear in its sums": {
    loss: ops.log(ops.reduceSum(ops.exp(logits), ["batch", "pair"])),
    isDivided: false,
  },
};

function valuesOf(nodes: readonly Node[]): number[][] {
  const outputs = nodes.map((node, i) => ({ name: `${i}`, node }));
  const graph = bindSizes(makeGraph("g", outputs, [image, text, captions, warmth]), { batch: part });
  const values = new Map(
    graph.inputs.map((n) => {
      const next = seeded(inputName(n).length);
      const count = n.type.axes.reduce((c, a) => c * (a.size as number), 1);
      return [inputName(n), Float64Array.from({ length: count }, () => 2 * next() - 0.7)];
    }),
  );
  const made = evaluate(graph, values);
  return outputs.map(({ name }) => [...made.get(name)!.data]);
}

describe.each(Object.entries(losses))("a loss %s", (_, { loss, isDivided }) => {
  const wanted = [image, text, captions, warmth];
  const whole = valuesOf([loss, ...differentiate(loss, wanted)]);

  it.each([[[1, 1, 1, 1]], [[1, 2, 1]], [[4]]])("in shares of %j parts", (counts) => {
    let first = 0;
    const sums = whole.map((data) => data.map(() => 0));
    for (const count of counts) {
      const isFirst = first === 0;
      const range = { samples: "batch", first, count, all: parts };
      const [share] = sampleShares([loss], range, (x) => (isFirst ? x : ops.mul(x, 0)));
      first += count;
      const shared = valuesOf([share!, ...differentiate(share!, wanted)]);
      for (const [i, data] of shared.entries()) for (const [k, x] of data.entries()) sums[i]![k]! += x;
      if (isDivided) expect(mostElements(share!)).toBeLessThanOrEqual(2 * count * part * parts * part);
    }
    for (const [i, data] of whole.entries())
      for (const [k, x] of data.entries()) expect(sums[i]![k]).toBeCloseTo(x, 10);
  });
});

/** Of the largest value with samples along two axes. */
function mostElements(share: Node): number {
  const graph = bindSizes(makeGraph("g", [{ name: "share", node: share }]), { batch: part });
  const pairs = nodesOf(graph).filter((n) => n.type.axes.filter((a) => a.name !== "feature").length === 2);
  expect(pairs.length).toBeGreaterThan(0);
  return Math.max(...pairs.map((n) => n.type.axes.reduce((c, a) => c * (a.size as number), 1)));
}
