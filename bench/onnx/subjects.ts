/** The exported models and how they are run. */

/** Inputs of a run; for a language model, the number of new tokens and of cached ones. */
export interface Phase {
  readonly name: string;
  readonly batch: number;
  readonly tokens?: number;
  readonly past?: number;
}

export interface Subject {
  readonly title: string;
  /** Its name in peers/torch/onnx_files.py. */
  readonly name: string;
  /** Arguments of `heddle export` besides weights, dtype and file. */
  readonly heddle: readonly string[];
  readonly phases: readonly Phase[];
  /** Compared outputs, each by the names that exporters give it. */
  readonly outputs: readonly (readonly string[])[];
  /**
   * Maximum difference of outputs, relative to the largest magnitude; none for quantized files, whose rounding decides.
   */
  readonly tolerance: Readonly<Record<string, number>>;
}

export const subjects: Readonly<Record<string, Subject>> = {
  vit: {
    title: "CLIP ViT-L/14, the picture tower",
    name: "vit",
    heddle: ["clip-vit-l-14", "--outputs", "image"],
    phases: [
      { name: "1 picture", batch: 1 },
      { name: "4 pictures", batch: 4 },
    ],
    outputs: [["image", "image_embeds"], ["pooler_output"]],
    tolerance: { f32: 1e-3, f16: 2e-2 },
  },
  llama: {
    title: "a LLaMA of 1.3 billion parameters with keys and values",
    name: "llama",
    heddle: ["vicuna-7b", "--graph", "decode"],
    phases: [
      { name: "prompt of 128", batch: 1, tokens: 128, past: 0 },
      { name: "a token after 128", batch: 1, tokens: 1, past: 128 },
    ],
    outputs: [["logits"]],
    tolerance: { f32: 1e-3, f16: 2e-2 },
  },
};
