/** Training stages of the InternVL family, with the published settings. */
import type { TensorRule } from "./layout.ts";

/**
 * Whether weight decay acts on a parameter: as in the published code, on tensors of more than one dimension as they are
 * stored, so not on biases, norms and LayerScale, however many axes these have here.
 */
export function decaysAsStored(rules: readonly TensorRule[]): (path: string) => boolean {
  const ranks = new Map(rules.map((r) => [r.path, r.axes === "" ? 0 : r.axes.split(" ").length]));
  return (path) => (ranks.get(path.replace(/(^|\.)\d+(?=\.|$)/g, "$1{}")) ?? 0) > 1;
}
