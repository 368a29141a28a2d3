/** When a step writes its buffers: once, from its parameters, or with each batch, from its samples. */
import {
  inputName,
  isFeed,
  isParameter,
  isSymbolic,
  locationOf,
  type Node,
  printLocation,
  sourceOf,
  topological,
  UsageError,
} from "../../compiler/index.ts";
import type { Stored } from "./accumulation.ts";
import type { Divided } from "./shard.ts";

/** What is known of processes that share a step. */
interface Shared {
  readonly divided?: Divided;
}

/**
 * The buffers that are written once a step, after the last micro-batch, and those that are written with each. Of
 * processes that share a step of one batch, the former are all that depend on no sample: each process computes the
 * same. Throws UsageError for an update that is declared as one of parameters but reads the batch, and for what
 * processes cannot keep equal.
 */
export function keptWhen(
  stage: string,
  kept: readonly Stored[],
  isOneBatch: boolean,
  shared: Shared | undefined,
): readonly [Stored[], Stored[]] {
  for (const k of kept) if (k.oncePerStep) requireNoBatch(stage, k);
  const isOnce = (k: Stored) => k.oncePerStep === true || (shared !== undefined && isOneBatch && !dependsOnBatch(k));
  const [atEnd, withEach] = [kept.filter(isOnce), kept.filter((k) => !isOnce(k))];
  requireWhole(stage, atEnd, shared?.divided);
  return [atEnd, withEach];
}

/** Throws UsageError for updates that read parameters where a process has only a part of them. */
export function requireWhole(stage: string, kept: readonly Stored[], divided: Divided | undefined): void {
  const reading = kept.filter(({ node }) => topological([node]).some(isParameter));
  if (divided && reading.length > 0) throw inParts(stage, reading, divided);
}

const readsBatch = (node: Node): boolean => isFeed(node) || sourceOf(node) === "random";

/** Whether the next value depends on the samples of a batch, or on their number. */
const dependsOnBatch = ({ node }: Stored): boolean =>
  topological([node]).some(
    (n) => readsBatch(n) || sourceOf(n) === "size" || n.type.axes.some(({ size }) => isSymbolic(size)),
  );

function requireNoBatch(stage: string, { state, node }: Stored): void {
  const read = topological([node]).find(readsBatch);
  if (!read) return;
  throw new UsageError(
    `stage "${stage}": the update of "${state}" has oncePerStep, but reads ${isFeed(read) ? "the input" : "the random values"} "${inputName(read)}" (${printLocation(locationOf(read.birth))})\n  hint: leave oncePerStep out: then it is updated with each batch`,
  );
}

const named = (kept: readonly Stored[]): string => kept.map((k) => `"${k.state}"`).join(", ");

const inParts = (stage: string, kept: readonly Stored[], divided: Divided): UsageError =>
  new UsageError(
    `stage "${stage}" updates ${named(kept)} from whole parameters, of which a process has only a part where ${divided} are sharded (--shard)\n  hint: shard the optimizer state only, or nothing`,
  );

/** Processes have different micro-batches. */
export const withMicroBatches = (stage: string, kept: readonly Stored[]): UsageError =>
  new UsageError(
    `stage "${stage}" updates ${named(kept)} with each micro-batch, and several processes compute different ones\n  hint: train it with accumulate 1, or with one process`,
  );
