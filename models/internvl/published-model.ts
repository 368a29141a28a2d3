/** Which model a published `config.json` describes, and the `config.json` of a model. */
import { type Config, type ConfigCodec, type Model, shown, UsageError } from "../../dsl/index.ts";
import { configPart } from "../config-fields.ts";
import { type ChatConfig, vicuna7b } from "./chat.ts";
import type { ContrastiveConfig } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import { internvit6b, isVision, type VisionConfig } from "./internvit.ts";
import { isText, type TextConfig, withKeyHeads } from "./llama.ts";
import {
  type PublishedConfig,
  publishedConfigNotes,
  readChatConfig,
  readContrastiveConfig,
  readGenerativeConfig,
  readTextConfig,
  readVisionConfig,
  writeChatConfig,
  writeContrastiveConfig,
  writeGenerativeConfig,
  writeTextConfig,
  writeVisionConfig,
} from "./published-config.ts";

/** The kind of model; undefined for one that no published `config.json` describes. */
type Kind = "vision" | "text" | "contrastive" | "generative" | "chat";

const has = (config: Config[string] | undefined, keys: readonly string[]): boolean =>
  typeof config === "object" && keys.every((key) => Object.hasOwn(config, key));

function kindOf(config: Config): Kind | undefined {
  if (isVision(config)) return "vision";
  if (isText(config)) return has(config, ["queries"]) ? undefined : "text";
  if (!isVision(config.vision) || !isText(config.text)) return undefined;
  if (has(config, ["features"])) return "chat";
  if (!has(config, ["embed", "poolingHeads"])) return undefined;
  return has(config.text, ["queries", "crossEvery"]) ? "generative" : "contrastive";
}

const writers: Readonly<Record<Kind, (config: Config) => PublishedConfig>> = {
  vision: (c) => writeVisionConfig(c as unknown as VisionConfig),
  text: (c) => writeTextConfig(c as unknown as TextConfig),
  contrastive: (c) => writeContrastiveConfig(c as unknown as ContrastiveConfig),
  generative: (c) => writeGenerativeConfig(c as unknown as GenerativeConfig),
  chat: (c) => writeChatConfig(c as unknown as ChatConfig),
};

/** The `config.json` of a model; undefined for one never published, such as a probe. */
export function writePublishedConfig(config: Config): PublishedConfig | undefined {
  const kind = kindOf(config);
  return kind && writers[kind](config);
}

/** A model as a checkpoint's `config.json` describes it. */
export interface PublishedModel {
  readonly kind: Kind;
  readonly config: Config;
}

const readers: Readonly<Record<Kind, (json: PublishedConfig) => Config>> = {
  vision: readVisionConfig,
  text: (json) => ({ ...readTextConfig(json), context: vicuna7b.context }),
  contrastive: (json) => ({ ...readContrastiveConfig(json) }),
  generative: (json) => ({ ...readGenerativeConfig(json) }),
  chat: (json) => ({ ...readChatConfig(json) }),
};

/** The kind for each `model_type`, using other fields where models share one. */
const kinds: Readonly<Record<string, (json: PublishedConfig) => Kind>> = {
  intern_vit_6b: () => "vision",
  internvl: (json) => (json.num_query_token === 0 ? "contrastive" : "generative"),
  llama: (json) => (json.mm_projector_type === undefined ? "text" : "chat"),
  internlm: (json) => (json.mm_projector_type === undefined ? "text" : "chat"),
  llava: () => "chat",
  llava_llama: () => "chat",
};

/** Reads a `config.json`. Throws UsageError for another model's, and for one that lacks required fields. */
export function readPublishedConfig(json: PublishedConfig): PublishedModel {
  const type = json.model_type;
  if (typeof type !== "string" || !Object.hasOwn(kinds, type)) {
    const known = Object.keys(kinds);
    const found = type === undefined ? "missing" : shown(type);
    throw new UsageError(`"model_type" is ${found}; expected one of ${known.join(", ")}`);
  }
  const kind = kinds[type]!(json);
  return { kind, config: readers[kind](json) };
}

/**
 * A model's configuration with the sizes of a checkpoint; undefined for a checkpoint of another kind. InternVL-C is a
 * part of InternVL-G. A model that stops before InternViT's last block (internvit-6b-45) keeps doing so.
 */
