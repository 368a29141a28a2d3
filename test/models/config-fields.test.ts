/** Every field of a config.json that changes numbers is obeyed, or refused by its name; what is neither is told. */
import { describe, expect, test } from "vitest";
import { type HostTensor, hostTensor, makeGraph } from "../../compiler/index.ts";
import {
  type AnyTensor,
  axis,
  cast,
  gridPositions,
  input,
  mul,
  type RotaryOptions,
  rotary,
  rotaryGrid,
  sub,
  trace,
} from "../../dsl/index.ts";
import {
  bundledModels,
  causalRules,
  internvlFamily,
  type PublishedConfig,
  publishedConfigNotes,
  readChatConfig,
  readGenerativeConfig,
  readPublishedConfig,
  readTextConfig,
  readVisionConfig,
  writePublishedConfig,
} from "../../models/index.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import { difference, loadFixture, tensorOf, weightsOf } from "./support.ts";

interface Facts {
  readonly configs: Readonly<Record<string, PublishedConfig>>;
  readonly rows: number;
  readonly columns: number;
}
const fixture = await loadFixture<Facts>("rotary");
const language = bundledModels.find((m) => m.name === "vicuna-7b")!;
const { configs, rows, columns } = fixture.facts;
const llama = configs.plain!;

const named = (x: HostTensor, ...names: string[]) =>
  hostTensor(
    x.dtype,
    x.axes.map((a, i) => ({ name: names[i]!, size: a.size })),
    x.data,
  );

describe("the scores of a LLaMA are those of transformers", () => {
  const scores = async (json: PublishedConfig) => {
    const { kind, config } = readPublishedConfig(json);
    expect(kind).toBe("text");
    const graph = trace({ ...language, config: { ...config, context: 12 } });
    const feeds = { ids: named(tensorOf(fixture, "inputs/ids"), "batch", "token") };
    return (await runOnce(executors[0]!, graph, feeds, weightsOf(fixture, graph, causalRules))).logits!;
  };

  test.each(Object.entries(configs))("with a config of this kind: %s", async (name, json) => {
    const expected = tensorOf(fixture, `expected/${name}`);
    expect(difference((await scores(json)).data, expected.data)).toBeLessThan(1e-6);
    // And what is written of it reads back as the same.
    const { config } = readPublishedConfig(json);
    expect(readPublishedConfig(writePublishedConfig(config)!).config).toEqual(config);
    if (name === "plain") return;
    expect(difference(tensorOf(fixture, "expected/plain").data, expected.data)).toBeGreaterThan(0.01);
  });
});

