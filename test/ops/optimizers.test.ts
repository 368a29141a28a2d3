/**
 * Every update rule beside its formula in float64, by every executor; what is kept and resumed; a rule of a user's own.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor, inputName, printGraph, type SizedAxis } from "../../compiler/index.ts";
import {
  adam,
  adamw,
  add,
  axis,
  constantRate,
  cosine,
  defineStage,
  input,
  lamb,
  lion,
  mul,
  type Optimizer,
  optimizerState,
  sgd,
  sub,
  sum,
  trainingStep,
  type UpdateRule,
  uniform,
  updateRule,
} from "../../dsl/index.ts";
import { loadNewestCheckpoint, type TrainingJob, train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { execute, executorNames } from "../support/executors.ts";
import { excess, seeded } from "../support/samples.ts";

const [row, column, place] = [axis("row", 5), axis("column", 7), axis("place", 67)];
const lengths = { a: 35, b: 67, c: 1 };
type Name = keyof typeof lengths;
const names = Object.keys(lengths) as Name[];

/**
 * Σ w·x over three tensors, so that the gradient of each w is its x to the bit. `a` alone decays, `b` learns at twice
 * the rate.
 */
const step = (rule: UpdateRule, changes: Partial<Optimizer> = {}, largestArena?: number) =>
  trainingStep(
    defineStage({
      name: "sums",
      loss: (p) => {
        const of = <A extends string>(name: Name, axes: readonly ReturnType<typeof axis<A>>[]) => {
          const product = mul(p.parameter(name, axes, uniform(-1, 1)), input(`x_${name}`, "f32", axes));
          return (axes.length === 0 ? product : sum(product, axes)) as never;
        };
        return { loss: add(add(of("a", [row, column]), of("b", [place])), of("c", [])) as never };
      },
      optimizer: {
        rule,
        rate: constantRate(0.01),
        weightDecay: 0.1,
        decays: (name) => name === "a",
        rateScale: (name) => (name === "b" ? 2 : 1),
        ...changes,
      },
    }),
    largestArena,
  );

type Formula = (now: {
  readonly w: readonly number[];
  readonly g: readonly number[];
  readonly state: Readonly<Record<string, readonly number[]>>;
  readonly t: number;
  readonly rate: number;
  readonly decay: number;
}) => { readonly w: number[]; readonly state: Record<string, number[]> };

const norm = (x: readonly number[]) => Math.hypot(...x);

/** m̂ / (√v̂ + ε), and both moments. */
function moments(g: readonly number[], state: Readonly<Record<string, readonly number[]>>, t: number, epsilon: number) {
  const mean = g.map((gi, i) => 0.9 * state.mean![i]! + 0.1 * gi);
  const square = g.map((gi, i) => 0.999 * state.square![i]! + 0.001 * gi * gi);
  const direction = mean.map((m, i) => m / (1 - 0.9 ** t) / (Math.sqrt(square[i]! / (1 - 0.999 ** t)) + epsilon));
  return { direction, state: { mean, square } };
}

/** With L2 regularization, a velocity of gradients; PyTorch's documentation of SGD. */
const descent =
  (momentum: number, nesterov: boolean): Formula =>
  ({ w, g, state, rate, decay }) => {
    const decayed = g.map((gi, i) => gi + decay * w[i]!);
    if (momentum === 0) return { w: w.map((wi, i) => wi - rate * decayed[i]!), state: {} as Record<string, number[]> };
    const velocity = decayed.map((d, i) => momentum * state.velocity![i]! + d);
    const direction = nesterov ? decayed.map((d, i) => d + momentum * velocity[i]!) : velocity;
    return { w: w.map((wi, i) => wi - rate * direction[i]!), state: { velocity } };
  };

const rules: Readonly<Record<string, { readonly rule: UpdateRule; readonly formula: Formula }>> = {
  adamw: {
    rule: adamw(),
    formula: ({ w, g, state, t, rate, decay }) => {
      const { direction, state: after } = moments(g, state, t, 1e-8);
      return { w: w.map((wi, i) => wi - rate * direction[i]! - rate * decay * wi), state: after };
    },
  },
  adam: {
    rule: adam(),
    formula: ({ w, g, state, t, rate, decay }) => {
      const decayed = g.map((gi, i) => gi + decay * w[i]!);
      const { direction, state: after } = moments(decayed, state, t, 1e-8);
      return { w: w.map((wi, i) => wi - rate * direction[i]!), state: after };
    },
  },
  lamb: {
    rule: lamb(),
    formula: ({ w, g, state, t, rate, decay }) => {
      const { direction, state: after } = moments(g, state, t, 1e-6);
      const decayed = direction.map((d, i) => d + decay * w[i]!);
      const trust = norm(w) > 0 && norm(decayed) > 0 ? norm(w) / norm(decayed) : 1;
      return { w: w.map((wi, i) => wi - rate * trust * decayed[i]!), state: after };
    },
  },
  lion: {
    rule: lion(),
    formula: ({ w, g, state, rate, decay }) => ({
      w: w.map((wi, i) => wi - rate * (Math.sign(0.9 * state.mean![i]! + 0.1 * g[i]!) + decay * wi)),
      state: { mean: g.map((gi, i) => 0.99 * state.mean![i]! + 0.01 * gi) },
    }),
  },
  sgd: { rule: sgd(), formula: descent(0, false) },
  momentum: { rule: sgd({ momentum: 0.9 }), formula: descent(0.9, false) },
  nesterov: { rule: sgd({ momentum: 0.9, nesterov: true }), formula: descent(0.9, true) },
};

