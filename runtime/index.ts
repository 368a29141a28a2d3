/** The runtime: loading weights and data before a run, the run itself, what is saved of it, and how it is resumed. */

export { fileSystem, lockRunFolder, startProgress } from "#host";
export { areNumbers, type Cached, isRecord, type MeasuredOn, readCached, writeCached } from "./cached-file.ts";
export {
  type CheckpointContent,
  type LoadedCheckpoint,
  loadNewestCheckpoint,
  type SaveOptions,
  saveCheckpoint,
} from "./checkpoint/checkpoint.ts";
export type { Json } from "./checkpoint/state-file.ts";
export {
  type ExchangeCosts,
  exchangeCosts,
  measureExchange,
  oneRank,
  type Ranks,
  rangesOf,
} from "./collectives/index.ts";
export { drawnWeights } from "./drawn-weights.ts";
export { asFileError, escapeControls, fileError, formatBytes, quoted } from "./file-errors.ts";
export type { FileInfo, FileSystem, OpenFile } from "./file-system.ts";
export {
  type ByteSink,
  makeFolder,
  readWhole as readBytes,
  requireFreeSpace,
  requireWritable,
  type WriteOptions,
  watchTemporaries,
  writeAtomically,
  writeFileAtomically,
} from "./files.ts";
export { type ReadFindings, readFindings, writeFindings } from "./findings-file.ts";
export { flattened, modelKey, nested, withKnown } from "./flat-settings.ts";
export type { BeamSearch } from "./generation/beam-search.ts";
export { type CachedSession, type CacheOptions, cachedSession } from "./generation/cached-session.ts";
export type { Candidates, DecodeSession, Scores } from "./generation/decode-session.ts";
export { attendsToSource, isEncoder, tokensBegun } from "./generation/decoder-shape.ts";
export {
  checkGenerateOptions,
  type Generated,
  type GenerateOptions,
  type Greedy,
  generate,
  nothingWritten,
  type Prompt,
  type Strategy,
  type WritingLimits,
} from "./generation/generate.ts";
export type { Sampling } from "./generation/sampling.ts";
export { blobFileSystem } from "./host/blob-files.ts";
export type { Progress, ProgressOptions, RunLock } from "./host/host.ts";
export { FolderInUseError } from "./host/in-use.ts";
export { memoryFileSystem } from "./host/memory-file-system.ts";
export { folderFileSystem, opfsFileSystem } from "./host/opfs-file-system.ts";
export type { UrlCache } from "./host/url-cache.ts";
export { type UrlFiles, type UrlOptions, urlFiles } from "./host/url-files.ts";
export { type MetricsLog, type MetricsRecord, openMetricsLog } from "./metrics-log.ts";
export { begunText } from "./modes/begun-text.ts";
export { type Caption, captionPrompt, decoderPrompt, type ShownPictures, writeCaption } from "./modes/caption.ts";
export {
  alteredTurns,
  type ChatTemplate,
  firstTurn,
  type ImagePlace,
  nextTurn,
  textIds,
  writtenConversation,
} from "./modes/chat-templates.ts";
export { type ClassMap, classesOfScores, scoreMap, scoresOf, windowStarts } from "./modes/class-map.ts";
export {
  type Answer,
  type AnswerOptions,
  type ChatImage,
  type Conversation,
  type ConversationOptions,
  conversation,
  textStream,
} from "./modes/conversation.ts";
export { type DeviceModel, deviceModel } from "./modes/device-model.ts";
export {
  type GenerationConfig,
  generationConfig,
  storedLimits,
  storedStrategy,
  type TextRoom,
} from "./modes/generation-config.ts";
export { parametersTogether } from "./modes/parameters-together.ts";
export { promptIds, sourceIds } from "./modes/prompt-ids.ts";
export { embedRows, graphForRows, type Rows, type RowsResult, type RowVectors, runRows } from "./modes/rows.ts";
export { type TextLosses, type TextWindow, textLosses } from "./modes/text-losses.ts";
export { type TextPolicy, textPolicy } from "./modes/text-policy.ts";
export { idRow } from "./modes/token-ids.ts";
export { classLogits, classVectors, shares } from "./modes/zero-shot.ts";
export { collapseNames } from "./name-patterns.ts";
export { type OffloadOptions, offloadedModel } from "./offload/offloaded-model.ts";
export type { ParameterSource } from "./parameter-source.ts";
export { formatDuration, formatFigure } from "./progress/progress-text.ts";
export { type QuantizingSource, quantized, quantizingSource } from "./quantized-weights.ts";
export { fillRandom, type RandomStream, randomStream } from "./random/streams.ts";
export { type RunAbout, type RunStart, writeEnd, writeStart } from "./report/about.ts";
export { jobFacts } from "./report/job-facts.ts";
export { type JobReport, writeJobReport } from "./report/job-report.ts";
export { sectionsPage } from "./report/page.ts";
export { writeRunReport } from "./report/run-report.ts";
export type { Card, Cell, Chart, Fact, Mark, Picture, Remark, Section, Text, Words } from "./report/section.ts";
export { percent } from "./report/sections-html.ts";
export { beginAnew } from "./resume-hints.ts";
export { writeFinite } from "./safetensors/finite.ts";
export type { StoredTensor } from "./safetensors/header.ts";
export {
  describeMatch,
  type MatchRules,
  matchTensors,
  type NamedShape,
  requireMatch,
  type TensorMatch,
} from "./safetensors/match.ts";
export { writeModelFolder } from "./safetensors/model-folder.ts";
export { ownLayoutMark } from "./safetensors/own-layout.ts";
export {
  openSafetensors,
  type ReadOptions,
  type ReadTensorOptions,
  type SafetensorsReader,
} from "./safetensors/reader.ts";
export { type ShardedWriteOptions, writeModel } from "./safetensors/sharded-writer.ts";
export { isReadableAs, type StoredDType, storedAs } from "./safetensors/stored-dtype.ts";
export {
  type SafetensorsWriteOptions,
  type TensorToWrite,
  tensorToWrite,
  writeSafetensors,
} from "./safetensors/writer.ts";
export { createSession, type InferenceSession, type SessionOptions } from "./session.ts";
export { cutGraph, handedOn, isHandedOn, partsOptions } from "./sharding/graph-parts.ts";
export { type Shard, shards, usualPartBytes } from "./sharding/shard.ts";
export { stepParts } from "./sharding/step-parts.ts";
export { type EventLog, openEventLog } from "./tensorboard.ts";
export { defineJob } from "./training/define-job.ts";
export { drawnBeside } from "./training/drawn-beside.ts";
export { type RankFigures, rankText, requireSame } from "./training/in-ranks.ts";
export { type CheckpointFamily, type Inheritance, type InheritedFrom, inheritWeights } from "./training/inherit.ts";
export {
  type CompiledStep,
  type FinishedStage,
  type JobFile,
  type NextStage,
  type Setting,
  type SharedRows,
  type TrainedRun,
  type TrainingBatch,
  type TrainingJob,
  unusedParameters,
  type Validation,
  type ValidationRun,
} from "./training/job.ts";
export { type Lesson, learn } from "./training/learn.ts";
export type { LossPoint } from "./training/losses.ts";
export type { LostTime } from "./training/lost-time.ts";
export {
  hasBegun,
  hasCheckpoints,
  hasSavedStep,
  hasSteps,
  newestRunFolder,
  removeFailedStart,
  requireRunName,
  tidyRunFolder,
} from "./training/run-folder.ts";
export { readRunSettings, resumedSettings, type Settings, writeRunSettings } from "./training/run-settings.ts";
export { keepRunStep } from "./training/run-step.ts";
export { sharedStep } from "./training/share.ts";
export { type RunSource, readSources, requireSameSources, writeSources } from "./training/sources-file.ts";
export { type StagesOptions, type StagesResult, trainInStages } from "./training/stages.ts";
export { initialValue, keptParameters, readWeights } from "./training/state.ts";
export { type TrainOptions, type TrainResult, train } from "./training/train.ts";
export {
  asFloat,
  type FloatDType,
  openWeights,
  ownLayout,
  permute,
  tensorsInLayout,
  type Weights,
} from "./weights.ts";