describe("positions of a grid", () => {
  const [heads, patch, dim] = [axis("heads", 2), axis("patch", rows * columns), axis("dim", 12)];
  const x = named(tensorOf(fixture, "inputs/x"), "heads", "patch", "dim");

  const turned = async (row: AnyTensor, column: AnyTensor, options: RotaryOptions) => {
    const y = rotaryGrid(input("x", "f32", [heads, patch, dim]) as AnyTensor, { row, column }, dim, options);
    const graph = makeGraph("grid", [{ name: "y", node: y }]);
    return await Promise.all(allExecutors.map(async (e) => (await runOnce(e, graph, { x }, new Map())).y!));
  };

  test("turn interleaved pairs as EVA-02, and halves as DINOv3, on every executor", async () => {
    const { row, column } = gridPositions(patch, columns);
    // EVA-02 was trained on 4 × 4 patches, and a larger grid is squeezed into it.
    const squeezed = (place: AnyTensor, count: number) => mul(cast(place, "f32"), 4 / count);
    const eva = await turned(squeezed(row, rows), squeezed(column, columns), { pairs: "interleaved" });
    for (const y of eva) expect(difference(y.data, tensorOf(fixture, "expected/eva02").data)).toBeLessThan(1e-5);
    // DINOv3 has centres of patches from −1 to 1, in half turns.
    const centred = (place: AnyTensor, count: number) =>
      mul(sub(mul(cast(place, "f32"), 2 / count), 1 - 1 / count), 2 * Math.PI);
    const dino = await turned(centred(row, rows), centred(column, columns), { base: 100 });
    for (const y of dino) expect(difference(y.data, tensorOf(fixture, "expected/dinov3").data)).toBeLessThan(1e-5);
  });

  test("of one axis with interleaved pairs are those with halves, in another order", async () => {
    const [token, place] = [axis("token", 5), axis("dim", 6)];
    const at = input("at", "i32", [token]);
    const of = async (pairs: "half" | "interleaved", values: number[]) => {
      const y = rotary(input("x", "f32", [token, place]), at, place, { pairs, base: 50 });
      const feeds = {
        x: hostTensor("f32", [token, place] as never, values),
        at: hostTensor("i32", [token] as never, [0, 3, 1, 9, 2]),
      };
      return [...(await runOnce(executors[0]!, makeGraph("turn", [{ name: "y", node: y }]), feeds, new Map())).y!.data];
    };
    const values = Array.from({ length: 30 }, (_, i) => Math.sin(i * i));
    const order = [0, 3, 1, 4, 2, 5]; // element of halves at each place of interleaved pairs
    const swap = (v: readonly number[]) => v.map((_, i) => v[6 * Math.floor(i / 6) + order[i % 6]!]!);
    expect(await of("interleaved", swap(values))).toEqual(swap(await of("half", values)));
  });

  test("are refused where they cannot be", () => {
    const odd = axis("dim", 6);
    const q = input("q", "f32", [patch, odd]);
    const { row, column } = gridPositions(patch, columns);
    expect(() => rotaryGrid(q, { row, column }, odd)).toThrow(/axis "dim" has 6 elements: make it a multiple of 4/);
    expect(() => rotary(q, row, odd, { bass: 5 } as never)).toThrow(/rotary has no option "bass"; did you mean "base"/);
    expect(() => rotary(q, row, odd, { scaling: { type: "yarn" } as never })).toThrow(/unknown scaling "yarn"/);
    expect(() => rotary(q, row, odd, { pairs: "quarter" as never })).toThrow(/"half" or "interleaved", got "quarter"/);
  });
});

