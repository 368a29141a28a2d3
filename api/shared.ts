/** The package's exports common to Node and the browser: the DSL, and what compiles, runs and trains its models. */

export { DeviceLostError, OutOfMemoryError } from "../backends/webgpu/index.ts";
export { FileError, HeddleError, parseGraph, printGraph, UnsupportedError } from "../compiler/index.ts";
export { byteTokenizer, type Tokenizer } from "../data/browser-index.ts";
export * from "../dsl/index.ts";
export {
  blobFileSystem,
  defineJob,
  type FileSystem,
  type JobFile,
  type LossPoint,
  type OpenFile,
  type RandomStream,
  randomStream,
  type Strategy,
  type TrainingJob,
  type UrlCache,
  type UrlFiles,
  type UrlOptions,
  urlFiles,
} from "../runtime/index.ts";
export { type CompileOptions, compile } from "./compile.ts";
export type { Device } from "./device.ts";
export { exportOnnx, inspect, type OnnxOptions } from "./export.ts";
export { generate, type Written } from "./generate.ts";
export type { Modelled, ModelledOptions } from "./modelled.ts";
export type { PictureOptions } from "./picture.ts";
export { type RunOptions, type Session, type SessionOptions, session } from "./session.ts";
export type { Source } from "./sources.ts";
export { type TokenizerOptions, tokenizer } from "./tokenizer.ts";
export { type Trained, type TrainOptions, train } from "./train.ts";
export type { JobSettings, Trainable, Training } from "./trainable.ts";
export { type Loaded, load, safetensorsBytes, save, type WeightsFrom } from "./weights.ts";
export { openWriter, type Text, type Writer, type WriterOptions, type WritingOptions } from "./writer.ts";
