/** The subjects that are measured in a page. */
import { InvalidArgumentError } from "commander";

/** A library with the model on the device: pixels f32 [batch = 1, channel, row, column] in, logits out. */
export interface Subject {
  run(pixels: Float32Array<ArrayBuffer>): Promise<Float32Array>;
}

/** Loads library, model and weights. `base` is the URL of the files; `size` the side of an image. */
export type Open = (base: string, size: number) => Promise<Subject>;

/** In the order of the table; results are compared with the first. */
export const subjectNames = ["heddle, bundle", "heddle, session", "onnxruntime-web", "transformers.js"] as const;

export type SubjectName = (typeof subjectNames)[number];

/** The subjects whose names contain a word. Throws when there is none. */
export function subjectsNamed(word: string): readonly SubjectName[] {
  const chosen = subjectNames.filter((name) => name.includes(word));
  if (chosen.length > 0) return chosen;
  throw new InvalidArgumentError(`The names are ${subjectNames.map((name) => `"${name}"`).join(", ")}.`);
}

/** Whether any of them is a library that must be installed. */
export const needPeers = (names: readonly SubjectName[]): boolean => names.some((name) => !name.startsWith("heddle"));