export function withPublishedSizes(model: Pick<Model, "config">, { kind, config }: PublishedModel): Config | undefined {
  const own = kindOf(model.config);
  if (own === "contrastive" && kind === "generative") return withoutQueries(config as unknown as GenerativeConfig);
  if (own !== kind || (own === "chat" && "qllama" in model.config !== "qllama" in config)) return undefined;
  if (own === "text") return withKeyHeads(config as TextConfig, model.config as TextConfig);
  if (!isVision(model.config) || model.config.depth === internvit6b.depth) return config;
  return { ...config, depth: Math.min(model.config.depth, (config as unknown as VisionConfig).depth) };
}

function withoutQueries({ text, ...rest }: GenerativeConfig): Config {
  const { queries: _, crossEvery: __, ...llama } = text;
  return { ...rest, text: llama } as Config;
}

/** The bundled model for a checkpoint of this kind. */
function publishedModelName({ kind, config }: PublishedModel): string {
  const names = { vision: "internvit-6b", contrastive: "internvl-c", generative: "internvl-g" };
  if (kind === "text") return config.attentionBias ? "internlm-7b" : "vicuna-7b";
  if (kind === "chat") return "qllama" in config ? "internvl-chat-vicuna-7b-qllama" : "internvl-chat-vicuna-7b";
  return names[kind];
}

/**
 * A configuration with the sizes of the checkpoint it starts from, which may be another model of the family: the towers
 * of InternVL-C in InternVL-G, InternViT under a probe, a language model in a chat. Undefined if the `config.json` is
 * of another family or has nothing in common with it. Resolution and drop path stay the configuration's own if the two
 * are of different kinds, except between the contrastive models.
 */
function sizedByPublished(config: Config, json: PublishedConfig): Config | undefined {
  if (typeof json.model_type !== "string" || !Object.hasOwn(kinds, json.model_type)) return undefined;
  if (isTransformersChat(json)) return undefined;
  const found = readPublishedConfig(json);
  const same = withPublishedSizes({ config }, found);
  if (same) return same;
  const { kind } = found;
  const theirs = found.config as Readonly<Record<string, Config>>;
  if (kindOf(config) === "generative" && kind === "contrastive")
    return { ...config, ...theirs, text: { ...(config.text as Config), ...theirs.text } };
  if (kind === "text")
    return kindOf(config) === "chat" ? { ...config, text: withContext(found.config, config) } : undefined;
  const vision = kind === "vision" ? found.config : theirs.vision!;
  if (isVision(config)) return seenBy(config, vision);
  if (!isVision(config.vision)) return undefined;
  const seen = { ...config, vision: seenBy(config.vision, vision) };
  return kind === "generative" && "qllama" in config ? { ...seen, qllama: theirs.text! } : seen;
}

const withContext = (text: Config, { text: own }: Config): Config => ({ ...text, context: (own as Config).context! });

/** An encoder's sizes with the configuration's own resolution; positions keep the grid of the weights. */
const seenBy = (own: VisionConfig, { width, depth, heads, mlp, patch, layerScale, image }: Config): VisionConfig =>
  ({ ...own, width, depth, heads, mlp, patch, layerScale, positions: own.positions === 0 ? 0 : image }) as VisionConfig;

/** Whether a config of type `internvl` is a transformers chat model, which is not of this family. */
const isTransformersChat = (json: PublishedConfig): boolean => configPart(json, "text_config") !== undefined;

/** Whether a chat of type `llava` has CLIP's vision tower, like LLaVA itself, and so is not of this family. */
export const seesThroughClip = (json: PublishedConfig): boolean =>
  configPart(json, "vision_config")?.model_type === "clip_vision_model" || /clip/i.test(String(json.mm_vision_tower));

/** The config codec of a model of the family, by name. */
export const publishedCodec = <C extends Config>(name: string): ConfigCodec<C> => ({
  types: Object.keys(kinds),
  incidental: ["maxPositions", "text.maxPositions", "qllama.maxPositions"],
  describes: (json) =>
    !seesThroughClip(json) && !isTransformersChat(json) && publishedModelName(readPublishedConfig(json)) === name,
  read(json, config) {
    const published = readPublishedConfig(json);
    const sized = withPublishedSizes({ config }, published);
    if (sized) return sized as C;
    const other = publishedModelName(published);
    throw new UsageError(`the config is of ${other}, not of ${name}: pass the folder itself as the model`);
  },
  notes: publishedConfigNotes,
  write: writePublishedConfig,
  sized: (config, json) => sizedByPublished(config, json) as C | undefined,
});
