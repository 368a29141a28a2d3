/** The graph passes that all targets share. They run before a target's own passes. */

import { InternalError } from "../diagnostics/error.ts";
import { graphStage, type Pass, type Stage } from "../driver/index.ts";
import type { Graph } from "../ir/graph.ts";
import { canonicalize, fold, fuseAttention, prune } from "../passes/index.ts";

/** In order; the comments say what each pass needs from the earlier ones. */
export const commonPasses: readonly Pass[] = [
  canonicalize, // one form for equal expressions, so that the patterns below need few cases
  fold, // after canonicalize, which groups constants; turns rotary angles into tables
  fuseAttention, // matches whole softmax and contraction nodes: before a target decomposes them
  prune, // last: drops nodes that the others left without users
];

/** The common passes as stages, for a target that skips some of them; `without` gives the reasons by pass name. */
export function commonStagesBut(without: Readonly<Record<string, string>>): readonly Stage<Graph, Graph>[] {
  const unknown = Object.keys(without).find((name) => !commonPasses.some((p) => p.name === name));
  if (unknown !== undefined) throw new InternalError(`there is no common pass "${unknown}" to do without`);
  return commonPasses.filter((p) => !Object.hasOwn(without, p.name)).map(graphStage);
}
