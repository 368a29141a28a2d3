/** A residual around a layer that shortened the sequence. */
import { ops, symbol } from "../../../compiler/index.ts";

export function build() {
  const x = ops.input("tokens", "f32", [
    { name: "token", size: symbol("tokens") },
    { name: "embed", size: 8 },
  ]);
  const shorter = ops.slice(x, "token", 1, ops.input("n", "i32", [{ name: "token", size: 4 }]).type.axes[0]!.size);
  return ops.add(x, ops.relu(shorter));
}
