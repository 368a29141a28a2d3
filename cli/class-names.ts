/** The names of a model's classes, which config.json has as `id2label`. */
import type { JsonRecord, Model } from "../dsl/index.ts";

/** A class without a name is called by its number. */
export type ClassNames = readonly (string | undefined)[];

/** The class names of a config.json, by number; empty if it has none. */
export function classNamesIn(json: JsonRecord | undefined): ClassNames {
  const known = (json?.id2label ?? {}) as JsonRecord;
  return Object.keys(known).map((_, i) => (Object.hasOwn(known, i) ? String(known[i]) : undefined));
}

/** A name for each of `count` classes. */
export const everyClassName = (count: number, names: ClassNames): readonly string[] =>
  Array.from({ length: count }, (_, i) => names[i] ?? `class ${i}`);

/** Adds class names to the config.json of a model that has classes, unless the file says another number of them. */
export function withClassNames(
  model: Model | undefined,
  made: JsonRecord | undefined,
  names: ClassNames,
): JsonRecord | undefined {
  const { classify, segment } = model?.modes ?? {};
  if (!made || !(classify || segment) || names.length === 0) return made;
  if (made.id2label && classNamesIn(made).length !== names.length) return made;
  const every = everyClassName(names.length, names);
  return {
    ...made,
    id2label: Object.fromEntries(every.map((name, i) => [i, name])),
    label2id: Object.fromEntries(every.map((name, i) => [name, i])),
  };
}
