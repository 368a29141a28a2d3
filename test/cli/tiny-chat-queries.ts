/** A small InternVL-Chat by path B for the command line, with bytes as its vocabulary. */
import { defineModel, type Model } from "../../dsl/index.ts";
import { bundledModels, type ChatQueriesConfig } from "../../models/index.ts";
import chat from "./tiny-chat.ts";
import generative from "./tiny-generative.ts";

const published = bundledModels.find(
  (m) => m.name === "internvl-chat-vicuna-7b-qllama",
) as unknown as Model<ChatQueriesConfig>;

export default defineModel<ChatQueriesConfig>({
  ...published,
  name: "tiny-chat-queries",
  config: { ...chat.config, qllama: generative.config.text },
});
