/** What a graph goes through before any target's own passes: the readable list. */
import { canonicalize } from "./canonicalize.ts";
import type { Pass } from "./driver.ts";
import { fold } from "./fold.ts";
import { fuseAttention } from "./fuse-attention.ts";
import { prune } from "./prune.ts";

/** In order; each names what it needs from those before it. */
export const commonPasses: readonly Pass[] = [
  canonicalize, // one spelling for equal things, so that the patterns below meet few forms
  fold, // after canonicalize, which moves constants together; rotary angles become tables here
  fuseAttention, // needs softmax and contractions whole: before a target decomposes
  prune, // last: drops what the others left without users
];
