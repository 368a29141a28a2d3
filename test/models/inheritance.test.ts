/** Stages inherit from each other and from published checkpoints: which tensor goes where, and what is said of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Graph, type HostTensor, inputName, type Node } from "../../compiler/index.ts";
import { checkpointLayout, defineModel, resizedPositions, trace, trainingStep } from "../../dsl/index.ts";
import {
  bundledModels,
  type ChatQueriesConfig,
  type ContrastiveConfig,
  familyRules,
  type GenerativeConfig,
  internvit,
  internvitModels,
  internvlC,
  internvlCheckpoints,
  internvlG,
  pixelsInput,
  querySteps,
  segmentationLinear,
  segmentationTuning,
  stageOneFull,
  stageTwo,
} from "../../models/index.ts";
import {
  inheritWeights,
  initialValue,
  keptParameters,
  tensorsInLayout,
  tensorToWrite,
  writeModel,
  writeSafetensors,
} from "../../runtime/index.ts";
import { tinyConfig } from "../support/tiny-job.ts";
import { memoryWeights } from "../support/weights.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-inherit-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);

const stageOneConfig: ContrastiveConfig = tinyConfig;
const generative: GenerativeConfig = {
  ...tinyConfig,
  vision: { ...tinyConfig.vision, image: 12 },
  text: { ...tinyConfig.text, depth: 3, queries: 2, crossEvery: 2 },
};
const chat: ChatQueriesConfig = {
  vision: { ...tinyConfig.vision, image: 12 },
  qllama: generative.text,
  text: { ...tinyConfig.text, width: 18, vocab: 19 },
  features: -1,
};

const segmenter = { ...segmentationLinear, vision: { ...tinyConfig.vision, image: 12 }, blocks: [1], classes: 3 };
const seeded = (n: Node, seed: number) => initialValue(n, 0).data.map((_, i) => seed + 0.5 * i) as Float32Array;

const stepOf = (stage: { readonly stage: Parameters<typeof trainingStep>[0] }): Node[] => {
  const { trained, frozen } = trainingStep(stage.stage);
  return [...trained, ...frozen];
};
const one = stepOf(stageOneFull({ ...stageOneConfig, text: generative.text }));
const two = stepOf(stageTwo(generative));
const three = stepOf(querySteps[1]!(chat));
const namesOf = (nodes: readonly Node[]) => new Set(nodes.map(inputName));

const valuesOf = (graph: Pick<Graph, "inputs">, seed: number): Map<string, HostTensor> =>
  new Map(graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), initialValue(n, seed)]));
const writeOwn = (name: string, values: ReadonlyMap<string, HostTensor>) =>
  writeSafetensors(
    at(name),
    [...values].map(([n, t]) => tensorToWrite(n, t)),
  );
const writePublished = (name: string, graph: Graph, values: ReadonlyMap<string, HostTensor>) =>
  writeModel(at(name), tensorsInLayout(checkpointLayout(graph, familyRules), memoryWeights(values)));

const llama = bundledModels.find((m) => m.name === "vicuna-7b")!;
const llm = trace(llama, chat.text);
const multilingual = trace(llama, tinyConfig.text.depth === 3 ? tinyConfig.text : { ...tinyConfig.text, depth: 3 });
const [stageOneValues, llmValues, multilingualValues] = [
  valuesOf({ inputs: one }, 1),
  valuesOf(llm, 2),
  valuesOf(multilingual, 3),
];
const g = trace(internvlG, generative);
const gValues = valuesOf(g, 4);

beforeAll(async () => {
  await writeOwn("one.safetensors", stageOneValues);
  await writePublished("g", g, gValues);
  await writePublished("llm", llm, llmValues);
  await writePublished("multilingual", multilingual, multilingualValues);
});

const inherit = (parameters: readonly Node[], ...names: string[]) =>
  inheritWeights(parameters, names.map(at), internvlCheckpoints);

describe("names", () => {
  it("are the same in all stages, and those of a language model's checkpoint", () => {
    const [first, second, third] = [namesOf(one), namesOf(two), namesOf(three)];
    const added = /^(query_tokens|clip_projector2\.|itm_head\.|qllama\.lm_head\.|.*cross_attn\.)/;
    const isPooling = (n: string) => n.startsWith("clip_projector."); // the stage's loss reads the queries alone
    expect([...second].filter((n) => !first.has(n) && !added.test(n))).toEqual([]);
    expect([...first].filter((n) => !second.has(n) && !isPooling(n))).toEqual([]);
    const glue = (n: string) => n.startsWith("model.mm_projector.");
    expect([...third].filter((n) => !second.has(n) && !glue(n)).sort()).toEqual([...llmValues.keys()].sort());
  });
});

describe("a stage", () => {
  it("2 takes stage 1 whole but for what it does not use, and initializes what is new", async () => {
    const inherited = await inherit(two, "one.safetensors");
    expect(inherited.report).toEqual([
      `from ${at("one.safetensors")}: ${one.length - 14} tensors, not used: clip_projector.*`,
      "vision_model.embeddings.position_embedding: interpolated from 2 × 2 to 3 × 3 patches",
      `initialized: ${two.length - one.length + 14} tensors: query_tokens, qllama.model.layers.{0,2}.cross_attn.*, itm_head.*, clip_projector2.*, qllama.lm_head.weight`,
    ]);
    const position = "vision_model.embeddings.position_embedding";
    const stored = stageOneValues.get(position)!.data as Float32Array;
    expect((await inherited.initial(position))!.data).toEqual(resizedPositions(stored, 2, 3));
    expect(await inherited.initial("text_projection.weight")).toEqual(stageOneValues.get("text_projection.weight"));
    expect(await inherited.initial("query_tokens")).toBeUndefined();
    await inherited.dispose();
  });

  it("with running statistics takes those too", async () => {
    const kept = keptParameters(trainingStep(segmentationTuning("linear", segmenter).stage));
    expect(kept.map(inputName)).toEqual(["decode_head.norm.running_mean", "decode_head.norm.running_var"]);
    const statistics = new Map(kept.map((n, i) => [inputName(n), { ...initialValue(n, 0), data: seeded(n, i) }]));
    await writeOwn("uper.safetensors", statistics);
    const inherited = await inherit(kept, "uper.safetensors");
    expect(inherited.initialized).toEqual([]);
    for (const [name, value] of statistics) expect((await inherited.initial(name))!.data).toEqual(value.data);
    await inherited.dispose();
  });

  it("does not begin from what is no number", async () => {
    const broken = new Map([...stageOneValues].map(([name, t]) => [name, { ...t, data: t.data.slice() }]));
    broken.get("text_projection.weight")!.data[1] = Number.NaN;
    await writeOwn("broken.safetensors", broken);
    const inherited = await inherit(two, "broken.safetensors");
    const reading = inherited.initial("text_projection.weight");
    await expect(reading).rejects.toThrow(/broken.safetensors: tensor "text_projection.weight": element 1 is NaN/);
    await inherited.dispose();
  });

  it("3 takes the published InternVL-14B and a language model, each its own part", async () => {
    const inherited = await inherit(three, "g", "llm");
    expect(inherited.initialized).toEqual(["model.mm_projector.*"]);
    expect(inherited.sources[1]!.unused).toEqual([]);
    for (const name of ["qllama.model.norm.weight", "qllama.model.layers.0.cross_attn.q_proj.weight", "query_tokens"])
      expect(await inherited.initial(name)).toEqual(gValues.get(name));
    for (const name of ["model.layers.1.self_attn.q_proj.weight", "lm_head.weight"])
      expect(await inherited.initial(name)).toEqual(llmValues.get(name));
    await inherited.dispose();
  });

  it("1 takes InternViT and multilingual LLaMA as they are published alone", async () => {
    const vit = trace(internvitModels[0]!, tinyConfig.vision);
    const vitValues = valuesOf(vit, 5);
    await writePublished("vit", vit, vitValues);
    const inherited = await inherit(one, "vit", "multilingual");
    expect(inherited.initialized).toEqual(["clip_projector.*", "logit_scale", "text_projection.weight"]);
    expect(await inherited.initial("vision_model.encoder.layers.1.attn.qkv.weight")).toEqual(
      vitValues.get("encoder.layers.1.attn.qkv.weight"),
    );
    expect((await inherited.initial("qllama.model.norm.weight"))!.data).toEqual(
      multilingualValues.get("model.norm.weight")!.data,
    );
    await inherited.dispose();
  });

  it("2 takes QLLaMA's output matrix from multilingual LLaMA; a chat's own language model is no QLLaMA", async () => {
    const stageTwoStart = await inherit(two, "one.safetensors", "multilingual");
    expect(stageTwoStart.initialized.join()).not.toContain("lm_head");
    await stageTwoStart.dispose();
    const chatStart = await inherit(three, "llm");
    expect(await chatStart.initial("qllama.model.norm.weight")).toBeUndefined();
    await chatStart.dispose();
  });

  it("takes a tensor from the first source that has it", async () => {
    await writeOwn("other.safetensors", valuesOf({ inputs: one }, 9));
    const inherited = await inherit(two, "one.safetensors", "other.safetensors");
    expect(await inherited.initial("logit_scale")).toEqual(stageOneValues.get("logit_scale"));
    expect(inherited.sources.map((s) => s.taken)).toEqual([one.length - 14, 0]);
    expect(inherited.sources[0]!.fingerprint).not.toBe(inherited.sources[1]!.fingerprint);
    await inherited.dispose();
  });

  it("names all tensors of another shape at once", async () => {
    const wider = { ...generative, embed: 10, text: { ...generative.text, vocab: 23 } };
    await expect(inherit(stepOf(stageTwo(wider)), "one.safetensors")).rejects.toThrow(
      /the shapes of 2 tensors differ:\n {2}"qllama.model.embed_tokens.weight" of .* is \[17, 12\].*\n {2}"text_projection.weight" of .* is \[8, 12\]/,
    );
  });

  it("refuses positions that are no square grid, or of another width", async () => {
    const position = "vision_model.embeddings.position_embedding";
    const broken = new Map(stageOneValues);
    const axes = [
      { name: "token", size: 4 },
      { name: "embed", size: 12 },
    ];
    broken.set(position, { dtype: "f32", axes, data: new Float32Array(48) });
    await writeOwn("broken.safetensors", broken);
    await expect(inherit(two, "broken.safetensors")).rejects.toThrow(/position_embedding" of .* is \[4, 12\]/);
  });
});

it("parameters that are none of the family's are taken by name alone", async () => {
  const other = trace(
    defineModel({
      name: "other",
      summary: "",
      config: {},
      build: (p) => ({ x: internvit(p.scope("tower"), pixelsInput(tinyConfig.vision), tinyConfig.vision)[0]! }),
    }),
  );
  await writeOwn("tower.safetensors", valuesOf(other, 6));
  const inherited = await inherit([...other.inputs.filter((n) => n.op === "parameter")], "tower.safetensors");
  expect(inherited.report[1]).toBe("initialized: nothing");
  await inherited.dispose();
});

it("InternVL-C's parameters are all in stage 1", () => {
  expect(namesOf(one)).toEqual(
    new Set(valuesOf(trace(internvlC, { ...stageOneConfig, text: { ...tinyConfig.text, depth: 3 } }), 1).keys()),
  );
});

it("refuses a source that holds nothing of the model", async () => {
  const stranger = { dtype: "f32", axes: [{ name: "a", size: 2 }], data: new Float32Array(2) } as const;
  await writeModel(at("stranger"), [tensorToWrite("other.weight", stranger)]);
  await expect(inheritWeights(one, [at("stranger")], internvlCheckpoints)).rejects.toThrow(
    /stranger.* has no parameter of this model: its tensors are other\.weight/,
  );
});
