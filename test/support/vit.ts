/** An InternViT of any size in plain op builders, forward and as a training step, for tests of printing and passes. */
import {
  type Axis,
  type Dim,
  differentiate,
  type Graph,
  makeGraph,
  type Node,
  ops,
  symbol,
} from "../../compiler/index.ts";

export interface VitSize {
  readonly depth: number;
  readonly batch: Dim;
  readonly patch: number;
  readonly pixel: number;
  readonly heads: number;
  readonly headDim: number;
  readonly hidden: number;
}

export const internVit6B: VitSize = {
  depth: 48,
  batch: symbol("batch"),
  patch: 1025,
  pixel: 588,
  heads: 25,
  headDim: 128,
  hidden: 12800,
};

const normalInit = { kind: "truncated_normal", mean: 0, std: 0.02, low: -0.04, high: 0.04 } as const;
const one = { kind: "constant", value: 1 } as const;
const zero = { kind: "constant", value: 0 } as const;

function block(path: string, x: Node, s: VitSize, rate: number): Node {
  const embed: Axis = { name: "embed", size: s.heads * s.headDim };
  const [heads, headDim] = [
    { name: "heads", size: s.heads },
    { name: "head_dim", size: s.headDim },
  ];
  const weight = (name: string, axes: readonly Axis[]) => ops.parameter(`${path}.${name}`, "f32", axes, normalInit);
  const scale = (name: string, axes: readonly Axis[]) => ops.parameter(`${path}.${name}`, "f32", axes, one);
  const bias = (name: string, axes: readonly Axis[]) => ops.parameter(`${path}.${name}`, "f32", axes, zero);
  const normed = ops.rmsNorm(x, scale("norm1.weight", [embed]), ["embed"], 1e-6);
  const qkv = ops.contract(normed, weight("attn.qkv.weight", [{ name: "three", size: 3 }, heads, headDim, embed]), [
    "embed",
  ]);
  const part = (i: number) => ops.at(qkv, "three", i);
  const both = ["heads", "head_dim"];
  const q = ops.rmsNorm(part(0), scale("attn.q_norm.weight", [heads, headDim]), both, 1e-6);
  const k = ops.rmsNorm(part(1), scale("attn.k_norm.weight", [heads, headDim]), both, 1e-6);
  const key = (t: Node) => ops.rename(t, "patch", "key_patch");
  const axes = { dot: "head_dim", over: "key_patch", scale: s.headDim ** -0.5 };
  const mixed = ops.attention(q, key(k), key(part(2)), axes);
  const inner = [
    { name: "heads", size: s.heads },
    { name: "head_dim", size: s.headDim },
  ];
  const out = ops.contract(mixed, weight("attn.proj.weight", [...inner, embed]), both);
  const attended = ops.mul(ops.add(out, bias("attn.proj.bias", [embed])), scale("ls1", [embed]));
  const y = ops.add(x, dropPath(`${path}.drop1`, attended, s, rate));
  const normed2 = ops.rmsNorm(y, scale("norm2.weight", [embed]), ["embed"], 1e-6);
  const hidden: Axis = { name: "hidden", size: s.hidden };
  const up = ops.add(
    ops.contract(normed2, weight("mlp.fc1.weight", [hidden, embed]), ["embed"]),
    bias("mlp.fc1.bias", [hidden]),
  );
  const down = ops.contract(ops.gelu(up), weight("mlp.fc2.weight", [embed, hidden]), ["hidden"]);
  const fed = ops.mul(ops.add(down, bias("mlp.fc2.bias", [embed])), scale("ls2", [embed]));
  return ops.add(y, dropPath(`${path}.drop2`, fed, s, rate));
}

function dropPath(name: string, x: Node, s: VitSize, rate: number): Node {
  if (rate === 0) return x;
  const kept = ops.random(name, [{ name: "batch", size: s.batch }], { kind: "bernoulli", p: 1 - rate });
  return ops.mul(x, ops.mul(kept, 1 / (1 - rate)));
}

/** The features of the last block. `rate` is the maximum drop path rate, growing linearly from 0 over the blocks. */
export function vitFeatures(s: VitSize, rate = 0): { readonly images: Node; readonly features: Node } {
  const embed: Axis = { name: "embed", size: s.heads * s.headDim };
  const patch: Axis = { name: "patch", size: s.patch };
  const images = ops.input("patches", "f32", [
    { name: "batch", size: s.batch },
    patch,
    { name: "pixel", size: s.pixel },
  ]);
  const weight = ops.parameter("patch_embed.weight", "f32", [embed, { name: "pixel", size: s.pixel }], normalInit);
  const positions = ops.parameter("pos_embed", "f32", [patch, embed], normalInit);
  let x = ops.add(ops.contract(images, weight, ["pixel"]), positions);
  for (let i = 0; i < s.depth; i++) x = block(`blocks.${i}`, x, s, (rate * i) / Math.max(1, s.depth - 1));
  return { images, features: x };
}

export function vitForward(s: VitSize): Graph {
  const { images, features } = vitFeatures(s);
  return makeGraph("intern_vit", [{ name: "features", node: features }], [images]);
}

/** One gradient descent step on the mean square of the features, updating every parameter. */
export function vitTraining(s: VitSize, rate = 0): Graph {
  const { images, features } = vitFeatures(s, rate);
  const loss = ops.reduceMean(
    ops.mul(features, features),
    features.type.axes.map((a) => a.name),
  );
  const forward = makeGraph("f", [{ name: "loss", node: loss }]);
  const parameters = forward.inputs.filter((n) => n.op === "parameter");
  const gradients = differentiate(loss, parameters);
  const updated = parameters.map((p, i) => ({
    name: `new.${p.attrs.name}`,
    node: ops.sub(p, ops.mul(gradients[i]!, 0.01)),
  }));
  const updates = Object.fromEntries(parameters.map((p) => [`new.${p.attrs.name}`, String(p.attrs.name)]));
  return makeGraph("train", [{ name: "loss", node: loss }, ...updated], [images], updates);
}
