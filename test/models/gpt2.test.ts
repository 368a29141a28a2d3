/** GPT-2 beside transformers (scripts/reference/gpt2.py), and what commands do with its checkpoints. */
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { countParameters, hostTensor, makeGraph } from "../../compiler/index.ts";
import { checkpointLayout, rootParams, trace } from "../../dsl/index.ts";
import { type Gpt2Config, gpt2Codec, gpt2HeadRules, gpt2Loss, gpt2Models } from "../../models/index.ts";
import { heddle } from "../cli/support.ts";
import {
  done,
  expectConverted,
  expectExported,
  factsOf,
  inScratch,
  renamed,
  rowsOf,
  weightsIn,
  weightTypes,
  writtenCheckpoint,
} from "./checkpoint-folder.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { difference, gradientDifference, withGradients } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const { folder, want, model, config, token, feeds } = writtenCheckpoint<
  Gpt2Config,
  { readonly prompt: string; readonly promptTokens: number[] }
>("gpt2", gpt2Models[0]);

describe("GPT-2 as transformers computes it", () => {
  test.each(allExecutors)("has the same scores on $name", async (executor) => {
    const graph = trace(model);
    const { logits } = await runOnce(executor, graph, feeds, await weightsIn(folder, graph, model));
    const rows = [2, 6, token + 2, token + 6].flatMap((at) =>
      Array.from(logits!.data.subarray(at * config.vocab, (at + 1) * config.vocab)),
    );
    expect(difference(rows, want.logits)).toBeLessThan(executor.tolerance);
  });

  test.each(allExecutors)("has the same loss and gradients on $name", async (executor) => {
    const { loss } = gpt2Loss(rootParams({ training: true }), config);
    const graph = makeGraph("loss", [{ name: "loss", node: loss }]);
    const got = await runOnce(executor, withGradients(graph), feeds, await weightsIn(folder, graph, model));
    expect(difference(got.loss!.data, [want.loss])).toBeLessThan(executor.tolerance);
    const worst = gradientDifference(got, want.gradients, checkpointLayout(graph, gpt2HeadRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });

  test("writes the same tokens from the command line, where no token begins a text", async () => {
    const count = String(want.tokens.length);
    const out = await done(
      "run",
      folder,
      "--device",
      "cpu",
      "--json",
      "generate",
      "--prompt",
      want.prompt,
      "--max-tokens",
      count,
    );
    const { prompt, promptTokens, tokens } = want;
    expect(JSON.parse(out)).toMatchObject([{ prompt, promptTokens, tokens }]);
    const long = await heddle(
      "run",
      folder,
      "--device",
      "cpu",
      "generate",
      "--prompt",
      want.prompt,
      "--max-tokens",
      "19",
    );
    expect(long).toMatchObject({
      status: 1,
      err: expect.stringContaining("need 25 tokens; the model takes at most 24"),
    });
  });
});

describe("checkpoints of GPT-2", () => {
  test("are converted there and back", () => expectConverted(folder));

  test("are read without the prefix, masks beside them, as the published files lie there", () =>
    inScratch(async (at) => {
      const mask = ["a", "b", "c", "d"].map((name, i) => ({ name, size: i < 2 ? 1 : config.positions }));
      const ones = hostTensor("f32", mask, new Array(config.positions ** 2).fill(1));
      await renamed(folder, at, (name) => name.replace(/^transformer\./, ""), new Map([["h.0.attn.bias", ones]]));
      await expectConverted(at, folder);
      const saying = async (from: string) => (await heddle("convert", from, "--out", join(at, "again"))).err;
      expect(await saying(at)).toContain(
        "1 of 29 tensors are not part of gpt2-like and are not loaded: h.0.attn.bias\n",
      );
      expect(await saying(folder)).not.toContain("no place");
    }));

  test.each(weightTypes)("are exported and verified in %s", (type) =>
    expectExported(folder, type, "--graph", "decode"),
  );

  test("have a config.json that is obeyed or refused by field", () => {
    const json = factsOf<Record<string, unknown>>(folder, "config.json");
    expect(gpt2Codec.notes!(json)).toEqual([]);
    expect(gpt2Codec.read({ ...json, ...gpt2Codec.write(config) }, config)).toEqual(config);
    const usual = { ...json, n_inner: null };
    expect(gpt2Codec.read(usual, config).mlp).toBe(4 * config.width);
    for (const changed of [{ activation_function: "relu" }, { scale_attn_by_inverse_layer_idx: true }, { n_head: 0 }])
      expect(() => gpt2Codec.read({ ...json, ...changed }, config)).toThrow(`"${Object.keys(changed)[0]}"`);
  });
});

test.each([
  ["gpt2", 148, 124_439_808],
  ["gpt2-medium", 292, 354_823_168],
  ["gpt2-large", 436, 774_030_080],
  ["gpt2-xl", 580, 1_557_611_200],
])("%s has %i tensors and %i parameters", (name, tensors, parameters) => {
  const found = countParameters(trace(gpt2Models.find((m) => m.name === name)!));
  expect([found.tensors, found.parameters]).toEqual([tensors, parameters]);
});

test("a text of more tokens than there are positions is refused, and heads that do not share the width", async () => {
  const graph = trace(model);
  const long = { ids: rowsOf("i32", { batch: 1, token: 25 }, new Array(25).fill(1)) };
  const weights = await weightsIn(folder, graph, model);
  await expect(runOnce(executors[0]!, graph, long, weights)).rejects.toThrow(/token.*24/s);
  expect(() => trace(model, { heads: 5 })).toThrow(/width 12 is not divisible by 5 heads/);
});
