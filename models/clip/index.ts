/** CLIP and OpenCLIP. */
export { clipFamily, clipModel } from "./bundled.ts";
export { type ClipConfig, compared as comparedByClip, pairLoss as clipLoss } from "./clip.ts";
export { clipCodec } from "./config.ts";
export { openRules as openClipRules, transformersRules as clipRules } from "./layouts.ts";
export { imageVectors as clipImageVectors } from "./vision.ts";
