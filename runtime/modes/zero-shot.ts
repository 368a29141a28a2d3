/**
 * Zero-shot classification: a class is the mean direction of its prompts. Radford et al. 2021, arXiv:2103.00020,
 * section 3.1.4; CLIP-Benchmark, which produced the InternVL figures.
 */
import { UsageError } from "../../compiler/index.ts";
import type { RowVectors } from "./rows.ts";

/**
 * One unit vector per class: its prompts' embeddings normalized, averaged, normalized again. `classes[i]` is the class
 * of prompt i, from 0. Throws UsageError for a class whose prompts cancel to zero.
 */
export function classVectors(prompts: RowVectors, classes: readonly number[], count: number): RowVectors {
  const { width } = prompts;
  const sums = new Float64Array(count * width);
  for (const [prompt, index] of classes.entries()) {
    const row = prompts.data.subarray(prompt * width, (prompt + 1) * width);
    const length = Math.hypot(...row);
    for (let i = 0; i < width; i++) sums[index * width + i]! += row[i]! / length;
  }
  const data = new Float32Array(count * width);
  for (let index = 0; index < count; index++) {
    const sum = sums.subarray(index * width, (index + 1) * width);
    const length = Math.hypot(...sum);
    if (!(length > 0))
      throw new UsageError(
        `the mean embedding of the prompts of class ${index} has length ${length} and cannot be normalized`,
      );
    data.set(
      sum.map((v) => v / length),
      index * width,
    );
  }
  return { data, width };
}

/** The scaled and shifted cosine similarities of one image with every class. `scale` is exp(logit_scale). -> [class] */
export function classLogits(image: Float32Array, classes: RowVectors, scale: number, bias = 0): Float64Array {
  const { data, width } = classes;
  return Float64Array.from({ length: data.length / width }, (_, c) => {
    let cosine = 0;
    for (let i = 0; i < width; i++) cosine += image[i]! * data[c * width + i]!;
    return scale * cosine + bias;
  });
}

/** The softmax of logits. */
export function shares(logits: Float64Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = logits.map((v) => Math.exp(v - top));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / total);
}
