/**
 * The DSL: axes, tensors whose operations are recorded, named parameters, layers, optimizers, models and training
 * stages.
 */
export {
  bernoulli,
  constantInit,
  type Dim,
  type Distribution,
  type DType,
  type Graph,
  type HostTensor,
  hostTensor,
  type ImageSize,
  isParameter,
  mulDims,
  normal,
  ones,
  parseGraph,
  symbol,
  truncatedNormal,
  UsageError,
  uniform,
  zeros,
} from "../compiler/index.ts";
export * from "./apply-graph.ts";
export * from "./axis.ts";
export * from "./chat-template.ts";
export * from "./checkpoints.ts";
export * from "./config-codec.ts";
export { faultIn, kindOfValue } from "./declared.ts";
export type { EmaOptions } from "./ema.ts";
export * from "./fit-heads.ts";
export { type FrozenDType, type FrozenWeights, frozenDtypes } from "./frozen.ts";
export * from "./language-modelling.ts";
export * from "./layout.ts";
export type { Adapter, LoraOptions, LowRank } from "./lora.ts";
export type { LossResult, OneLoss, SeveralLosses, WeightedLoss } from "./losses.ts";
export * from "./model.ts";
export * from "./modes.ts";
export * from "./nn/index.ts";
export type { TrainingArena } from "./optim/arenas.ts";
export * from "./optim/index.ts";
export type { Divided } from "./optim/shard.ts";
export type { Padding, Paddings } from "./padding.ts";
export * from "./params.ts";
export * from "./random.ts";
export * from "./recipe.ts";
export { recordFeeds } from "./record-feeds.ts";
export * from "./samples.ts";
export * from "./setting-rules.ts";
export * from "./stage.ts";
export * from "./stage-data.ts";
export * from "./tensor.ts";
export type { TextTokens, TokenRules } from "./text-tokens.ts";
export * from "./training.ts";
export { stepMemory } from "./training-memory.ts";
export * from "./training-state.ts";
export * from "./validation.ts";
