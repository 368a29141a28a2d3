/** A subject measured in a page. */

/** A library with the model on the device: pixels f32 [batch = 1, channel, row, column] in, logits out. */
export interface Subject {
  run(pixels: Float32Array<ArrayBuffer>): Promise<Float32Array>;
}

/** Loads library, model and weights. `base` is the URL of the files; `size` the side of an image. */
export type Open = (base: string, size: number) => Promise<Subject>;
