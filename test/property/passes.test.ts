/**
 * Passes on random graphs: meaning is kept, a second run changes nothing, and every rule is right on its own example.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  bindSizes,
  canonicalize,
  fold,
  fuseAttention,
  type Graph,
  makeGraph,
  type Node,
  ops,
  type Pass,
  prune,
  rewrite,
  sameGraph,
  topological,
} from "../../compiler/index.ts";
import { graphArbitrary, inputValues, type RandomGraphOptions, symbolValues } from "../support/random-graph.ts";
import { runPasses } from "../support/run-passes.ts";
import { excess } from "../support/samples.ts";

/** Scalings that merge and constants that fold are rounded to f32; nothing else may differ from float64. */
const tolerance = { absolute: 2e-4, relative: 1e-4 };

function expectSameMeaning(before: Graph, after: Graph, seed: number): void {
  const [a, b] = [bindSizes(before, symbolValues), bindSizes(after, symbolValues)];
  const values = inputValues(a, seed);
  const [want, got] = [evaluate(a, values), evaluate(b, values)];
  for (const [name, { data }] of want) {
    const over = excess(got.get(name)!.data, data, tolerance.absolute, tolerance.relative);
    expect(over, name).toBeLessThanOrEqual(0);
  }
}

const kinds: Readonly<Record<string, RandomGraphOptions>> = {
  "any ops": { maxSteps: 16 },
  "movement alone": { maxSteps: 25, symbols: true, ops: (r) => r.kind === "movement" },
  arithmetic: { maxSteps: 25, ops: (r) => r.kind === "elementwise" },
  "reductions of movement": { maxSteps: 20, ops: (r) => ["movement", "reduction", "contraction"].includes(r.kind) },
};

describe.each([canonicalize, fold, prune] as readonly Pass[])("$name", (pass) => {
  it.each(Object.entries(kinds))("keeps the meaning of graphs of %s", (_, options) => {
    const check = (g: Graph, seed: number) => expectSameMeaning(g, runPasses(g, [pass], { check: "all" }), seed);
    fc.assert(fc.property(graphArbitrary(options), fc.nat(), check), { numRuns: 60 });
  });

  it("gives the graph itself where it changes nothing", () => {
    const check = (g: Graph) => {
      const once = pass.run(g);
      expect(pass.run(once) === once).toBe(true);
    };
    fc.assert(fc.property(graphArbitrary({ maxSteps: 16 }), check), { numRuns: 60 });
  });
});

describe("every rule, on its own example", () => {
  it.each([...canonicalize.rules, ...fold.rules, ...fuseAttention.rules])("$name", ({ example, apply }) => {
    const before = makeGraph("example", [{ name: "y", node: example }]);
    const after = makeGraph("example", [{ name: "y", node: apply(example) as Node }], before.inputs);
    expectSameMeaning(before, after, 3);
  });
});

describe("rules are checked when they are built", () => {
  const { rule, tensor, number, nodeRule, rewritePass } = rewrite;
  const x = tensor({ a: 3 });

  it("a variable that the pattern does not bind", () => {
    const unbound = () => rule("r", { given: { x, y: x }, match: ({ x }) => ops.neg(x), replace: ({ y }) => y });
    expect(unbound).toThrow(`rule "r": the pattern does not bind y`);
  });

  it("a replacement of another type", () => {
    const narrower = () =>
      rule("r", { given: { x }, match: ({ x }) => ops.neg(x), replace: ({ x }) => ops.reduceSum(x, ["a"]) });
    expect(narrower).toThrow(`rule "r" makes f32[] of f32[a=3]`);
  });

  it("a guard that refuses the rule's own example", () => {
    const never = () =>
      rule("r", { given: { x }, match: ({ x }) => ops.neg(x), when: () => "never", replace: ({ x }) => x });
    expect(never).toThrow(`rule "r" leaves its own example: never`);
  });

  it("rules that undo each other are named, not run for ever", () => {
    const there = rule("there", { given: { x }, match: ({ x }) => ops.add(x, x), replace: ({ x }) => ops.mul(x, 2) });
    const back = rule("back", { given: { x }, match: ({ x }) => ops.mul(x, 2), replace: ({ x }) => ops.add(x, x) });
    const graph = makeGraph("g", [
      { name: "y", node: ops.add(there.example.operands[0]!, there.example.operands[0]!) },
    ]);
    expect(() => rewritePass("loop", [there, back]).run(graph)).toThrow(/pass "loop".*undo each other/);
  });

  it("a number variable binds attributes and constants of any dtype", () => {
    const halve = rule("halve", {
      given: { x, c: number(0.75) },
      match: ({ x, c }) => ops.mul(x, c),
      replace: ({ x, c }) => ops.add(x, c),
    });
    const half = ops.input("h", "f16", [{ name: "n", size: 2 }]);
    expect(halve.apply(ops.mul(ops.constant(3, "f16"), half))).toBe(ops.add(half, 3));
  });

  it("a node rule that leaves its own example", () => {
    expect(() => nodeRule("r", { example: () => ops.constant(1), rewrite: () => undefined })).toThrow("leaves its own");
  });
});

describe("what replaces a node", () => {
  it("is born where that was", () => {
    const a = ops.input("a", "f32", [{ name: "n", size: 4 }]);
    const before = makeGraph("g", [{ name: "y", node: ops.mul(ops.mul(a, 0.3), 0.7) }]);
    const after = canonicalize.run(before);
    const births = topological(after.outputs.map((o) => o.node)).filter((n) => n.op === "mul");
    expect(births.map((n) => n.birth)).toEqual([before.outputs[0]!.node.birth]);
    expect(sameGraph(before, after)).toBe(false);
  });
});
