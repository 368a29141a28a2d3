/** Checks host memory before it is allocated: a system that runs out kills processes without an error message. */
import { type Graph, isGraphInput, type Node, nodesOf, opRecord, printType, UsageError } from "../compiler/index.ts";

import { isResident } from "./feeds.ts";

interface Asked {
  /** Bytes per result element, for an executor that keeps all results in one dtype; default: that of each dtype. */
  readonly elementBytes?: number;
  /** Additional bytes needed. */
  readonly besides?: number;
  /** Available bytes; default: as reported by the system. If it reports none, nothing is checked. */
  readonly available?: number;
}

/** Decimal units: 36.9 GB. */
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

const dtypeBytes: Readonly<Record<string, number>> = { f32: 4, i32: 4, f16: 2, bool: 1 };

const sizeOf = ({ type }: Node, elementBytes = dtypeBytes[type.dtype] ?? 4): number =>
  type.axes.reduce((n, { size }) => n * (typeof size === "number" ? size : 0), elementBytes);

/** Free memory, respecting a container's limit; undefined in a browser. */
const availableMemory = (): number | undefined =>
  (globalThis as { process?: { availableMemory?: () => number } }).process?.availableMemory?.();

/** Total bytes of the fed inputs of a graph. Tensors with symbolic sizes count as 0. */
export const fedBytes = (graph: Graph, elementBytes?: number): number =>
  graph.inputs.filter((n) => !isResident(n)).reduce((sum, n) => sum + sizeOf(n, elementBytes), 0);

/**
 * Throws UsageError if a single result of a graph, plus `besides`, exceeds the available memory. Movement ops are
 * skipped, since an executor may alias their operands: this lower bound refuses only graphs that could not have run.
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
      : "the inputs";
  throw new UsageError(
    `@${graph.name} needs at least ${gigabytes(bytes)} of memory, most of it for ${of}, but only ${gigabytes(there)} are available\n  hint: a smaller batch or a smaller model needs less`,
  );
}
