/**
 * iota of static size -> a constant table, for constant folding: the frequencies and angles of rotary embeddings become
 * constants in the file. On a GPU an iota is an index and free; in ONNX it is a Range, Casts, and an operator per use.
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
      if (typeof axis.size !== "number") return refuse("its size is only known at run time");
      if (axis.size > mostFoldedElements) return refuse(`${axis.size} elements are too many for a constant table`);
      const counted = Array.from({ length: axis.size }, (_, i) => i);
      return ops.table(counted, [axis], type.dtype);
    },
  }),
]);
