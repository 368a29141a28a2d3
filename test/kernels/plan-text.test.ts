/** Fusion plans as text: they read back to the same plan, and to the same program. */
import { describe, expect, it, test } from "vitest";
import { runStages } from "../../compiler/driver/index.ts";
import { samePlan } from "../../compiler/fusion/same-plan.ts";
import { parsePlan } from "../../compiler/fusion/text/parse-plan.ts";
import { printPlan } from "../../compiler/fusion/text/print-plan.ts";
import { type Graph, parseGraph } from "../../compiler/index.ts";
import { planForm, webgpuStages } from "../../compiler/pipelines/webgpu.ts";
import { fuzzCase } from "../fuzz/random-case.ts";
import { classifierStep, type VitSizes } from "./models.ts";
import { adapters } from "./support.ts";

const sizes: VitSizes = { batch: 2, tokens: 5, width: 8, heads: 2, mlp: 16, depth: 2 };
const models: Readonly<Record<string, () => Graph>> = { "a training step": () => classifierStep(sizes) };

/** The plan after fusion, in-place decisions and ordering. */
function planOf(graph: Graph, adapter: string) {
  const stages = webgpuStages(adapters[adapter]!);
  const last = stages.findLastIndex((s) => s.to === planForm);
  return runStages(graph, stages.slice(0, last + 1), planForm);
}

describe.each(Object.keys(adapters))("plans for a %s adapter", (adapter) => {
  it.each(Object.keys(models))("of %s read back", (name) => {
    const plan = planOf(models[name]!(), adapter);
    const text = printPlan(plan);
    const again = parsePlan(text);
    expect(samePlan(plan, again)).toBe(true);
    expect(printPlan({ ...again, misses: plan.misses })).toBe(text);
  });

  test("of random graphs, with states, gradients, concatenations and open sizes, read back", () => {
    for (let seed = 0; seed < 60; seed++) {
      const plan = planOf(fuzzCase(seed).graph, adapter);
      expect(samePlan(plan, parsePlan(printPlan(plan))), `seed ${seed}`).toBe(true);
    }
  });
});

const graph = parseGraph(`graph @g(state %m: f32[a=2, b=3], %x: f32[a=2, b=3], %w: f32[b=3, c=2]) {
  %0 = contract %x, %w over [b] : f32[a=2, c=2]
  %1 = exp %0 : f32[a=2, c=2]
  %2 = concat %1, %0 axis c : f32[a=2, c=4]
  %3 = add %m, %x : f32[a=2, b=3]
  %4 = sin %3 : f32[a=2, b=3]
  %5 = contract %4, %w over [b] : f32[a=2, c=2]
  return %2 as y, %5 as z, %3 as next updates m
}
`);

test("says what is in which kernel, where values lie, and what was nearly fused", async () => {
  await expect(printPlan(planOf(graph, "gpu"))).toMatchFileSnapshot("golden/plan.txt");
});

test("all mistakes of a plan are reported at once, each with its line", async () => {
  const text = printPlan(planOf(graph, "gpu"));
  const spoiled = text
    .replace("reads %x", "reeds %x")
    .replace("kernel contraction group 0", "kernel contraction group 7")
    .replace(/stores %0 in %2/, "stores %nothing in %2");
  expect(spoiled).not.toBe(text);
  let message = "";
  try {
    parsePlan(spoiled, "plan.txt");
  } catch (error) {
    message = String(error);
  }
  await expect(message).toMatchFileSnapshot("golden/plan-mistakes.txt");
});
