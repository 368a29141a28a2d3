/**
 * What only a run of several ranks needs; imported as `#several-ranks`, so that pages can do without (package.json).
 */
export { offloadedModel } from "../offload/offloaded-model.ts";
export { factsOf, inRanks, placeRank, requireSame } from "./in-ranks.ts";
export { runsInParts } from "./runs-in-parts.ts";
