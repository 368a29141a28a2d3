/** Which model a published `config.json` describes, and the `config.json` of a model. */
import type { Config } from "../../dsl/index.ts";
import type { ChatConfig } from "./chat.ts";
import type { ContrastiveConfig } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import { internvit6b, type VisionConfig } from "./internvit.ts";
import { chineseLlama7b, type TextConfig } from "./llama.ts";
import {
  type PublishedConfig,
  writeChatConfig,
  writeContrastiveConfig,
  writeGenerativeConfig,
  writeTextConfig,
  writeVisionConfig,
} from "./published-config.ts";

/** What a configuration is of; undefined for one that no published `config.json` describes. */
type Kind = "vision" | "text" | "contrastive" | "generative" | "chat";

const has = (config: Config[string] | undefined, keys: readonly string[]): boolean =>
  typeof config === "object" && keys.every((key) => Object.hasOwn(config, key));
const isVision = (config: Config[string] | undefined) => has(config, Object.keys(internvit6b));
const isText = (config: Config[string] | undefined) => has(config, Object.keys(chineseLlama7b));

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

/** The `config.json` of a model; undefined for one that was never published, such as a probe. */
export function writePublishedConfig(config: Config): PublishedConfig | undefined {
  const kind = kindOf(config);
  return kind && writers[kind](config);
}
