/** ViCLIP. */
export { viclipFamily, viclipModel } from "./bundled.ts";
export { comparedByViclip, type ViclipConfig, viclipLoss, viclipRules } from "./viclip.ts";
export { clips } from "./vision.ts";
