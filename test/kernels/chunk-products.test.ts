/** Products in chunks of rows: the same values, and never whole in memory, forward or backward. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  type Axis,
  chunkProducts,
  compileKernels,
  decomposeFor,
  differentiate,
  type Graph,
  isParameter,
  makeGraph,
  memoryOf,
  type Node,
  nodesOf,
  ops,
  topological,
} from "../../compiler/index.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { compileFor, interpretProgram } from "./support.ts";

interface Head {
  readonly rows: readonly number[];
  readonly width: number;
  readonly vocab: number;
  /** Also what label smoothing and a penalty of large logits read. */
  readonly smooth?: boolean;
}

/** A vocabulary's cross-entropy, weighed by token, on features that are learned as well; with all gradients. */
function head({ rows, width, vocab, smooth = false }: Head): Graph {
  const axes: Axis[] = rows.map((size, i) => ({ name: `r${i}`, size }));
  const [embed, classes] = [
    { name: "embed", size: width },
    { name: "vocab", size: vocab },
  ];
  const init = { kind: "constant", value: 1 } as const;
  const x = ops.tanh(ops.mul(ops.input("x", "f32", [...axes, embed]), ops.parameter("scale", "f32", [embed], init)));
  const logits = ops.add(
    ops.contract(x, ops.parameter("weight", "f32", [embed, classes], init), ["embed"]),
    ops.parameter("bias", "f32", [classes], init),
  );
  const names = axes.map((a) => a.name);
  const hard = ops.crossEntropy(logits, ops.input("label", "i32", axes), "vocab");
  const penalty = ops.mul(ops.reduceMean(ops.mul(logits, logits), ["vocab"]), 0.01);
  const each = smooth ? ops.add(hard, penalty) : hard;
  const loss = ops.reduceSum(ops.mul(each, ops.input("counts", "f32", axes)), names);
  const parameters = nodesOf(makeGraph("f", [{ name: "loss", node: loss }])).filter(isParameter);
  const gradients = differentiate(loss, parameters);
  return makeGraph("head", [
    { name: "loss", node: loss },
    ...parameters.map((p, i) => ({ name: `d ${p.attrs.name}`, node: gradients[i]! })),
  ]);
}

const decomposed = (graph: Graph) => decomposeFor(() => () => false).run(graph);

const bytesOf = (n: Node) => n.type.axes.reduce((bytes, a) => bytes * Number(a.size), 4);

function expectSame(graph: Graph, other: Graph, seed: number): void {
  const values = inputValues(graph, seed);
  const wanted = evaluate(graph, values);
  for (const [name, got] of evaluate(other, values))
    expect(excess([...got.data], wanted.get(name)!.data, 1e-12, 1e-11), name).toBeLessThanOrEqual(0);
}

test("any sizes: the values to rounding, and no tensor as large as what is cut", () => {
  const sizes = fc.record({
    rows: fc.array(fc.integer({ min: 2, max: 9 }), { minLength: 1, maxLength: 2 }),
    width: fc.integer({ min: 1, max: 4 }),
    vocab: fc.integer({ min: 40, max: 67 }),
    smooth: fc.boolean(),
  });
  const property = fc.property(sizes, fc.integer({ min: 2, max: 5 }), fc.nat(100), (shape, parts, seed) => {
    const graph = decomposed(head(shape));
    const whole = shape.rows.reduce((n, r) => n * r, 4 * shape.vocab);
    const least = Math.ceil(whole / parts);
    const pass = chunkProducts({ least });
    const chunked = pass.run(graph);
    expectSame(graph, chunked, seed);
    expect(pass.run(chunked)).toEqual(chunked);
    if (Math.max(...shape.rows) <= parts) return; // no axis has so many rows
    if (whole < 4 * shape.width * shape.vocab) return; // the weight's gradient is larger
    const weight = nodesOf(chunked).find((n) => n.attrs.name === "weight")!;
    const hasRows = (n: Node) => n.type.axes.some((a) => a.name.startsWith("r"));
    const large = nodesOf(chunked).filter(
      (n) => hasRows(n) && bytesOf(n) >= whole && topological([n]).includes(weight),
    );
    expect(large.map((n) => n.op)).toEqual([]);
  });
  fc.assert(property, { numRuns: 30, seed: 5 });
});

interface AllPairs {
  readonly images: number;
  readonly texts: number;
  /** Batches of which each has its own pairs. */
  readonly groups?: number;
  readonly width: number;
  readonly targets: "labels" | "smooth" | "shared";
  /** Also the best of each row and of each column, as mining of negatives has it. */
  readonly best?: boolean;
}