/** Gradients of update `t`, f32; some are 0. */
function gradients(t: number): Record<Name, number[]> {
  const next = seeded(t);
  const draw = (n: number) => Array.from({ length: n }, (_, i) => (i % 11 === 3 ? 0 : Math.fround(2 * next() - 1)));
  return { a: draw(35), b: draw(67), c: draw(1) };
}

/** Updates of a rule by an executor, and by its formula: parameters and state after each. */
async function updates(
  run: (
    graph: ReturnType<typeof step>["graph"],
    values: Map<string, Float64Array>,
  ) => Promise<ReadonlyMap<string, ArrayLike<number>>>,
  compiled: ReturnType<typeof step>,
  formula: Formula,
  count: number,
  start: (name: Name) => number[],
) {
  const { graph, arenas, rule } = compiled;
  let now = Object.fromEntries(
    names.map((name) => {
      const state = Object.keys(rule.state).map((s) => [s, new Array<number>(lengths[name]).fill(0)]);
      return [name, { w: start(name), state: Object.fromEntries(state) as Record<string, number[]> }];
    }),
  ) as Record<Name, ReturnType<Formula>>;
  const held = new Map<string, Float64Array>();
  const packed = (layout: (typeof arenas)[number]["layout"], of: (name: Name) => readonly number[]) => {
    const values = new Float64Array(layout.size);
    for (const e of layout.entries) values.set(of(e.name as Name), e.offset);
    return values;
  };
  for (const { layout, parameters, state } of arenas) {
    held.set(parameters, packed(layout, start));
    for (const name of Object.values(state)) held.set(name, new Float64Array(layout.size));
  }
  held.set("train.step", Float64Array.of(0));
  const worst: number[] = [];
  for (let t = 1; t <= count; t++) {
    const g = gradients(t);
    now = Object.fromEntries(
      names.map((n) => [
        n,
        formula({ ...now[n], g: g[n], t, rate: n === "b" ? 0.02 : 0.01, decay: n === "a" ? 0.1 : 0 }),
      ]),
    ) as typeof now;
    const feeds = names.map((n): [string, Float64Array] => [`x_${n}`, Float64Array.from(g[n])]);
    const outputs = await run(graph, new Map([...held, ...feeds]));
    for (const [output, state] of Object.entries(graph.updates))
      held.set(state, Float64Array.from(outputs.get(output)!));
    for (const { layout, parameters, state } of arenas)
      for (const { name, offset, length } of layout.entries) {
        const of = (stored: string) => held.get(stored)!.slice(offset, offset + length);
        worst.push(excess(of(parameters), now[name as Name].w, 2e-6, 2e-6));
        for (const [s, stored] of Object.entries(state))
          worst.push(excess(of(stored), now[name as Name].state[s]!, 1e-7, 2e-6));
      }
  }
  return Math.max(...worst);
}

const drawn = (name: Name) => {
  const next = seeded(name.charCodeAt(0));
  return Array.from({ length: lengths[name] }, () => Math.fround(next() - 0.5));
};

describe.each(Object.entries(rules))("%s", (label, { rule, formula }) => {
  gpuTest.for(executorNames)("moves parameters as its formula says, by %s", async (executor, { gpu }) => {
    const run = (graph: ReturnType<typeof step>["graph"], values: Map<string, Float64Array>) =>
      execute(executor, gpu, graph, values);
    expect(await updates(run, step(rule), formula, 4, drawn)).toBeLessThanOrEqual(0);
  });

  gpuTest("does so over several arenas, and from zeros", async ({ gpu }) => {
    const run = (graph: ReturnType<typeof step>["graph"], values: Map<string, Float64Array>) =>
      execute("reference", gpu, graph, values);
    const compiled = step(rule, {}, 192);
    expect(compiled.arenas.length).toBe(2);
    const zeros = (name: Name) => new Array<number>(lengths[name]).fill(0);
    expect(await updates(run, compiled, formula, 3, zeros)).toBeLessThanOrEqual(0);
  });

  it("is this graph", () =>
    expect(printGraph(step(rule).graph)).toMatchFileSnapshot(`golden/optimizers/${label}.graph`));
});

