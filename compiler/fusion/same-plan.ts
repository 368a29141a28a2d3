/** Equality of fusion plans. */
import { sameGraph } from "../driver/index.ts";
import type { FusedKernel, Storage } from "./fused-kernel.ts";
import type { FusionPlan } from "./plan.ts";

/** Whether two plans have the same graph, the same kernels in the same order, and the same storage of values. */
export const samePlan = (a: FusionPlan, b: FusionPlan): boolean =>
  sameGraph(a.graph, b.graph) &&
  a.kernels.length === b.kernels.length &&
  a.kernels.every((k, i) => sameKernel(k, b.kernels[i]!)) &&
  a.storage.size === b.storage.size &&
  [...a.storage].every(([node, at]) => sameStorage(at, b.storage.get(node)));

const sameKernel = (a: FusedKernel, b: FusedKernel): boolean =>
  a.kind === b.kind &&
  a.group?.position === b.group?.position &&
  a.axes.map((x) => x.name).join() === b.axes.map((x) => x.name).join() &&
  a.reads.size === b.reads.size &&
  [...a.reads].every((r) => b.reads.has(r)) &&
  a.stores.length === b.stores.length &&
  a.stores.every((s, i) => s.value === b.stores[i]!.value && sameStorage(s.to, b.stores[i]!.to)) &&
  samePieces(a.siblings, b.siblings) &&
  samePieces(a.epilogues, b.epilogues) &&
  a.partWidth === b.partWidth &&
  samePieces(a.prologues, b.prologues);

const samePieces = (a: FusedKernel["siblings"] = [], b: FusedKernel["siblings"] = []): boolean =>
  a.length === b.length && a.every((piece, i) => sameKernel(piece, b[i]!));

const sameStorage = (a: Storage, b: Storage | undefined): boolean =>
  a.root === b?.root &&
  a.part?.axis === b.part?.axis &&
  a.part?.offset === b.part?.offset &&
  a.part?.start === b.part?.start;
