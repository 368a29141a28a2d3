/** The class index of each sample. */
import { UsageError } from "../../../compiler/index.ts";
import type { ImageSource } from "../../../data/index.ts";
import type { ByLanguage } from "../run/prompts.ts";

/** The label of an image or a video. */
export interface Labelled {
  readonly name: string;
  readonly className?: string;
  readonly label?: number;
  readonly image?: ImageSource;
}

/**
 * The class of each sample as an index into the labels. Folder names are looked up in the labels of each language; if
 * one language has all of them, they are matched by name, else folders in name order correspond to labels in order.
 * Throws UsageError if neither fits, or for a number out of range.
 */
export function classNumbers(samples: readonly Labelled[], labels: ByLanguage): readonly number[] {
  const count = Object.values(labels)[0]!.length;
  const folders = [...new Set(samples.flatMap(({ className }) => className ?? []))].sort();
  const named = Object.values(labels).find((names) => folders.every((folder) => names.includes(folder)));
  if (!named && folders.length !== count)
    throw new UsageError(
      `the data has ${folders.length} class folders, but --labels has ${count} names that do not match them: give one name per folder, in the folders' sorted order`,
    );
  const order = named ?? folders;
  return samples.map(({ name, className, label }) => {
    const number = className === undefined ? label! : order.indexOf(className);
    if (number < count) return number;
    throw new UsageError(`${name} has class ${number}, but there are ${count} labels, numbered from 0`);
  });
}
