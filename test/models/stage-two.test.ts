/** What stage 2 adds to the published losses: negatives found in the batch, and the two ways to label captions. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { bindSizes, type Graph, inputName, makeGraph, type Node } from "../../compiler/index.ts";
import { axis, constantRate, defineStage, input, rootParams, trainingStep } from "../../dsl/index.ts";
import {
  type GenerativeConfig,
  idsInput,
  internvit6b,
  matching,
  minedNegatives,
  pixelsInput,
  stageTwoLoss,
  visionTokens,
} from "../../models/index.ts";
import { seeded } from "../support/samples.ts";

const config: GenerativeConfig = {
  vision: { ...internvit6b, width: 6, depth: 1, heads: 1, mlp: 7, image: 4, patch: 2 },
  text: {
    ...{ width: 8, depth: 2, heads: 2, mlp: 9, vocab: 13, context: 7, epsilon: 1e-6 },
    ...{ attentionBias: false, rotaryBase: 10000, queries: 4, crossEvery: 1 },
  },
  embed: 6,
  poolingHeads: 2,
};
const { context } = config.text;
type Values = ReadonlyMap<string, ArrayLike<number>>;

/** Values of every input: what is given, else draws around 0, in [0, 1) for random numbers. */
function valuesOf(
  graph: Graph,
  given: Readonly<Record<string, readonly number[]>>,
  seed: number,
): Map<string, Float64Array> {
  const next = seeded(seed);
  return new Map(
    graph.inputs.map((node) => {
      const name = inputName(node);
      const size = node.type.axes.reduce((n, a) => n * (a.size as number), 1);
      if (given[name]) return [name, Float64Array.from(given[name])];
      return [name, Float64Array.from({ length: size }, () => (node.op === "random" ? next() : next() - 0.5))];
    }),
  );
}

const graphOf = (outputs: Readonly<Record<string, Node>>, batch: number): Graph =>
  bindSizes(
    makeGraph(
      "g",
      Object.entries(outputs).map(([name, node]) => ({ name, node })),
    ),
    { batch },
  );

/** The draws by the rule itself, one number after the other. */
function drawn(
  logits: readonly (readonly number[])[],
  group: readonly number[],
  uniform: readonly (readonly number[])[],
) {
  return logits.map((row, i) => {
    const top = Math.max(...row);
    const total = row.reduce((n, x) => n + Math.exp(x - top), 0);
    const scores = row.map((x, j) =>
      group[i] === group[j]
        ? -Infinity
        : Math.log(Math.exp(x - top) / total + 1e-4) - Math.log(-Math.log(uniform[i]![j]!)),
    );
    return scores.indexOf(Math.max(...scores));
  });
}

const rowsOf = (data: ArrayLike<number>, n: number) =>
  Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => data[i * n + j]!));
const turned = (rows: readonly (readonly number[])[]) => rows.map((_, i) => rows.map((row) => row[i]!));

describe("negatives of the batch", () => {
  const negatives = (batch: number) => {
    const [rows, columns] = [axis("batch", "batch"), axis("pair", "batch")];
    const logits = input("logits", "f32", [rows, columns]);
    const { text, image, exist } = minedNegatives({ rows, columns, logits }, input("group", "i32", [rows]));
    return graphOf({ text, image, exist }, batch);
  };

  it.each([2, 3, 7])("are drawn by similarity, never from the own group: %i rows", (n) => {
    for (let seed = 1; seed <= 20; seed++) {
      const group = Array.from({ length: n }, (_, i) => (i === n - 1 && n > 2 ? 0 : i)); // two rows of one group
      const graph = negatives(n);
      const values = valuesOf(graph, { group }, seed);
      const out = evaluate(graph, values);
      const logits = rowsOf(values.get("logits")!, n);
      const [ofText, ofImage] = ["negatives.text", "negatives.image"].map((name) => rowsOf(values.get(name)!, n));
      expect(Array.from(out.get("text")!.data)).toEqual(drawn(logits, group, ofText!));
      expect(Array.from(out.get("image")!.data)).toEqual(drawn(turned(logits), group, turned(ofImage!)));
      expect(Array.from(out.get("exist")!.data, Number)).toEqual(group.map(() => 1));
    }
  });

  it("come as often as the softmax says", () => {
    const [n, draws] = [4, 4000];
    const logits = [0, 2, 1, -1].map((_, i) => [0, 2, 1, -1].map((x, j) => (i === 0 ? x : j === 0 ? 3 : 0)));
    const graph = negatives(n);
    const counts = [0, 0, 0, 0];
    for (let seed = 0; seed < draws; seed++) {
      const values = valuesOf(graph, { group: [0, 1, 2, 3], logits: logits.flat() }, 1000 + seed);
      counts[evaluate(graph, values).get("text")!.data[0]!]!++;
    }
    const weights = [0, 2, 1, -1].map((x, j) => (j === 0 ? 0 : Math.exp(x)));
    const total = weights.reduce((a, b) => a + b);
    for (const [j, weight] of weights.entries())
      expect(Math.abs(counts[j]! / draws - weight / total)).toBeLessThan(0.03);
  });

  it("are none where all rows are of one group", () => {
    const graph = negatives(3);
    const { data } = evaluate(graph, valuesOf(graph, { group: [5, 5, 5] }, 3)).get("exist")!;
    expect(Array.from(data, Number)).toEqual([0, 0, 0]);
  });
});

