/** A page is a process of its own, without MPI: nothing here is reached by a run of one rank. */
import { UsageError } from "../../compiler/index.ts";
import type * as node from "./several-ranks.ts";

const refused = (): never => {
  throw new UsageError("a page trains in one rank: several are processes of Node, connected by MPI");
};

export const offloadedModel: typeof node.offloadedModel = refused;
export const factsOf: typeof node.factsOf = refused;
export const inRanks: typeof node.inRanks = refused;
export const placeRank: typeof node.placeRank = refused;
export const requireSame: typeof node.requireSame = refused;
export const runsInParts: typeof node.runsInParts = refused;
