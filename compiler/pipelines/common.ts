/** What a graph goes through before any target's own passes: the readable list. */

import { InternalError } from "../diagnostics/error.ts";
import { graphStage, type Pass, type Stage } from "../driver/index.ts";
import type { Graph } from "../ir/graph.ts";
import { canonicalize, fold, fuseAttention, prune } from "../passes/index.ts";

/** In order; each names what it needs from those before it. */
export const commonPasses: readonly Pass[] = [
  canonicalize, // one spelling for equal things, so that the patterns below meet few forms
  fold, // after canonicalize, which moves constants together; rotary angles become tables here
  fuseAttention, // needs softmax and contractions whole: before a target decomposes
  prune, // last: drops what the others left without users
];

/** The common passes as stages of a target that does without some of them; `without` says why, by their names. */
export function commonStagesBut(without: Readonly<Record<string, string>>): readonly Stage<Graph, Graph>[] {
  const unknown = Object.keys(without).find((name) => !commonPasses.some((p) => p.name === name));
  if (unknown !== undefined) throw new InternalError(`there is no common pass "${unknown}" to do without`);
  return commonPasses.filter((p) => !Object.hasOwn(without, p.name)).map(graphStage);
}