/** Cross-entropy of all pairs along either axis, on features and a temperature that are learned; with all gradients. */
function allPairs({ images, texts, groups, width, targets, best = false }: AllPairs): Graph {
  const [image, text, feature]: Axis[] = [
    { name: "image", size: images },
    { name: "text", size: texts },
    { name: "feature", size: width },
  ];
  const outer: Axis[] = groups === undefined ? [] : [{ name: "group", size: groups }];
  const init = { kind: "constant", value: 1 } as const;
  const side = (name: string, rows: Axis) =>
    ops.mul(
      ops.input(name, "f32", [...outer, rows, feature!]),
      ops.parameter(`${name}.scale`, "f32", [feature!], init),
    );
  const [a, b] = [side("x", image!), side("y", text!)];
  const logits = ops.mul(ops.contract(a, b, ["feature"]), ops.parameter("temperature", "f32", [], init));
  const along = (rows: Axis, over: Axis): Node => {
    const log = ops.logSoftmax(logits, over.name);
    if (targets === "shared") {
      const together = ops.cast(
        ops.eq(ops.input("shown", "i32", [...outer, image!]), ops.input("told", "i32", [...outer, text!])),
        "f32",
      );
      const share = ops.div(together, ops.add(ops.reduceSum(together, [over.name]), 1e-3));
      return ops.neg(ops.reduceSum(ops.mul(log, share), [over.name]));
    }
    const hard = ops.crossEntropy(logits, ops.input(`of.${rows.name}`, "i32", [...outer, rows]), over.name);
    if (targets === "labels") return hard;
    return ops.sub(ops.mul(hard, 0.9), ops.mul(ops.reduceMean(log, [over.name]), 0.1));
  };
  const mean = (x: Node) =>
    ops.reduceMean(
      x,
      x.type.axes.map((axis) => axis.name),
    );
  const loss = ops.add(mean(along(image!, text!)), mean(along(text!, image!)));
  const parameters = nodesOf(makeGraph("f", [{ name: "loss", node: loss }])).filter(isParameter);
  const gradients = differentiate(loss, parameters);
  return makeGraph("pairs", [
    { name: "loss", node: loss },
    ...parameters.map((p, i) => ({ name: `d ${p.attrs.name}`, node: gradients[i]! })),
    ...(best ? ["image", "text"].map((name) => ({ name, node: ops.argmax(logits, name) })) : []),
  ]);
}

test("all pairs, along either axis: the values to rounding, and no tensor as large as all of them", () => {
  const sizes = fc.record({
    images: fc.integer({ min: 13, max: 30 }),
    texts: fc.integer({ min: 13, max: 30 }),
    groups: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    width: fc.integer({ min: 1, max: 3 }),
    targets: fc.constantFrom<AllPairs["targets"][]>("labels", "smooth", "shared"),
    best: fc.boolean(),
  });
  const property = fc.property(sizes, fc.integer({ min: 2, max: 5 }), fc.nat(100), (shape, parts, seed) => {
    const graph = decomposed(allPairs(shape));
    const whole = 4 * shape.images * shape.texts * (shape.groups ?? 1);
    const pass = chunkProducts({ least: Math.ceil(whole / parts) });
    const chunked = pass.run(graph);
    expectSame(graph, chunked, seed);
    expect(pass.run(chunked)).toEqual(chunked);
    const temperature = nodesOf(chunked).find((n) => n.attrs.name === "temperature")!;
    const large = nodesOf(chunked).filter((n) => bytesOf(n) >= whole && topological([n]).includes(temperature));
    expect(large.map((n) => n.op)).toEqual([]);
  });
  fc.assert(property, { numRuns: 40, seed: 3 });
});

test("rows that need what rows give together are not cut", () => {
  const graph = decomposed(allPairs({ images: 20, texts: 24, width: 2, targets: "labels" }));
  const logits = nodesOf(graph).find((n) => n.op === "contract" && n.type.axes.length === 2 && bytesOf(n) === 4 * 480)!;
  const all = ops.div(logits, ops.reduceSum(logits, ["image", "text"]));
  const whole = makeGraph("g", [{ name: "y", node: ops.reduceSum(ops.mul(all, all), ["image", "text"]) }]);
  expect(chunkProducts({ least: 480 }).run(whole)).toBe(whole);
});

describe("compiled", () => {
  const pairs = allPairs({ images: 101, texts: 113, width: 5, targets: "labels" });

  test("all pairs in a budget never exist whole", () => {
    const whole = 4 * 101 * 113;
    const plain = compileKernels(pairs);
    const { parameters, inputs, activations } = memoryOf(plain);
    expect(activations).toBeGreaterThan(whole);
    const program = compileKernels(pairs, undefined, { memory: parameters + inputs + Math.ceil(0.6 * whole) });
    expect(Math.max(...program.plan.slots.flat().map(Number))).toBeLessThan(whole / 4);
    const values = inputValues(pairs, 4);
    const wanted = evaluate(pairs, values);
    for (const [name, got] of interpretProgram(program, values))
      expect(excess(got, wanted.get(name)!.data, 2e-4, 2e-3), name).toBeLessThanOrEqual(0);
  });

  const graph = head({ rows: [3, 22], width: 6, vocab: 201, smooth: true });
  const logits = 4 * 66 * 201;
  const plain = compileKernels(graph);

  test("in a budget the logits never exist whole, and one chunk after another is computed", () => {
    const { parameters, inputs, activations } = memoryOf(plain);
    expect(activations).toBeGreaterThan(logits);
    const memory = parameters + inputs + Math.ceil(0.5 * activations);
    const program = compileKernels(graph, undefined, { memory });
    expect(memoryOf(program).activations).toBeLessThan(0.5 * activations);
    expect(Math.max(...program.plan.slots.flat().map(Number))).toBeLessThan(logits / 2);
    const values = inputValues(graph, 9);
    const wanted = evaluate(graph, values);
    for (const [name, got] of interpretProgram(program, values))
      expect(excess(got, wanted.get(name)!.data, 2e-4, 2e-3), name).toBeLessThanOrEqual(0);
  });

  test("logits that are asked for are not cut", () => {
    const asked = nodesOf(graph).find((n) => n.type.axes.at(-1)?.name === "vocab" && n.op === "contract")!;
    const whole = makeGraph("g", [...graph.outputs, { name: "logits", node: asked }]);
    expect(chunkProducts({ least: logits / 4 }).run(whole)).toBe(whole);
  });

  test("small products are not either", () => {
    expect(compileFor(graph, plain.facts).kernels).toHaveLength(plain.kernels.length);
    expect(chunkProducts({ least: 2 ** 28 }).run(graph)).toBe(graph);
  });
});
