/** Checkpoint layouts of LLaVA. */
import { same, type TensorRule, under } from "../../dsl/index.ts";
import { causalRules } from "../internvl/index.ts";

const affine = (path: string, name: string, out: string, from: string): TensorRule[] => [
  { path: `${path}.weight`, name: `${name}.weight`, axes: `${out} ${from}` },
  { path: `${path}.bias`, name: `${name}.bias`, axes: out },
];
const norm = (path: string) => [same(`${path}.weight`, "embed"), same(`${path}.bias`, "embed")];

/** `CLIPVisionModel`. */
const visionRules: readonly TensorRule[] = [
  same("embeddings.class_embedding", "embed"),
  same("embeddings.patch_embedding.weight", "embed channel patch_row patch_column"),
  same("embeddings.position_embedding.weight", "token embed"),
  ...norm("pre_layrnorm"),
  ...under("encoder.layers.{}", "encoder.layers.{}", [
    ...norm("layer_norm1"),
    ...["q", "k", "v"].flatMap((x) => affine(`self_attn.${x}`, `self_attn.${x}_proj`, "heads*head_dim", "embed")),
    ...affine("self_attn.out", "self_attn.out_proj", "embed", "heads*head_dim"),
    ...norm("layer_norm2"),
    ...affine("mlp.fc1", "mlp.fc1", "hidden", "embed"),
    ...affine("mlp.fc2", "mlp.fc2", "embed", "hidden"),
  ]),
];

const [vision, glue, language] = ["vision_tower", "multi_modal_projector", "language_model"];

const projectorRules = (first: string, second: string): TensorRule[] => [
  ...affine("linear_1", first, "embed_out", "embed"),
  ...affine("linear_2", second, "embed_out", "embed"),
];

/** transformers' form, with the tower's tensors under a prefix. */
const hubRules = (tower: string): readonly TensorRule[] => [
  ...under(vision, tower, visionRules),
  ...under(glue, glue, projectorRules("linear_1", "linear_2")),
  ...under(language, language, causalRules),
];

/** `LlavaForConditionalGeneration` as published, which every release of transformers reads. */
export const llavaRules = hubRules("vision_tower.vision_model");

/** The form that transformers 5 writes. */
export const llavaRules5 = hubRules("vision_tower");

/** The authors' form; it includes the tower only if that was trained, else the tower has its own folder. */
export const llavaOriginalRules: readonly TensorRule[] = [
  ...under(vision, "model.vision_tower.vision_tower.vision_model", visionRules),
  ...under(glue, "model.mm_projector", projectorRules("0", "2")),
  ...under(language, "", causalRules),
];

/** Prefixes of CLIP and Vicuna, which are missing where they are published alone. */
export const llavaParts: readonly string[] = ["vision_tower.", "language_model."];