describe("a run", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "optimizers-"));
  });
  afterEach(async () => await rm(folder, { recursive: true }));

  const job = (steps: number, rule: UpdateRule): TrainingJob => ({
    seed: 5,
    steps,
    sizes: {},
    checkpointEvery: 100,
    step: step(rule, { rate: cosine({ peak: 0.05, steps: 6 }), clip: 1 }),
    async *batches(cursor) {
      for (let t = (cursor as number | undefined) ?? 1; ; t++) {
        const g = gradients(t);
        const feed = (name: Name, axes: readonly unknown[]): [string, HostTensor] => [
          `x_${name}`,
          hostTensor("f32", axes as SizedAxis[], g[name]),
        ];
        yield { feeds: Object.fromEntries([feed("a", [row, column]), feed("b", [place]), feed("c", [])]), next: t + 1 };
      }
    },
  });
  const run = async (at: string, steps: number, rule: UpdateRule, backend: Backend, resume = false) => {
    await mkdir(join(folder, at), { recursive: true });
    return await train(job(steps, rule), { folder: join(folder, at), backend, resume, note: () => {} });
  };

  it.each(Object.entries(rules))("with %s goes on on cpu bit by bit where it stopped", async (_, { rule }) => {
    const backend = await cpuBackend();
    const whole = await run("whole", 5, rule, backend);
    await run("parts", 2, rule, backend);
    const parts = await run("parts", 5, rule, backend, true);
    expect(parts.losses).toEqual(whole.losses);
    expect([...parts.weights]).toEqual([...whole.weights]);
    backend.dispose();
  });

  it("is not resumed with another rule", async () => {
    await run("adam", 2, adam(), referenceBackend());
    await expect(run("adam", 4, adamw(), referenceBackend(), true)).rejects.toThrow(
      "the run to resume uses optimizer adam, but the job uses adamw: resume with the original optimizer",
    );
  });

  /** Zhang et al. 2019, arXiv:1907.08610, with k = 1: weights pulled towards a slow copy, which follows them. */
  const lookahead = updateRule({
    name: "lookahead",
    state: { slow: "parameter" },
    update: ({ parameter, gradient, state, rate }) => {
      const fast = sub(parameter, mul(rate, gradient));
      const slow = add(state.slow, mul(sub(fast, state.slow), 0.5));
      return { parameter: slow, state: { slow } };
    },
  });

  it("keeps what a user's own rule declares, from what it starts as", async () => {
    const backend = referenceBackend();
    const first = await run("own", 1, lookahead, backend);
    const loaded = (await loadNewestCheckpoint(join(folder, "own", "checkpoints"), () => {}))!;
    expect(Object.keys(loaded.groups).sort()).toEqual(["model", "optimizer-slow"]);
    const slow = (await loaded.groups["optimizer-slow"]!.readTensor("b")).data as Float32Array;
    await loaded.dispose();
    expect(excess(slow, first.weights.get("b")!.data as Float32Array, 1e-7, 0)).toBeLessThanOrEqual(0);
    const more = await run("own", 3, lookahead, backend, true);
    expect(
      excess(
        more.losses.map((l) => l.loss),
        (await run("own-whole", 3, lookahead, backend)).losses.map((l) => l.loss),
        1e-6,
        1e-6,
      ),
    ).toBeLessThanOrEqual(0);
  });
});

describe("a rule", () => {
  const own = (state: Record<string, number>, made: string) =>
    updateRule<string>({
      name: "own",
      state,
      update: ({ parameter, gradient }) => ({ parameter, state: { [made]: gradient } }),
    });

  it("names its state in words that stores and files can have", () => {
    expect(() => own({ Mean: 0 }, "Mean")).toThrow('rule "own": "Mean" is not a valid state name');
    expect(() => own({ step: 0 }, "step")).toThrow('the state name "step" is already used');
    expect(() => step(own({ mean: 0 }, "average"))).toThrow(
      'rule "own" declares the states [mean], but its update returns [average]',
    );
  });

  it("is not given settings of Adam that would not act", () => {
    expect(() => step(lion(), { beta1: 0.8 })).toThrow(
      'stage "sums": beta1 has no effect with a rule; write it as lion({ beta1: 0.8 })',
    );
  });

  it("without state keeps none", () => {
    const { graph, arenas } = step(sgd());
    expect(arenas[0]!.state).toEqual({});
    expect(graph.inputs.map(inputName)).not.toContain(optimizerState("mean"));
  });

  it("says how far weights decay where the stage does not", () => {
    const undecided = (rule?: UpdateRule) =>
      printGraph(step(rule as UpdateRule, { weightDecay: undefined } as Partial<Optimizer>).graph);
    expect(undecided()).toBe(printGraph(step(adamw(), { weightDecay: 0.01 }).graph));
    expect(undecided(lion())).toBe(printGraph(step(lion(), { weightDecay: 0 }).graph));
  });
});
