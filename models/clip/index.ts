/** CLIP and OpenCLIP. */
export { clipFamily, clipModel, clipResNetModel } from "./bundled.ts";
export { type ClipConfig, compared as comparedByClip, pairLoss as clipLoss } from "./clip.ts";
export { clipCodec } from "./config.ts";
export {
  openResNetRules as openClipResNetRules,
  openRules as openClipRules,
  transformersRules as clipRules,
} from "./layouts.ts";
export { type ClipResNetConfig, resnetVectors as clipResNetVectors } from "./resnet.ts";
export { imageVectors as clipImageVectors } from "./vision.ts";
