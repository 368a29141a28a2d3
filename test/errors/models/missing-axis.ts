/** A reduction over an axis that has been merged away. */
import { ops } from "../../../compiler/index.ts";

export function build() {
  const x = ops.input("x", "f32", [
    { name: "heads", size: 4 },
    { name: "d", size: 8 },
  ]);
  const flat = ops.merge(x, ["heads", "d"], "embed");
  return ops.reduceSum(flat, ["heads"]);
}
