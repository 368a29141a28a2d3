/** Broadcasts: nested ones are merged, and renames move below them. */
import { build } from "../../ir/build.ts";
import type { Axis } from "../../ir/type.ts";
import { broadcast, rename } from "../../ops/index.ts";
import { nodeRule, type Rule } from "../../rewrite/index.ts";
import { operand, some } from "./movement-samples.ts";

export const broadcastRules: readonly Rule[] = [
  nodeRule("broadcast-over-nothing", {
    of: broadcast,
    example: () => build("broadcast", [some()], { axes: [] }),
    rewrite: (node) => ((node.attrs.axes as readonly unknown[]).length === 0 ? operand(node) : undefined),
  }),
  nodeRule("broadcast-of-broadcast", {
    of: broadcast,
    operand: broadcast,
    example: () => broadcast(broadcast(some(), [{ name: "n", size: 7 }]), [{ name: "m", size: 3 }]),
    rewrite: (node, inner) => {
      const axes = [node, inner].flatMap((n) => n.attrs.axes as unknown as Axis[]);
      return broadcast(operand(inner), axes);
    },
  }),
  nodeRule("rename-of-broadcast", {
    of: rename,
    operand: broadcast,
    example: () => rename(broadcast(some(), [{ name: "n", size: 7 }]), "n", "m"),
    rewrite: (node, inner) => {
      const [from, to] = [node.attrs.axis as string, node.attrs.to as string];
      const axes = inner.attrs.axes as unknown as Axis[];
      if (!axes.some((a) => a.name === from)) return broadcast(rename(operand(inner), from, to), axes);
      return broadcast(
        operand(inner),
        axes.map((a) => (a.name === from ? { name: to, size: a.size } : a)),
      );
    },
  }),
];
