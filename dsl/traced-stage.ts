/** A stage whose loss has been traced: its results as nodes, and which parameters they train. */
import { inputName, isState, type Node, topological, UsageError } from "../compiler/index.ts";
import { type FrozenWeights, frozenDtype, withFrozen } from "./frozen.ts";
import { type Adapter, adaptersOf } from "./lora.ts";
import { totalLoss } from "./losses.ts";
import type { StateUpdate } from "./nn/buffer.ts";
import type { Traced } from "./optim/batch-gradient.ts";
import { type LossScale, lossScaleOf, scaledLoss } from "./optim/loss-scale.ts";
import { scaleInStore } from "./optim/step-update.ts";
import { type Range, rootParams } from "./params.ts";
import { partition } from "./partition.ts";
import type { Stage } from "./stage.ts";
import { typed } from "./tensor.ts";
import { trainingState } from "./training-state.ts";

export interface TracedStage {
  readonly traced: Traced;
  /** The loss, with frozen weights as parameters of f32. */
  readonly loss: Node;
  readonly frozen: readonly Node[];
  readonly frozenAs: FrozenWeights;
  readonly adapters: readonly Adapter[];
  /** The buffers that the stage updates. */
  readonly updates: readonly StateUpdate[];
  /** What micro-batches are averaged by. */
  readonly weight: Node | undefined;
  /** The ranges that parameters declared, by name. */
  readonly declared: ReadonlyMap<string, Range>;
  readonly lossScale: LossScale | undefined;
}

/** Throws UsageError if a pattern matches nothing or nothing is left to train. */
export function traceStage(stage: Stage): TracedStage {
  const declared = new Map<string, Range>();
  const asked = stage.lora && adaptersOf(stage.name, stage.lora);
  const updated = new Set<string>();
  const root = rootParams({
    training: true,
    onUpdate: (path) => updated.add(path),
    onRange: (path, within) => declared.set(path, within),
    ...(asked && { adapters: asked }),
  });
  const { loss, metrics = {}, updates = [], weight, apart } = totalLoss(stage.name, stage.loss(root));
  const results: [Node, ...Node[]] = [loss, ...Object.values(metrics), ...updates.map((u) => u.next)];
  requireUpdates(stage.name, results, updates);
  requireReturned(stage.name, updated, updates);
  const adapters = asked?.made(stage.name, results) ?? [];
  const { trained, frozen } = partition(stage, results, adapters);
  const stored = withFrozen([...results, ...(weight ? [weight] : [])], frozen, frozenDtype(stage));
  const names = ["loss", ...Object.keys(metrics)];
  const kept = stored.roots.slice(names.length);
  const lossScale = lossScaleOf(stage);
  const scale = scaleInStore(lossScale);
  const lowered = stored.roots[0]!;
  const traced: Traced = {
    loss: scale ? scaledLoss(typed(lowered), scale) : lowered,
    figures: Object.fromEntries(names.map((name, i) => [name, stored.roots[i]!])),
    kept: updates.map(({ name, oncePerStep = false }, i) => ({
      output: name,
      state: name,
      node: kept[i]!,
      oncePerStep,
    })),
    trained,
    ...(apart && { apart }),
  };
  return {
    ...{ traced, loss, frozen, adapters, updates, declared, lossScale },
    frozenAs: stored.weights,
    weight: weight && kept.at(-1),
  };
}

/** Throws UsageError for a buffer that the loss reads without returning its update: a run would not know its value. */
function requireUpdates(stage: string, results: readonly Node[], updates: readonly StateUpdate[]): void {
  const known = new Set<string>([...Object.values(trainingState), ...updates.map(({ name }) => name)]);
  const open = topological(results).filter((node) => isState(node) && !known.has(inputName(node)));
  if (open.length === 0) return;
  const [first, ...others] = open.map(inputName);
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  throw new UsageError(
    `stage "${stage}": the loss reads the buffer "${first}"${more}, but does not return its update\n  hint: return { loss, updates }, with what emaTeacher and buffer.update give; a tensor that never changes is p.parameter(name, axes, init, { buffer: true })`,
  );
}

/** Throws UsageError for an update that was made and not returned: the buffer would keep its first value. */
function requireReturned(stage: string, updated: ReadonlySet<string>, updates: readonly StateUpdate[]): void {
  const lost = updated.difference(new Set(updates.map(({ name }) => name)));
  if (lost.size === 0) return;
  const [first] = lost;
  const more = lost.size === 1 ? "" : ` and ${lost.size - 1} more`;
  throw new UsageError(
    `stage "${stage}": the update of the buffer "${first}"${more} is not among those that the loss returns, so that it would never change\n  hint: return { loss, updates }, with the list that batchNorm or emaTeacher was given and what buffer.update gives; batchNorm with \`frozen: true\` normalizes by the loaded statistics`,
  );
}
