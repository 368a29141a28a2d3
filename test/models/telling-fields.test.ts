/**
 * Every field of a config class of transformers that changes a model's results (scripts/reference/config_fields.py) is obeyed, or
 * refused by its name.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isDescribedBy, type JsonRecord, type Model } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";

interface Family {
  readonly config: JsonRecord;
  /** Paths of fields, and the values that change results. */
  readonly telling: readonly (readonly [field: string, value: unknown])[];
}
const families: readonly Family[] = JSON.parse(
  readFileSync(new URL("../fixtures/config-fields.json", import.meta.url), "utf8"),
);

function changed(json: JsonRecord, [key, ...rest]: readonly string[], value: unknown): JsonRecord {
  return { ...json, [key!]: rest.length === 0 ? value : changed(json[key!] as JsonRecord, rest, value) };
}

/** The settings that a model reads, or what it refuses. */
function read({ checkpoints, config }: Model, json: JsonRecord): string {
  try {
    return JSON.stringify(checkpoints!.config!.read(json, config));
  } catch (error) {
    return (error as Error).message;
  }
}

describe.each(families.map((f) => [f.config.model_type, f] as const))("the config of %s", (_, { config, telling }) => {
  const model = bundledModels.find(({ checkpoints }) => {
    const codec = checkpoints?.config;
    return codec?.types.includes(String(config.model_type)) && isDescribedBy(codec, config);
  })!;
  const plain = read(model, config);

  test("is read", () => expect(plain).toMatch(/^\{/));

  test.each(telling)("%s = %j is obeyed or refused by name", (field, value) => {
    const path = field.split(".");
    const found = read(model, changed(config, path, value));
    if (found.startsWith("{")) expect(found).not.toBe(plain);
    else expect(found).toContain(`"${path.at(-1)}"`);
  });
});
