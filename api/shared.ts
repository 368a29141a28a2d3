/** The package's exports common to Node and the browser: the DSL, and what compiles, runs and trains its models. */

export { DeviceLostError, OutOfMemoryError } from "../backends/webgpu/index.ts";
export {
  FileError,
  HeddleError,
  type HostData,
  type Node,
  parseGraph,
  printGraph,
  type SizeBounds,
  type SizedAxis,
  type Sizes,
  type TensorType,
  UnsupportedError,
} from "../compiler/index.ts";
export { byteTokenizer, type Tokenizer } from "../data/browser-index.ts";
export * from "../dsl/index.ts";
export {
  type BeamSearch,
  blobFileSystem,
  type CheckpointFamily,
  defineJob,
  type FileInfo,
  type FileSystem,
  type Greedy,
  type JobFile,
  type Json,
  type LossPoint,
  type NextStage,
  type OpenFile,
  type RandomStream,
  randomStream,
  type Sampling,
  type Setting,
  type SharedRows,
  type StoredTensor,
  type Strategy,
  type TrainedRun,
  type TrainingBatch,
  type TrainingJob,
  type UrlCache,
  type UrlFiles,
  type UrlOptions,
  urlFiles,
  type Validation,
  type ValidationRun,
} from "../runtime/index.ts";
export { type CompileOptions, compile } from "./compile.ts";
export type { Device } from "./device.ts";
export { exportOnnx, inspect, type OnnxOptions } from "./export.ts";
export { generate, type Written } from "./generate.ts";
export type { Modelled, ModelledOptions } from "./modelled.ts";
export type { PictureOptions } from "./picture.ts";
export { type RunOptions, type Session, type SessionOptions, session } from "./session.ts";
export type { Located, Source } from "./sources.ts";
export { type TokenizerOptions, tokenizer } from "./tokenizer.ts";
export { type Trained, type TrainOptions, train } from "./train.ts";
export type { JobSettings, Trainable, Training } from "./trainable.ts";
export { type Loaded, load, safetensorsBytes, save, type WeightsFrom } from "./weights.ts";
export { openWriter, type Text, type Writer, type WriterOptions, type WritingOptions } from "./writer.ts";
