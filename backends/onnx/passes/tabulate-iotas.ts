/**
 * iota of a known size -> a table of its numbers, with which fold computes on: the frequencies and angles of rotary
 * embeddings become weights of the file. On a GPU an iota is an index and costs nothing; in ONNX it is a Range, its
 * Casts, and an operator for each step that is made of it.
 */
import { mostFoldedElements, ops, rewrite, sourceOf } from "../../../compiler/index.ts";

const { nodeRule, refuse, rewritePass } = rewrite;

export const tabulateIotas = rewritePass("tabulate-iotas", [
  nodeRule("known-size", {
    kind: "source",
    example: () => ops.iota({ name: "a", size: 3 }),
    rewrite: (node) => {
      if (sourceOf(node) !== "position") return undefined;
      const { type } = node;
      const [axis] = type.axes as [(typeof type.axes)[number]];
      if (typeof axis.size !== "number") return refuse("its size is known when it runs");
      if (axis.size > mostFoldedElements) return refuse(`${axis.size} elements are too many for a table`);
      const counted = Array.from({ length: axis.size }, (_, i) => i);
      return ops.table(counted, [axis], type.dtype);
    },
  }),
]);
