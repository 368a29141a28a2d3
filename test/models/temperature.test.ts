/** The temperature of contrastive stages: what training leaves it, and that it comes back from beyond. */
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import {
  axis,
  constantInit,
  constantRate,
  defineStage,
  input,
  mul,
  type Stage,
  sgd,
  sum,
  trainingStep,
} from "../../dsl/index.ts";
import { stageOneLoss } from "../../models/index.ts";
import { initialValue } from "../../runtime/index.ts";
import { tinyConfig, tinyFeeds } from "../support/tiny-job.ts";

/** Losses of so many steps on one batch and the parameters after each, by name, in float64. */
async function run(
  stage: Stage,
  feeds: Readonly<Record<string, HostTensor>>,
  steps: number,
  from: Record<string, number>,
) {
  const step = trainingStep(stage);
  const backend = referenceBackend();
  const store = backend.createStore();
  const [arena] = step.arenas;
  const { layout } = arena!;
  const flat = (data: Float32Array) => hostTensor("f32", [{ name: "arena", size: layout.size }], data);
  const values = new Float32Array(layout.size);
  for (const node of step.trained) {
    const e = layout.entries.find((x) => x.name === node.attrs.name)!;
    if (e.name in from) values.fill(from[e.name]!, e.offset, e.offset + e.length);
    else values.set(initialValue(node, 3).data, e.offset);
  }
  await store.write(arena!.parameters, flat(values));
  for (const name of Object.values(arena!.state)) await store.write(name, flat(new Float32Array(layout.size)));
  for (const node of step.frozen) await store.write(String(node.attrs.name), initialValue(node, 3));
  await store.write(step.counter, hostTensor("i32", [], [0]));
  const executable = await backend.compile(step.graph, { sizes: { batch: 4 } });
  const [losses, after]: [number[], Record<string, number>[]] = [[], []];
  for (let i = 0; i < steps; i++) {
    losses.push((await executable.run(feeds, store)).loss!.data[0]!);
    const { data } = await store.read(arena!.parameters);
    after.push(Object.fromEntries(layout.entries.map((e) => [e.name, data[e.offset]!])));
  }
  return { losses, after };
}

/** Texts that are one text: no temperature tells them apart, so that the loss falls only as the temperature does. */
const alike = () => {
  const { pixels, ids } = tinyFeeds(0);
  const row = ids.data.slice(0, 5);
  return { pixels, ids: { ...ids, data: Int32Array.from(ids.data, (_, i) => row[i % 5]!) } };
};

const config = { ...tinyConfig, vision: { ...tinyConfig.vision, dropPath: 0 } };

const contrastive = (changes: Partial<Stage> = {}) =>
  defineStage({
    name: "contrastive",
    loss: (p) => stageOneLoss(p, config),
    optimizer: { rate: constantRate(0.02) },
    trainable: ["logit_scale"],
    ...changes,
  });

describe("the temperature", () => {
  it("comes down from beyond 100, where a clamp in the loss would hold it", async () => {
    const { pixels, ids } = tinyFeeds(0);
    const whole = contrastive({ trainable: ["**"] });
    const { losses, after } = await run(whole, { pixels, ids }, 40, { logit_scale: Math.log(100.5) });
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]!);
    expect(after.at(-1)!.logit_scale!).toBeLessThan(Math.log(100) - 0.01);
  });

  it("is at most 100 after a step that began beyond it, whichever way the gradient goes", async () => {
    const { after } = await run(contrastive(), tinyFeeds(0), 1, { logit_scale: Math.log(1000) });
    expect(after[0]!.logit_scale).toBeCloseTo(Math.log(100), 6);
    const low = await run(contrastive({ optimizer: { rate: constantRate(1) } }), alike(), 3, { logit_scale: 0.5 });
    for (const { logit_scale } of low.after) expect(logit_scale).toBeGreaterThanOrEqual(0);
  });

  it("has another range where a stage says so", async () => {
    const { after } = await run(contrastive({ clamps: { "logit_*": [1, 2] } }), tinyFeeds(0), 1, { logit_scale: 4 });
    expect(after[0]!.logit_scale).toBe(2);
  });
});

describe("a clamp", () => {
  const [wide, odd] = [axis("wide", 70), axis("odd", 3)];
  const loss: Stage["loss"] = (p) => {
    const of = <A extends string>(name: string, along: ReturnType<typeof axis<A>>) =>
      sum(mul(p.parameter(name, [along], constantInit(0)), input("x", "f32", [])), along);
    return { loss: mul(of("first", wide), of("second", odd)) as never };
  };
  const stage = (clamps: Stage["clamps"]) =>
    defineStage({ name: "own", loss, clamps, optimizer: { rule: sgd(), rate: constantRate(0) } });

  it("is of the parameters that it names, each within its own range", async () => {
    const feeds = { x: hostTensor("f32", [], [0]) };
    const { after } = await run(stage({ first: [-1, 1] }), feeds, 1, { first: 3, second: 3 });
    expect(after[0]).toEqual({ first: 1, second: 3 });
    const both = await run(stage({ first: [-1, 1], "*": [4, 5] }), feeds, 1, { first: -3, second: 3 });
    expect(both.after[0]).toEqual({ first: -1, second: 4 });
  });

  it("that would not act, or is no range, is refused", () => {
    expect(() => trainingStep(stage({ frist: [0, 1] }))).toThrow(
      'stage "own": the clamp "frist" matches no trained parameter',
    );
    for (const range of [
      [1, 0],
      [0, Number.POSITIVE_INFINITY],
      [Number.NaN, 1],
    ] as const)
      expect(() => trainingStep(stage({ first: range }))).toThrow("must be a range [low, high] of numbers");
  });
});
