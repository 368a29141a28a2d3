/** Which of the labels each sample is of. */
import { UsageError } from "../../../compiler/index.ts";
import type { ImageSource } from "../../../data/index.ts";
import type { ByLanguage } from "../run/prompts.ts";

/** What a picture or a video is judged by. */
export interface Labelled {
  readonly name: string;
  readonly className?: string;
  readonly label?: number;
  readonly image?: ImageSource;
}

/**
 * The class of each sample as its place among the labels. A folder's name is looked for among those of each language; where
 * one language has all of them they are told apart by name, else folders in name order are the labels in theirs. Throws
 * UsageError where neither fits, or for a number that is none of the labels'.
 */
export function classNumbers(samples: readonly Labelled[], labels: ByLanguage): readonly number[] {
  const count = Object.values(labels)[0]!.length;
  const folders = [...new Set(samples.flatMap(({ className }) => className ?? []))].sort();
  const named = Object.values(labels).find((names) => folders.every((folder) => names.includes(folder)));
  if (!named && folders.length !== count)
    throw new UsageError(
      `the data has ${folders.length} folders of classes and --labels ${count} names, which are not the folders': give one for each folder, in the order of their names`,
    );
  const order = named ?? folders;
  return samples.map(({ name, className, label }) => {
    const number = className === undefined ? label! : order.indexOf(className);
    if (number < count) return number;
    throw new UsageError(`${name} is of class ${number}, and there are ${count} labels, counted from 0`);
  });
}
