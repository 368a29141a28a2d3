/** What a graph goes through before any target's own passes: the readable list. */

import type { Pass } from "../driver/index.ts";
import { canonicalize } from "../passes/canonicalize.ts";
import { fold } from "../passes/fold.ts";
import { fuseAttention } from "../passes/fuse-attention.ts";
import { prune } from "../passes/prune.ts";

/** In order; each names what it needs from those before it. */
export const commonPasses: readonly Pass[] = [
  canonicalize, // one spelling for equal things, so that the patterns below meet few forms
  fold, // after canonicalize, which moves constants together; rotary angles become tables here
  fuseAttention, // needs softmax and contractions whole: before a target decomposes
  prune, // last: drops what the others left without users
];
