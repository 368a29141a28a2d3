/** The three stages: what each trains, its data, and its test on the held-out artist. */
import type { Graph } from "../../compiler/index.ts";
import type { ContrastiveBatch } from "../../data/index.ts";
import { defineModel, type Params, type Stage, trace } from "../../dsl/index.ts";
import {
  imageEmbeddingG,
  internvlCheckpoints,
  internvlG,
  pixelsInput,
  stageOneLoss,
  stageThreeLoss,
  stageTwoLoss,
  stageTwoTrainable,
} from "../../models/index.ts";
import {
  type CheckpointFamily,
  type Json,
  ownLayout,
  type TrainedRun,
  type TrainingBatch,
} from "../../runtime/index.ts";
import emojiModel from "../emoji-model.ts";
import { evaluate } from "./evaluate.ts";
import { exportTowers, writeConfig, writeTokenizer } from "./export.ts";
import { chatFeeds, contrastiveFeeds, generativeFeeds, mostTargets } from "./feeds.ts";
import { chat, contrastive, generative } from "./models.ts";
import { type Findings, queriesOf, writeReport } from "./report.ts";
import { readTested, writeTested } from "./tested.ts";
import { testAnswers, testCaptions } from "./tests.ts";
import type { EmojiData, Test } from "./training-data.ts";

export interface Part {
  readonly stage: Pick<Stage, "name" | "loss" | "trainable">;
  /** Side of the images. */
  readonly image: number;
  /** Ids per name in the contrastive loss. */
  readonly tokens: number;
  readonly feeds: (batch: ContrastiveBatch, data: EmojiData) => TrainingBatch["feeds"];
  /** The whole model, if the loss uses only parts of it. */
  readonly model?: Graph;
  /** Where its parameters are found in the weights of the previous stage. */
  readonly checkpoints?: CheckpointFamily;
  readonly finish: (run: TrainedRun, test: Test) => Promise<Readonly<Record<string, Json>>>;
}

export const stageOne = (): Part => ({
  stage: {
    name: "contrastive",
    loss: (p) => {
      const { loss, scale } = stageOneLoss(p, contrastive);
      return { loss, metrics: { logit_scale: scale } };
    },
  },
  image: contrastive.vision.image,
  tokens: contrastive.text.context,
  feeds: contrastiveFeeds,
  checkpoints: internvlCheckpoints,
  finish: async (run, test) => {
    const towers = trace(emojiModel);
    const { candidates, recall, chance, ...found } = await evaluate(run, { image: towers, text: towers }, test);
    await writeTokenizer(run.folder, test.data.tokenizerJson);
    const onnx = await exportTowers(run, towers);
    const tested: Findings["contrastive"] = { recall, chance, candidates, queries: queriesOf(test, found) };
    await writeTested(run.folder, tested);
    await writeReport(run.folder, test, { contrastive: tested });
    return { candidates, recall, chance, onnx };
  },
});

/** An empty name is BOS and EOS: texts have no prefix here. */
const empty = { emptyContrastive: 1, emptyMatching: 1 };

export const stageTwo = (): Part => ({
  // QLLaMA's own layers normally come from a trained LLaMA and are frozen. None is published at this size, so they are
  // trained here.
  stage: {
    name: "matching-and-writing",
    loss: (p) => stageTwoLoss(p, generative, empty),
    trainable: [...stageTwoTrainable, "qllama.**", "text_projection.*"],
  },
  tokens: generative.text.context,
  feeds: generativeFeeds,
  image: generative.vision.image,
  model: trace(internvlG, generative),
  checkpoints: internvlCheckpoints,
  finish: async (run, test) => {
    const { recall } = await evaluate(run, { image: imageSideG(), text: trace(emojiModel) }, test);
    const captions = await testCaptions(run, test);
    await writeTokenizer(run.folder, test.data.tokenizerJson);
    await writeConfig(run.folder, generative);
    const tested: Findings["generative"] = { recall, captions };
    await writeTested(run.folder, tested);
    const [first] = run.earlier.map((e) => e.folder) as [string];
    await writeReport(first, test, { contrastive: await readTested(first), generative: tested });
    const { exact, mostFrequent } = captions;
    return { recallG: recall, qllamaCaptions: { exact, mostFrequent } };
  },
});

export const stageThree = (): Part => ({
  stage: {
    name: "answering",
    loss: (p) => stageThreeLoss(p, chat, { targets: mostTargets, apart: true }),
    trainable: ["model.**", "lm_head.*"],
  },
  image: chat.vision.image,
  tokens: contrastive.text.context,
  feeds: chatFeeds,
  checkpoints: answeringCheckpoints,
  finish: async (run, test) => {
    const tested: Findings["answering"] = await testAnswers(run, test);
    await writeTokenizer(run.folder, test.data.tokenizerJson);
    await writeTested(run.folder, tested);
    const [first, second] = run.earlier.map((e) => e.folder) as [string, string];
    const before = { contrastive: await readTested<Findings["contrastive"]>(first) };
    const generative = await readTested<Findings["generative"] & {}>(second);
    await writeReport(first, test, { ...before, generative, answering: tested });
    const { yesNo, byThing, names } = tested;
    return { yesNo: { ...yesNo, ...byThing }, captions: names };
  },
});

/** The image tower of InternVL-G, which stage 1's texts are compared with after stage 2. */
const imageSideG = (): Graph =>
  trace(
    defineModel({
      name: "image-side-g",
      summary: "",
      config: {},
      build: (p: Params) => ({ image: imageEmbeddingG(p, pixelsInput(generative.vision), generative) }),
    }),
  );

/** No language model of this size is published: the chat's starts from QLLaMA's layers. */
const answeringCheckpoints: CheckpointFamily = {
  ...internvlCheckpoints,
  places: (parameters) => [
    ...internvlCheckpoints.places(parameters),
    ...ownLayout({ inputs: parameters })
      .filter(({ name }) => /^(model\.(?!mm_projector)|lm_head\.)/.test(name))
      .map((place) => [{ ...place, name: `qllama.${place.name}` }]),
  ],
};
