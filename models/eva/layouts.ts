/** Checkpoint layouts of EVA-CLIP: OpenCLIP's, whose vision towers are timm's, and EVA's own. */
import { same, type TensorRule, under } from "../../dsl/index.ts";
import { linearRules, normRules, openTextRules } from "../clip/layouts.ts";

const moved = (path: string, name: string, axes: string): TensorRule => ({ path, name, axes });
const [narrowed, spread] = ["heads*head_dim embed", "embed heads*head_dim"];

/** Tensor names of the gated MLP and of the norms inside a block. */
type Names = Readonly<Record<"gate" | "up" | "down" | "mlpNorm" | "attentionNorm", string>>;

const common = (block: readonly TensorRule[]): TensorRule[] => [
  moved("class_embedding", "cls_token", "1 1 embed"),
  moved("positions", "pos_embed", "1 token embed"),
  ...linearRules("patches", "patch_embed.proj", "embed channel patch_row patch_column"),
  ...under("blocks.{}", "blocks.{}", [
    ...normRules("norm1", "norm1"),
    ...normRules("norm2", "norm2"),
    ...linearRules("attn.out", "attn.proj", spread!),
    ...block,
  ]),
  ...normRules("norm", "norm"),
  ...linearRules("head", "head", "feature embed"),
];

/** Separate biases of queries and values. */
const biasesApart: readonly TensorRule[] = ["q", "v"].map((x) =>
  moved(`attn.${x}.bias`, `attn.${x}_bias`, "heads*head_dim"),
);

/** timm's towers g and E: fused queries, keys and values, an MLP of two layers. */
export const timmJoinedRules: readonly TensorRule[] = common([
  ...["q", "k", "v"].map((x, i) => moved(`attn.${x}.weight`, "attn.qkv.weight", `${i}/3*${narrowed}`)),
  ...biasesApart,
  ...linearRules("mlp.fc1", "mlp.fc1", "hidden embed"),
  ...linearRules("mlp.fc2", "mlp.fc2", "embed hidden"),
]);

/** B and L: all separate, a gated MLP, norms inside both branches. */
const apart = ({ gate, up, down, mlpNorm, attentionNorm }: Names, biases: readonly TensorRule[]) =>
  common([
    ...["q", "k", "v"].map((x) => moved(`attn.${x}.weight`, `attn.${x}_proj.weight`, narrowed!)),
    ...biases,
    ...normRules("attn.norm", attentionNorm, "heads*head_dim"),
    ...linearRules("mlp.gate", gate, "hidden embed"),
    ...linearRules("mlp.up", up, "hidden embed"),
    ...normRules("mlp.norm", mlpNorm, "hidden"),
    ...linearRules("mlp.down", down, "embed hidden"),
  ]);

const timmNames: Names = {
  ...{ gate: "mlp.fc1_g", up: "mlp.fc1_x", down: "mlp.fc2" },
  ...{ mlpNorm: "mlp.norm", attentionNorm: "attn.norm" },
};
const ownNames: Names = {
  ...{ gate: "mlp.w1", up: "mlp.w2", down: "mlp.w3" },
  ...{ mlpNorm: "mlp.ffn_ln", attentionNorm: "attn.inner_attn_ln" },
};
const biasesWithin: readonly TensorRule[] = ["q", "v"].map((x) =>
  moved(`attn.${x}.bias`, `attn.${x}_proj.bias`, "heads*head_dim"),
);

/** timm's tower with "sub-norm" blocks. */
export const timmApartRules: readonly TensorRule[] = apart(timmNames, biasesWithin);

const whole = (vision: string, tower: readonly TensorRule[]): readonly TensorRule[] => [
  ...under("vision", vision, tower),
  ...under("text", "text", openTextRules),
  same("logit_scale", ""),
];

/** All layouts that can be read: OpenCLIP's, which is also written, and EVA's own. */
export const evaLayouts: readonly (readonly TensorRule[])[] = [
  whole("visual.trunk", timmJoinedRules),
  whole("visual.trunk", timmApartRules),
  whole("visual", timmJoinedRules),
  whole("visual", apart(ownNames, biasesApart)),
];