describe("a config.json", () => {
  const vision = { model_type: "intern_vit_6b", hidden_size: 6, num_hidden_layers: 1, num_attention_heads: 1 };
  const whole = { ...vision, intermediate_size: 4, image_size: 28, patch_size: 14 };
  const generative = { model_type: "internvl", vision_config: whole, qllama_config: llama, num_query_token: 3 };
  const llava = { ...llama, mm_hidden_size: 6, mm_projector_type: "mlp2x_gelu", vision_config: whole };

  test.each([
    [
      "rope_parameters",
      { rope_parameters: { rope_type: "yarn", factor: 2 } },
      /"rope_parameters" has the type "yarn"; only "default", "linear" and "llama3"/,
    ],
    ["dynamic scaling", { rope_scaling: { type: "dynamic", factor: 2 } }, /"rope_scaling" has the type "dynamic"/],
    ["longrope", { rope_scaling: { rope_type: "longrope", long_factor: [1] } }, /the type "longrope"/],
    ["a scaling without a type", { rope_scaling: { factor: 2 } }, /"rope_scaling" has the type null/],
    [
      "a scaling without a factor",
      { rope_scaling: { type: "linear" } },
      /"rope_scaling.factor" is missing; expected a number/,
    ],
    [
      "a field of another scaling",
      { rope_scaling: { type: "linear", factor: 2, beta_fast: 32 } },
      /"rope_scaling.beta_fast" is 32, which is not supported with the type "linear"/,
    ],
    [
      "a part of the head",
      { rope_parameters: { rope_type: "linear", factor: 2, partial_rotary_factor: 0.5 } },
      /partial_rotary_factor" is 0.5/,
    ],
    [
      "a part of the head beside it",
      { partial_rotary_factor: 0.25 },
      /"partial_rotary_factor" is 0.25; only 1 is supported/,
    ],
    [
      "a ramp upside down",
      {
        rope_scaling: {
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 4,
          high_freq_factor: 1,
          original_max_position_embeddings: 64,
        },
      },
      /low_freq_factor" is 4; expected less than "high_freq_factor", 1/,
    ],
    ["groups that are uneven", { num_key_value_heads: 2 }, /"num_key_value_heads" is 2; expected a divisor of 3 heads/],
    ["heads without pairs", { head_dim: 7 }, /"head_dim" is 7; expected an even number/],
    ["an activation", { hidden_act: "gelu" }, /"hidden_act" is "gelu"; only "silu" or "swish" is supported/],
    ["ties that are a number", { tie_word_embeddings: 1 }, /"tie_word_embeddings" is 1; expected a boolean/],
    ["a window", { sliding_window: 512 }, /"sliding_window" is 512; this is not supported/],
    ["quantized weights", { quantization_config: { bits: 4 } }, /"quantization_config" is {"bits":4}/],
    ["softcapping", { final_logit_softcapping: 30 }, /"final_logit_softcapping" is 30/],
    ["a bias that is a word", { mlp_bias: "yes" }, /"mlp_bias" is "yes"; expected a boolean/],
  ] as const)("with %s is refused by name", (_, given, message) => {
    expect(() => readTextConfig({ ...llama, ...given })).toThrow(message);
  });

  test("of another part is refused by name, all fields at once", () => {
    const read = () => readVisionConfig({ ...whole, qkv_bias: true, norm_type: "layer_norm" });
    expect(read).toThrow(/"qkv_bias" is true; only false is supported\n.*"norm_type" is "layer_norm"; only "rms_norm"/);
    expect(() => readGenerativeConfig({ ...generative, use_qllama_lora: 16 })).toThrow(
      /"use_qllama_lora" is 16; only 0/,
    );
    expect(() => readChatConfig({ ...llava, image_aspect_ratio: "anyres" })).toThrow(
      /"image_aspect_ratio" is "anyres"/,
    );
  });

  test("says nothing where all its fields are known", () => {
    for (const json of [...Object.values(configs), whole]) expect(publishedConfigNotes(json)).toEqual([]);
    for (const model of internvlFamily) {
      const json = writePublishedConfig(model.config);
      if (json) expect([model.name, publishedConfigNotes(json)]).toEqual([model.name, []]);
    }
  });

  test("is told of what nothing here obeys", () => {
    expect(publishedConfigNotes({ ...llama, attention_dropout: 0.1, new_thing: 3, off: false })).toEqual([
      `the language model's config: "attention_dropout" is 0.1; heddle trains with 0`,
      `the language model's config: "new_thing" (3) is unknown and ignored`,
    ]);
    expect(publishedConfigNotes({ ...generative, vision_config: { ...whole, dropout: 0.2 } })).toEqual([
      `the vision config: "dropout" is 0.2; heddle trains with 0`,
    ]);
  });

  test("of InternLM has biases where it does not say so, and its own record of the rotation", () => {
    const { attention_bias: _, ...rest } = llama;
    const internlm = { ...rest, model_type: "internlm", rotary: { base: 400, type: "dynamic" } };
    expect(readPublishedConfig(internlm).config).toMatchObject({ attentionBias: true, rotaryBase: 400 });
    expect(readPublishedConfig({ ...internlm, bias: false }).config).toMatchObject({ attentionBias: false });
    expect(publishedConfigNotes(internlm)).toEqual([
      expect.stringMatching(/"rotary.type" is "dynamic", which changes positions in texts of more than 2048/),
    ]);
    expect(() => readTextConfig({ ...internlm, rotary: { type: "xpos" } })).toThrow(/"rotary.type" is "xpos"/);
  });
});
