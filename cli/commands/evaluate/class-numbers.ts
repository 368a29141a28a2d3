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
 * Throws UsageError if neither fits, for a number out of range, a single class, or
 * languages with different numbers of labels.
 */
export function classNumbers(samples: readonly Labelled[], labels: ByLanguage): readonly number[] {
  const count = Object.values(labels)[0]!.length;
  const other = Object.entries(labels).find(([, names]) => names.length !== count);
  if (other)
    throw new UsageError(
      `there are ${count} labels in "${Object.keys(labels)[0]}", but ${other[1].length} in "${other[0]}"`,
    );
  if (count < 2) throw new UsageError(`there is one class, "${Object.values(labels)[0]}": at least two are required`);
  const folders = [...new Set(samples.flatMap(({ className }) => className ?? []))].sort();
  const placeOf = new Map(placesOf(folders, labels).map((place, i) => [folders[i]!, place]));
  return samples.map(({ name, className, label }) => {
    const number = className === undefined ? label! : placeOf.get(className)!;
    if (number < count) return number;
    throw new UsageError(`${name} has class ${number}, but there are ${count} labels, numbered from 0`);
  });
}

/** The label of each folder. File systems may decompose accents. */
function placesOf(folders: readonly string[], labels: ByLanguage): readonly number[] {
  const languages = Object.values(labels).map((names) => names.map(composed));
  const found = languages.map((names) => folders.map((folder) => names.indexOf(composed(folder))));
  const byName = found.find((places) => places.every((place) => place >= 0));
  if (byName) return byName;
  const count = languages[0]!.length;
  if (folders.length !== count)
    throw new UsageError(
      `the data has ${folders.length} class folders with images, but --labels has ${count} names that do not match them: give one name per folder, in the folders' sorted order`,
    );
  requireOrder(folders, found);
  return folders.map((_, i) => i);
}

/** Throws UsageError for a folder whose name is the label of another place, where a misspelt name is likely. */
function requireOrder(folders: readonly string[], found: readonly (readonly number[])[]): void {
  for (const places of found) {
    const moved = places.findIndex((place, i) => place >= 0 && place !== i);
    if (moved < 0) continue;
    const unnamed = folders[places.indexOf(-1)];
    throw new UsageError(
      `--labels has the name of the folder "${folders[moved]}" in another place than the folder, and no name "${unnamed}": name all folders, or none`,
    );
  }
}

const composed = (name: string): string => name.normalize("NFC");
