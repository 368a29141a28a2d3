/** EVA-01-CLIP and EVA-02-CLIP. */
export { evaClipModel, evaFamily } from "./bundled.ts";
export { evaLayouts, timmApartRules, timmJoinedRules } from "./layouts.ts";
export { type EvaClipConfig, type EvaConfig, evaVectors } from "./vision.ts";
