/** The part of the data package for pages: texts and decoded images, but no folders or image decoders. */
export { fitted, type Geometry, meanColour, pixelLimit, type Readable } from "./fit.ts";
export type { Pixels, Rgb } from "./pixels.ts";
export { byteTokenizer, type SpecialTokens, type Tokenizer, tokenizerFrom, withTokens } from "./text.ts";
export { imageTensor, type Normalization, white } from "./view.ts";
