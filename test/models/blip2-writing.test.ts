/**
 * BLIP-2 over OPT beside transformers (scripts/reference/blip2_writing.py), and what commands do with its checkpoints.
 */
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { countParameters, makeGraph } from "../../compiler/index.ts";
import { byteTokenizer } from "../../data/index.ts";
import {
  type AnyTensor,
  at,
  axisOf,
  checkpointLayout,
  logsumexp,
  type Model,
  mean,
  rootParams,
  sub,
  trace,
} from "../../dsl/index.ts";
import { blip2Codec, blip2HubRules, blip2Models, type QformerConfig, qformerCodec } from "../../models/index.ts";
import {
  done,
  expectConverted,
  expectExported,
  factsOf,
  folderOf,
  rowsOf,
  sizedBy,
  weightsIn,
  weightTypes,
} from "./checkpoint-folder.ts";
import { allExecutors, runOnce } from "./executors.ts";
import { type Digest, difference, gradientDifference, withGradients } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = folderOf("blip2");
const want = factsOf<{
  readonly pixels: number[];
  readonly prompt: number[];
  readonly logits: number[];
  readonly target: number;
  readonly gradients: Record<string, Digest>;
  readonly written: Record<string, number[]>;
}>(folder);
const model = sizedBy(blip2Models[0] as unknown as Model, folder);
const json = factsOf<Record<string, unknown>>(folder, "config.json");
const feeds = {
  pixels: rowsOf("f32", { batch: 1, channel: 3, row: 8, column: 8 }, want.pixels),
  input_ids: rowsOf("i32", { batch: 1, token: want.prompt.length }, want.prompt),
};

describe("BLIP-2 as transformers computes it", () => {
  test.each(allExecutors)("has the same scores after a picture and a prompt on $name", async (executor) => {
    const graph = trace(model);
    const { logits } = await runOnce(executor, graph, feeds, await weightsIn(folder, graph, model));
    expect(difference(logits!.data, want.logits)).toBeLessThan(executor.tolerance);
  });

  test.each(allExecutors)("has the same gradients on $name", async (executor) => {
    const { logits } = model.build(rootParams({ training: true }), model.config) as { readonly logits: AnyTensor };
    const vocab = axisOf(logits, "vocab");
    const losses = sub(logsumexp(logits, vocab), at(logits, vocab, want.target));
    const loss = mean(losses, [axisOf(losses, "batch"), axisOf(losses, "token")]);
    const graph = makeGraph("loss", [{ name: "loss", node: loss }]);
    const got = await runOnce(executor, withGradients(graph), feeds, await weightsIn(folder, graph, model));
    const worst = gradientDifference(got, want.gradients, checkpointLayout(graph, blip2HubRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });

  test.each(Object.keys(want.written))('writes the same caption of a picture file after "%s"', async (prompt) => {
    const tokens = want.written[prompt]!;
    const how = ["--image", join(folder, "picture.png"), "--prompt", prompt, "--max-tokens", String(tokens.length)];
    const said = await done("run", folder, "--device", "cpu", "--tokenizer", "bytes", "--json", "caption", ...how);
    expect(JSON.parse(said)).toMatchObject([{ tokens, text: byteTokenizer.decode(tokens).trim() }]);
    expect(new Set(tokens).size).toBeGreaterThan(4);
  });
});

describe("checkpoints of BLIP-2", () => {
  test("are converted there and back", () => expectConverted(folder));

  test.each(weightTypes)("are exported and verified in %s", (type) =>
    expectExported(folder, type, "--graph", "decode"),
  );

  test("have a config.json that is obeyed, or refused by name", () => {
    const { config } = model as unknown as { readonly config: Parameters<typeof blip2Codec.write>[0] };
    expect(config).toMatchObject({ vision: { width: 8, image: 8, patch: 4 }, qformer: { queries: 3 }, stop: 13 });
    expect(blip2Codec.notes!(json)).toEqual([]);
    expect(blip2Codec.read(blip2Codec.write(config)!, config)).toEqual(config);
    const text = json.text_config as object;
    for (const [part, changed] of [
      ["text_config", { model_type: "t5" }],
      ["text_config", { do_layer_norm_before: false }],
      ["text_config", { word_embed_proj_dim: 8 }],
      ["vision_config", { hidden_act: "relu" }],
      ["vision_config", { qkv_bias: false }],
      ["qformer_config", { encoder_hidden_size: 9 }],
      ["qformer_config", { position_embedding_type: "relative_key" }],
    ] as const) {
      const wrong = { ...json, [part]: { ...(json[part] as object), ...changed } };
      expect(() => blip2Codec.read(wrong, config)).toThrow(Object.keys(changed)[0]!);
    }
    expect(text).toMatchObject({ model_type: "opt" });
  });

  test("of the Q-Former that compares have its own", () => {
    const qformer = { ...(json.qformer_config as object), use_qformer_text_input: true, vocab_size: 30523 };
    const own = { ...json, qformer_config: qformer };
    expect([qformerCodec.describes!(own), blip2Codec.describes!(own)]).toEqual([true, false]);
    expect([qformerCodec.describes!(json), blip2Codec.describes!(json)]).toEqual([false, true]);
    expect(qformerCodec.read(own, { context: 32 } as QformerConfig)).toMatchObject({
      ...{ width: 12, depth: 3, queries: 3, vocab: 30523, context: 32, embed: 256 },
      ...{ visionTokens: 5, visionWidth: 8, visionEpsilon: 1e-6 },
    });
  });
});

test.each([
  // Blip2ForConditionalGeneration over OPT of these sizes.
  ["blip2-opt-2.7b", 1247, 3_744_679_936],
  ["blip2-opt-6.7b", 1247, 7_752_738_304],
])("%s has the parameters of transformers'", (name, joined, parameters) => {
  const found = countParameters(trace(blip2Models.find((m) => m.name === name)!));
  // Of each block of the encoder, queries, keys and values are apart here.
  expect(found).toMatchObject({ tensors: joined + 39 * 4, parameters });
});
