/** Models that come with heddle, by the names the command line knows. */
import type { Model } from "../dsl/index.ts";
import { alexnetFamily } from "./alexnet/index.ts";
import { blip2Family } from "./blip2/index.ts";
import { clipFamily } from "./clip/index.ts";
import { evaFamily } from "./eva/index.ts";
import { flamingoFamily } from "./flamingo/index.ts";
import { gpt2Family } from "./gpt2/index.ts";
import { internvlFamily } from "./internvl/index.ts";
import { internvlChatFamily } from "./internvl-chat/index.ts";
import { llavaFamily } from "./llava/index.ts";
import { resnetFamily } from "./resnet/index.ts";
import { viclipFamily } from "./viclip/index.ts";
import { vitFamily } from "./vit/index.ts";
import { vit22bFamily } from "./vit-22b/index.ts";

export * from "./alexnet/index.ts";
export * from "./blip2/index.ts";
export * from "./clip/index.ts";
export * from "./eva/index.ts";
export * from "./flamingo/index.ts";
export * from "./gpt2/index.ts";
export * from "./internvl/index.ts";
export * from "./internvl-chat/index.ts";
export * from "./llava/index.ts";
export * from "./resnet/index.ts";
export * from "./viclip/index.ts";
export * from "./vit/index.ts";
export * from "./vit-22b/index.ts";

/** Every bundled model. */
export const bundledModels: readonly Model[] = [
  ...internvlFamily,
  ...internvlChatFamily,
  ...clipFamily,
  ...evaFamily,
  ...viclipFamily,
  ...resnetFamily,
  ...vitFamily,
  ...vit22bFamily,
  ...alexnetFamily,
  ...gpt2Family,
  ...llavaFamily,
  ...blip2Family,
  ...flamingoFamily,
];
