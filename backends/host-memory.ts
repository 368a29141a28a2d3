/** Memory of this machine, asked for before it is taken: a system that runs out ends processes without a word. */
import { type Graph, isGraphInput, type Node, nodesOf, opRecord, printType, UsageError } from "../compiler/index.ts";

import { isResident } from "./feeds.ts";

interface Asked {
  /** Bytes of an element of a result, where the executor keeps all in one kind; default those of its dtype. */
  readonly elementBytes?: number;
  /** Bytes that are needed besides. */
  readonly besides?: number;
  /** Bytes that there are; default what the system says, and nothing is checked where it does not. */
  readonly available?: number;
}

/** As people count: 36.9 GB. */
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

const dtypeBytes: Readonly<Record<string, number>> = { f32: 4, i32: 4, f16: 2, bool: 1 };

const sizeOf = ({ type }: Node, elementBytes = dtypeBytes[type.dtype] ?? 4): number =>
  type.axes.reduce((n, { size }) => n * (typeof size === "number" ? size : 0), elementBytes);

/** Free memory, that of a container's limit included; undefined in a browser. */
const availableMemory = (): number | undefined =>
  (globalThis as { process?: { availableMemory?: () => number } }).process?.availableMemory?.();

/** Bytes that all inputs of a graph have that a run is fed. Open sizes count nothing. */
export const fedBytes = (graph: Graph, elementBytes?: number): number =>
  graph.inputs.filter((n) => !isResident(n)).reduce((sum, n) => sum + sizeOf(n, elementBytes), 0);

/**
 * Throws UsageError where one result of a graph alone is larger than the memory that there is. Results that only move
 * elements are passed over, since an executor may read through them: what is refused could not have run.
 */
export function requireHostMemory(graph: Graph, { elementBytes, besides = 0, available }: Asked = {}): void {
  const there = available ?? availableMemory();
  if (there === undefined) return;
  const made = nodesOf(graph).filter((n) => !isGraphInput(n) && opRecord(n.op).kind !== "movement");
  const sizes = made.map((node) => ({ node, bytes: sizeOf(node, elementBytes) }));
  const largest = sizes.reduce<(typeof sizes)[number] | undefined>(
    (a, b) => (a && a.bytes >= b.bytes ? a : b),
    undefined,
  );
  const bytes = besides + (largest?.bytes ?? 0);
  if (bytes <= there) return;
  const of =
    largest && largest.bytes > besides
      ? `the result of ${largest.node.op} (${printType(largest.node.type)})`
      : "what is fed";
  throw new UsageError(
    `@${graph.name} needs at least ${gigabytes(bytes)} of memory, most of it for ${of}, and ${gigabytes(there)} are there\n  hint: a smaller batch or a smaller model needs less`,
  );
}
