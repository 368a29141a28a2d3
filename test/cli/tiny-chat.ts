/** A small InternVL-Chat by path A for the command line, with bytes as its vocabulary. */
import { defineModel, type Model } from "../../dsl/index.ts";
import { bundledModels, type ChatConfig } from "../../models/index.ts";
import tiny from "./tiny-model.ts";

const published = bundledModels.find((m) => m.name === "internvl-chat-vicuna-7b") as unknown as Model<ChatConfig>;

export default defineModel<ChatConfig>({
  ...published,
  name: "tiny-chat",
  config: { vision: tiny.config.vision, text: { ...tiny.config.text, context: 0 }, features: -1 },
});
