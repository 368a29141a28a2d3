/**
 * The mark of files whose tensors have heddle's own names and axis order. Shapes do not always tell that from a
 * published layout: a 3 × 3 kernel over three channels is [to, 3, 3, 3] in both.
 */
import type { SafetensorsReader } from "./reader.ts";

const key = "heddle.layout";

/** The metadata of a file in heddle's own layout. */
export const ownLayoutMark: Readonly<Record<string, string>> = { [key]: "own" };

/** Whether a file says that it is in heddle's own layout. */
export const isMarkedOwn = ({ metadata }: Pick<SafetensorsReader, "metadata">): boolean => metadata.get(key) === "own";
