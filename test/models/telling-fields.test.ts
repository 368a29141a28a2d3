/**
 * Every field of a config class of transformers that changes a model's results (scripts/reference/config_fields.py) is
 * obeyed, or refused by its name.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { configure, isDescribedBy, type JsonRecord, type Model, parseSettings } from "../../dsl/index.ts";
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

/** Paths of the parts of a config.json that have a type of their own. */
const typedParts = (json: JsonRecord, path: readonly string[] = []): string[][] =>
  Object.entries(json).flatMap(([key, value]) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
    const part = value as JsonRecord;
    const own = "model_type" in part ? [[...path, key, "model_type"]] : [];
    return [...own, ...typedParts(part, [...path, key])];
  });

describe("a part of a config.json that is of another kind of model", () => {
  const written = bundledModels.flatMap((model) => {
    const config = model.configs?.tiny ? configure(model, parseSettings(model, ["tiny"])) : model.config;
    const json = model.checkpoints?.config?.write(config);
    return json ? typedParts(json).map((path) => [model.name, path.join("."), model, json] as const) : [];
  });

  test.each(written)("is refused: %s, %s", (_, path, model, json) => {
    expect(read(model, json)).toMatch(/^\{/);
    expect(read(model, changed(json, path.split("."), "another_model"))).toContain('"model_type" is "another_model"');
  });

  test.each(written)("is refused if it is no object: %s, %s", (_, path, model, json) => {
    const [part] = path.split(".");
    expect(read(model, { ...json, [part!]: "text" })).toContain(`"${part}" is "text"`);
  });
});