/** Texts of different lengths; the second matching text is empty, and so is asked nothing about. */
const texts = (rows: readonly (readonly number[])[]) =>
  rows.flatMap((row) => Array.from({ length: context }, (_, i) => row[i] ?? 0));
const ids = [
  [1, 5, 6, 7, 4, 2],
  [1, 9, 3, 11, 12, 2],
  [1, 8, 8, 3, 2],
];
const matchingIds = [
  [1, 5, 6, 7, 2],
  [1, 2],
  [1, 8, 3, 4, 12, 2],
];
const captions = [
  [1, 4, 4, 5, 6, 7, 2],
  [1, 4, 4, 9, 2],
  [1, 4, 4, 8, 3, 2],
];
const given = {
  ids: texts(ids),
  matching_ids: texts(matchingIds),
  caption_ids: texts(captions),
  caption_prompt: [3, 3, 3],
  group: [0, 1, 2],
  matches: [0, 1, 1],
};
const batch = 3;

const stageTwo = (options: Parameters<typeof stageTwoLoss>[2]) => {
  const { metrics } = stageTwoLoss(rootParams(), config, options);
  return graphOf({ matching: metrics.matching, generative: metrics.generative }, batch);
};

it("negatives of the batch cannot be found where micro-batches differ in size, which says what to do", () => {
  const stage = defineStage({
    name: "two",
    loss: (p) => stageTwoLoss(p, config, { negatives: "mined" }),
    optimizer: { rate: constantRate(0.1) },
    accumulate: 2,
  });
  const uneven = { count: 3, own: { first: 0, count: 1 }, uneven: { all: 4, from: 0, to: 1 } };
  // The line is that of the first equal node of this process, which another test file may have made.
  expect(() => trainingStep(stage).inParts(uneven)).toThrow(
    /a value of each sample is as long as the batch \(random at models\/.*, or start a number of processes that divides/,
  );
});

it("matching with negatives of the batch is cross-entropy over three rows for each image", () => {
  const graph = stageTwo({ negatives: "mined" });
  const values = valuesOf(graph, given, 11);
  const found = evaluate(graph, values).get("matching")!.data[0]!;

  // What was drawn, from the cosines of the same weights.
  const p = rootParams().shared();
  const vision = visionTokens(p, pixelsInput(config.vision), config);
  const scores = graphOf({ scores: matching(p, vision, idsInput(config.text, "matching_ids"), config) }, batch);
  const judge = (images: readonly number[], of: readonly number[]) => {
    const pixels = Array.from(values.get("pixels")!);
    const size = pixels.length / batch;
    const swapped: Values = new Map<string, ArrayLike<number>>([
      ...values,
      ["pixels", images.flatMap((i) => pixels.slice(i * size, (i + 1) * size))],
      ["matching_ids", texts(of.map((i) => matchingIds[i]!))],
    ]);
    const known = new Map([...swapped].map(([name, x]) => [name, Float64Array.from(x)]));
    const { data } = evaluate(scores, known).get("scores")!;
    return Array.from({ length: batch }, (_, i) => [data[2 * i]!, data[2 * i + 1]!] as const);
  };
  const loss = ([no, yes]: readonly [number, number], right: number) =>
    Math.log(Math.exp(no) + Math.exp(yes)) - (right === 1 ? yes : no);

  // All draws there can be; the loss is that of one of them, the one that the rule gives.
  const own = [0, 1, 2];
  const choices = own.map((i) => own.filter((j) => j !== i));
  const all: number[] = [];
  for (const a of choices[0]!)
    for (const b of choices[1]!)
      for (const c of choices[2]!)
        for (const x of choices[0]!)
          for (const y of choices[1]!)
            for (const z of choices[2]!) {
              const [images, others] = [
                [a, b, c],
                [x, y, z],
              ];
              const isAsked = (i: number) => matchingIds[i]!.length > 2;
              const parts = [
                ...judge(own, own).flatMap((s, i) => (isAsked(i) ? [loss(s, 1)] : [])),
                ...judge(images, own).flatMap((s, i) => (isAsked(i) ? [loss(s, 0)] : [])),
                ...judge(own, others).flatMap((s, i) => (isAsked(others[i]!) ? [loss(s, 0)] : [])),
              ];
              all.push(parts.reduce((n, l) => n + l, 0) / parts.length);
            }
  expect(Math.min(...all.map((l) => Math.abs(l - found)))).toBeLessThan(1e-9);
  expect(new Set(all.map((l) => l.toFixed(9))).size).toBeGreaterThan(10); // so that another draw would show
});

it("a caption's targets are its own tokens and EOS; the released labels have the prompt's last token as well", () => {
  const generative = (options: Parameters<typeof stageTwoLoss>[2], prompt: number) => {
    const graph = stageTwo(options);
    const values = valuesOf(graph, { ...given, caption_prompt: [prompt, prompt, prompt] }, 5);
    return evaluate(graph, values).get("generative")!.data[0]!;
  };
  expect(generative({}, 3)).toBeCloseTo(generative({ labels: "released" }, 4), 12);
  expect(Math.abs(generative({}, 3) - generative({ labels: "released" }, 3))).toBeGreaterThan(1e-6);
});
