/** Flamingo with pictures between words beside a PyTorch after the paper (scripts/reference/flamingo_writing.py). */
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { byteTokenizer } from "../../data/index.ts";
import { configure, type JsonRecord, type Model, trace } from "../../dsl/index.ts";
import { flamingoCodec, flamingoModels } from "../../models/index.ts";
import {
  done,
  expectConverted,
  expectExported,
  factsOf,
  folderOf,
  rowsOf,
  sizedBy,
  weightsIn,
} from "./checkpoint-folder.ts";
import { executors, runOnce } from "./executors.ts";
import { difference } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = folderOf("flamingo");
const want = factsOf<{
  readonly texts: number[][];
  readonly pixels: number[][];
  readonly logits: number[];
  readonly alone: number[];
  readonly after: number[];
}>(folder);
const json = factsOf<JsonRecord>(folder, "config.json");
const record = flamingoModels[1];
const model = sizedBy(record as unknown as Model, folder);
const config = model.config as unknown as typeof record.config;
const picture = (name: string) => join(folder, name);

describe("Flamingo with pictures", () => {
  test.each(executors)("has the same scores of texts with two pictures and one on $name", async (executor) => {
    const graph = trace(model);
    const feeds = {
      pixels: rowsOf("f32", { batch: 3, channel: 3, row: 8, column: 8 }, want.pixels),
      ids: rowsOf("i32", { batch: 2, token: 8 }, want.texts),
    };
    const { logits } = await runOnce(executor, graph, feeds, await weightsIn(folder, graph, model));
    const [vocab, row] = [config.text.vocab, 8 * config.text.vocab];
    const last = [0, 1].flatMap((i) => [...logits!.data.subarray((i + 1) * row - vocab, (i + 1) * row)]);
    expect(difference(last, want.logits)).toBeLessThan(executor.tolerance);
  });

  test.each([
    ["alone", "cpu", []],
    ["after", "cpu", [`${picture("fox.png")}=a fox`, `${picture("sea.png")}=the sea`]],
  ] as const)("writes the same words of a picture %s on %s", async (which, device, examples) => {
    const tokens = want[which];
    const how = ["--image", picture("boat.png"), "--max-tokens", String(tokens.length), "--fit", "squash"];
    const shown = examples.flatMap((example) => ["--example", example]);
    const said = await done(
      ...["run", folder, "--device", device, "--tokenizer", "bytes", "--json", "caption", ...how, ...shown],
    );
    const text = byteTokenizer.decode(tokens).trim();
    expect(JSON.parse(said)).toMatchObject([{ tokens, text }]);
  });
});

describe("checkpoints of Flamingo", () => {
  test("are converted there and back", () => expectConverted(folder));

  test.each(["prefill", "decode"])("are exported and verified: %s", (graph) =>
    expectExported(folder, "f32", "--graph", graph),
  );

  test("have a config.json that is obeyed, or refused by name", () => {
    expect(config).toMatchObject({
      vision: { width: 8, depth: 2, image: 8, activation: "quick_gelu" },
      ...{ places: 4, times: 2, latents: 3, imageToken: 260, endToken: 261 },
      ...{ gated: { every: 2, heads: 2, headDim: 5, mlp: 10 }, text: { width: 12, vocab: 264 } },
    });
    expect(flamingoCodec.notes!(json)).toEqual([]);
    expect(flamingoCodec.read(flamingoCodec.write(config)!, record.config)).toEqual(config);
    for (const { config: own } of flamingoModels)
      expect(flamingoCodec.read(flamingoCodec.write(own)!, record.config)).toEqual(own);
  });

  test.each([
    [undefined, { only_attend_immediate_media: false }],
    [undefined, { use_media_placement_augmentation: true }],
    ["text_config", { model_type: "llama" }],
    ["text_config", { scale_attn_by_inverse_layer_idx: true }],
    ["vision_config", { hidden_act: "relu" }],
    ["perceiver_config", { ff_activation: "gelu" }],
    ["perceiver_config", { ff_mult: 0.3 }],
    ["perceiver_config", { max_num_media: 3 }],
    ["gated_cross_attn_config", { ff_activation: undefined }],
    ["gated_cross_attn_config", { first_layer: 1 }],
  ] as const)("of another kind are refused: %s %j", (part, changed) => {
    const wrong =
      part === undefined ? { ...json, ...changed } : { ...json, [part]: { ...(json[part] as object), ...changed } };
    expect(() => flamingoCodec.read(wrong, record.config)).toThrow(`"${Object.keys(changed)[0]!}"`);
  });

  test("whose features do not fit the tower are told so, and pictures need a tower", () => {
    const prefill = (settings: object) => () => trace(record, configure(record, settings), { graph: "prefill" });
    expect(prefill({})).toThrow(/vision.depth is 0, .*\(--set clip\)/);
    expect(prefill({ ...record.configs!.clip, places: 100 })).toThrow("places is 100, but an image has 256 patches");
    expect(prefill(record.configs!.clip!)).not.toThrow();
  });
});
