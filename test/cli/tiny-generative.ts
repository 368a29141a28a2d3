/** A small InternVL-G for the command line, with bytes as its vocabulary. */
import { defineModel } from "../../dsl/index.ts";
import { internvlG } from "../../models/index.ts";
import tiny from "./tiny-model.ts";

export default defineModel({
  ...internvlG,
  name: "tiny-g",
  config: { ...tiny.config, text: { ...tiny.config.text, queries: 3, crossEvery: 2 } },
});
