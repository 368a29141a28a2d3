/** EVA-CLIP: towers beside timm (scripts/reference/clip.py), totals, names of tensors. */
import { describe, expect, test } from "vitest";
import { layoutsOf } from "../../cli/parameters.ts";
import { countParameters, type Graph, makeGraph } from "../../compiler/index.ts";
import { type Axis, axis, checkpointLayout, imageAxes, input, mul, rootParams, sum, trace } from "../../dsl/index.ts";
import {
  type EvaConfig,
  evaFamily,
  evaLayouts,
  evaVectors,
  timmApartRules,
  timmJoinedRules,
} from "../../models/index.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { joinedDifference, joinedWeights } from "./joined.ts";
import { type Digest, difference, feedsOf, keepDraws, loadFixture, tensorOf, withGradients } from "./support.ts";

const find = (name: string) => evaFamily.find((m) => m.name === name)!;

describe("the published models", () => {
  // Tensors and parameters of open_clip's models of the same sizes.
  test.each([
    ["eva01-clip-g-14", 678, 1_136_435_841],
    ["eva02-clip-b-16", 410, 149_691_137],
    ["eva02-clip-l-14", 662, 427_755_457],
    ["eva02-clip-e-14", 1134, 4_704_589_569],
    ["eva02-clip-e-14-plus", 1230, 5_044_889_089],
  ])("%s is %i tensors of %i parameters in both layouts", (name, tensors, parameters) => {
    const graph = trace(find(name));
    expect(countParameters(graph).parameters).toBe(parameters);
    const layouts = layoutsOf(graph, find(name));
    expect(layouts.map((places) => new Set(places.map((t) => t.name)).size)).toEqual([tensors, tensors]);
  });

  test("have the names and shapes of their checkpoints", () => {
    const shapes = (name: string, layout: number) =>
      new Map(checkpointLayout(trace(find(name)), evaLayouts[layout]!).map((t) => [t.name, t.shape] as const));
    const [e, l, own] = [shapes("eva02-clip-e-14", 0), shapes("eva02-clip-l-14", 1), shapes("eva02-clip-l-14", 3)];
    expect(e.get("visual.trunk.blocks.63.attn.qkv.weight")).toEqual([3 * 1792, 1792]);
    expect(e.get("visual.trunk.blocks.63.attn.q_bias")).toEqual([1792]);
    expect(e.get("visual.trunk.pos_embed")).toEqual([1, 257, 1792]);
    expect(e.get("text.transformer.resblocks.23.attn.in_proj_weight")).toEqual([3 * 1024, 1024]);
    expect(l.get("visual.trunk.blocks.0.attn.v_proj.bias")).toEqual([1024]);
    expect(l.get("visual.trunk.blocks.0.mlp.fc1_g.weight")).toEqual([2730, 1024]);
    expect(own.get("visual.blocks.0.mlp.w3.weight")).toEqual([1024, 2730]);
    expect(own.get("visual.blocks.0.attn.inner_attn_ln.weight")).toEqual([1024]);
    expect(own.get("visual.head.weight")).toEqual([768, 1024]);
    expect(l.has("visual.trunk.blocks.0.attn.k_proj.bias")).toBe(false);
  });
});

interface Facts {
  readonly vision: Omit<EvaConfig, "blocks" | "dropPath" | "epsilon">;
  readonly embed: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
  /** The same in training with part of the patches, chosen by the draws of the input "keep". */
  readonly kept: Pick<Facts, "loss" | "gradients"> & { readonly part: number };
}

/** The energy of a tower's vectors as a loss; in training if a part of the patches is kept. */
function towerGraph({ vision, embed }: Facts, blocks: string, keep?: number): Graph {
  const { channel, row, column } = imageAxes(vision.image as number);
  const pixels = input("pixels", "f32", [axis("batch", "batch"), channel, row, column]);
  const config = { ...vision, blocks, dropPath: 0, epsilon: 1e-6 } as EvaConfig;
  const p = rootParams({ training: keep !== undefined });
  const vectors = evaVectors(p, pixels, config, axis("feature", embed), [], keep);
  return makeGraph("eva", [
    { name: "vectors", node: vectors },
    { name: "loss", node: mul(sum(mul(vectors, vectors), vectors.type.axes as Axis<"batch" | "feature">[]), 0.5) },
  ]);
}

const cases = (["pre-norm", "post-norm", "sub-norm"] as const).flatMap((blocks) =>
  allExecutors.map((executor) => ({ blocks, on: executor.name, executor })),
);

test.each(cases)("vectors and every gradient of $blocks blocks are those of timm on $on", async (given) => {
  const { blocks, executor } = given;
  const fixture = await loadFixture<Facts>(`eva-${blocks}`);
  const rules = blocks === "sub-norm" ? timmApartRules : timmJoinedRules;
  const graph = towerGraph(fixture.facts, blocks);
  const weights = await joinedWeights(`eva-${blocks}`, graph, rules);
  const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), weights);
  expect(difference(got.vectors!.data, tensorOf(fixture, "expected/vectors").data)).toBeLessThan(executor.tolerance);
  expect(difference(got.loss!.data, [fixture.facts.loss])).toBeLessThan(executor.tolerance);
  const worst = await joinedDifference(got, fixture.facts.gradients, graph, rules);
  expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
});

test.each(["pre-norm", "post-norm", "sub-norm"] as const)(
  "%s blocks of the same kept patches learn as timm's do",
  async (blocks) => {
    const [executor] = executors;
    const fixture = await loadFixture<Facts>(`eva-${blocks}`);
    const rules = blocks === "sub-norm" ? timmApartRules : timmJoinedRules;
    const { kept } = fixture.facts;
    const graph = towerGraph(fixture.facts, blocks, kept.part);
    const weights = await joinedWeights(`eva-${blocks}`, graph, rules);
    const feeds = { ...feedsOf(fixture, graph), keep: keepDraws(fixture) };
    const got = await runOnce(executor!, withGradients(graph), feeds, weights);
    expect(difference(got.loss!.data, [kept.loss])).toBeLessThan(executor!.tolerance);
    expect(Math.abs(kept.loss / fixture.facts.loss - 1)).toBeGreaterThan(1e-3);
    const worst = await joinedDifference(got, kept.gradients, graph, rules);
    expect(worst.difference, worst.name).toBeLessThan(10 * executor!.tolerance);
  },
);
