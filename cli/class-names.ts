/** The names of a model's classes, which config.json has as `id2label`. */
import { configFile, type JsonRecord, type Model } from "../dsl/index.ts";
import type { WrittenConfig } from "./written-config.ts";

/** A class without a name is called by its number. */
export type ClassNames = readonly (string | undefined)[];

/** The class names of a config.json of transformers or timm, by number; empty if it has none. */
export function classNamesIn(json: JsonRecord | undefined): ClassNames {
  const known = Object(json?.id2label ?? json?.label_names) as JsonRecord;
  return Object.keys(known).map((_, i) => (Object.hasOwn(known, i) ? String(known[i]) : undefined));
}

/** A name for each of `count` classes. */
export const everyClassName = (count: number, names: ClassNames): readonly string[] =>
  Array.from({ length: count }, (_, i) => names[i] ?? `class ${i}`);

/** Adds class names to the config.json of a model that has classes, unless the file says another number of them. */
export function withClassNames(
  model: Model | undefined,
  made: WrittenConfig | undefined,
  names: ClassNames,
): WrittenConfig | undefined {
  const { classify, segment } = model?.modes ?? {};
  if (made?.name !== configFile.name || !(classify || segment) || names.length === 0) return made;
  const { content } = made;
  if (content.id2label && classNamesIn(content).length !== names.length) return made;
  const every = everyClassName(names.length, names);
  const id2label = Object.fromEntries(every.map((name, i) => [i, name]));
  const label2id = Object.fromEntries(every.map((name, i) => [name, i]));
  return { ...made, content: { ...content, id2label, label2id } };
}
