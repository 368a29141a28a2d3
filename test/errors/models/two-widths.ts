/** A model whose MLP was written for another width than its trunk. */

import { ops } from "../../../compiler/index.ts";
import { axis, contract, gelu, type Params, rootParams, type Tensor, truncatedNormal } from "../../../dsl/index.ts";

const base = { patch: axis("patch", 197), embed: axis("embed", 768) };
const large = { embed: axis("embed", 1024), hidden: axis("hidden", 4096) };

function mlp(p: Params, x: Tensor<"batch" | "patch" | "embed">) {
  const weight = p.scope("mlp").parameter("fc1", [large.embed, large.hidden], truncatedNormal(0.02));
  return gelu(contract(x, weight, large.embed));
}

export function build() {
  const p = rootParams();
  const images = ops.input("images", "f32", [axis("batch", "batch"), base.patch, base.embed]);
  const shift = p.parameter("shift", [base.embed], truncatedNormal(0.02));
  return mlp(p, ops.add(images, shift) as Tensor<"batch" | "patch" | "embed">);
}
