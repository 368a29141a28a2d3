/** The door of data that a page has too: texts and decoded pictures, but no folders and no decoder of files. */
export { fitted, type Geometry, meanColour, pixelLimit, type Readable } from "./fit.ts";
export type { Pixels, Rgb } from "./pixels.ts";
export { byteTokenizer, type SpecialTokens, type Tokenizer, tokenizerFrom, withTokens } from "./text.ts";
export { imageTensor, type Normalization, white } from "./view.ts";
