/** Liveness of tensors over the order of kernels, and the bytes alive at each kernel. */
import type { Node } from "../ir/node.ts";
import { type FusedKernel, type Fusion, isResident } from "./fused-kernel.ts";
import type { FusionPlan } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** The computed tensors that a kernel reads and writes, without inputs and tables. */
export interface Touched {
  readonly reads: readonly Node[];
  readonly writes: readonly Node[];
}

/** A live range: from the kernel that writes a tensor to its last reader before it is recomputed, both inclusive. */
export interface Life {
  readonly from: number;
  readonly to: number;
}

/** The root tensor in which a value is stored. */
export const rootIn =
  ({ storage }: Pick<Fusion, "storage">) =>
  (value: Node): Node =>
    storage.get(value)?.root ?? value;

export function touchedBy({ reads, stores }: FusedKernel, rootOf: (value: Node) => Node): Touched {
  const computed = (roots: Iterable<Node>) => [...new Set(roots)].filter((r) => !isResident(r));
  return { reads: computed([...reads].map(rootOf)), writes: computed(stores.map((s) => s.to.root)) };
}

/** The live ranges of each computed tensor, in order: one, or several if its kernel is repeated. */
export function livesOf(plan: FusionPlan): Map<Node, Life[]> {
  const rootOf = rootIn(plan);
  const lives = new Map<Node, { from: number; to: number }[]>();
  const seen = new Set<FusedKernel>();
  plan.kernels.forEach((kernel, i) => {
    const { reads, writes } = touchedBy(kernel, rootOf);
    for (const r of reads) {
      const life = lives.get(r)?.at(-1);
      if (life) life.to = i;
    }
    for (const w of writes) {
      const list = lives.get(w);
      if (!list) lives.set(w, [{ from: i, to: i }]);
      else if (seen.has(kernel)) list.push({ from: i, to: i });
      else list.at(-1)!.to = i;
    }
    seen.add(kernel);
  });
  for (const { node } of plan.graph.outputs) {
    const life = lives.get(rootOf(node))?.at(-1);
    if (life) life.to = plan.kernels.length;
  }
  return lives;
}

/** Bytes alive at each kernel, at typical sizes. */
export function bytesAlive(lives: ReadonlyMap<Node, readonly Life[]>, kernels: number): Float64Array {
  const taken = new Float64Array(kernels + 2);
  for (const [root, list] of lives) {
    const bytes = typical(deviceBytes(root));
    for (const { from, to } of list) {
      taken[from]! += bytes;
      taken[to + 1]! -= bytes;
    }
  }
  for (let i = 1; i < taken.length; i++) taken[i]! += taken[i - 1]!;
  return taken.subarray(0, kernels);
}
