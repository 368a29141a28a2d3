/** Rotary settings of a `config.json`: `rope_theta`, `rope_scaling` or `rope_parameters`, or `rotary`. */
import { type RotaryScaling, shown, UsageError } from "../../dsl/index.ts";
import type { PublishedConfig } from "../config-fields.ts";

export interface RotaryConfig {
  readonly base: number;
  readonly scaling?: RotaryScaling;
}

const recordOf = (json: PublishedConfig, key: string): PublishedConfig | undefined => {
  const value = json[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "object" && !Array.isArray(value)) return value as PublishedConfig;
  throw new UsageError(`the language model's config: "${key}" is ${shown(value)}; expected an object`);
};

/**
 * Base and scaling of the rotation. As in transformers, `rope_scaling` takes precedence over `rope_parameters`, and a
 * base missing there is read from beside it. Throws UsageError for an unknown scaling, and for a scaling's field that
 * is missing or unknown.
 */
export function readRotary(json: PublishedConfig): RotaryConfig {
  const internlm = recordOf(json, "rotary");
  if (internlm) return { base: numberIn(internlm, "rotary", "base", 10000), ...plainInternlm(internlm) };
  const name = filled(recordOf(json, "rope_scaling")) ? "rope_scaling" : "rope_parameters";
  const record = recordOf(json, name) ?? {};
  const base = numberIn(record, name, "rope_theta", numberIn(json, "", "rope_theta", 10000));
  const scaling = readScaling(record, name, json);
  return scaling ? { base, scaling } : { base };
}

const filled = (record: PublishedConfig | undefined): boolean => record !== undefined && Object.keys(record).length > 0;

/**
 * InternLM's own format. "dynamic" is the same as "origin" up to `max_position_embeddings` tokens, which `rotaryNotes`
 * reports.
 */
function plainInternlm(rotary: PublishedConfig): Record<never, never> {
  const type = rotary.type ?? "origin";
  if (type === "origin" || type === "dynamic") return {};
  throw new UsageError(
    `the language model's config: "rotary.type" is ${shown(type)}; only "origin" and "dynamic" are supported`,
  );
}

/** Messages about the rotation. */
export function rotaryNotes(json: PublishedConfig): string[] {
  const { rotary, max_position_embeddings: most = 2048 } = json;
  if (typeof rotary !== "object" || (rotary as PublishedConfig | null)?.type !== "dynamic") return [];
  return [
    `the language model's config: "rotary.type" is "dynamic", which changes positions in texts of more than ${shown(most)} tokens; heddle does not scale the positions of longer texts`,
  ];
}

const fieldsOf = {
  default: [],
  linear: ["factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
} as const;
type Known = keyof typeof fieldsOf;

function readScaling(record: PublishedConfig, name: string, json: PublishedConfig): RotaryScaling | undefined {
  const type = record.rope_type ?? record.type ?? (filled(record) && "factor" in record ? undefined : "default");
  if (typeof type !== "string" || !Object.hasOwn(fieldsOf, type))
    throw new UsageError(
      `the language model's config: "${name}" has the type ${shown(type ?? null)}; only "default", "linear" and "llama3" are supported`,
    );
  const own: readonly string[] = [...fieldsOf[type as Known], "rope_type", "type", "rope_theta"];
  for (const [key, value] of Object.entries(record)) {
    const neutral = value === null || (key === "partial_rotary_factor" && value === 1);
    if (!own.includes(key) && !neutral)
      throw new UsageError(
        `the language model's config: "${name}.${key}" is ${shown(value)}, which is not supported with the type "${type}"`,
      );
  }
  const positive = (key: string, otherwise?: number) => {
    const value = numberIn(record, name, key, otherwise);
    if (value > 0) return value;
    throw new UsageError(`the language model's config: "${name}.${key}" is ${value}; expected a positive number`);
  };
  if (type === "default") return undefined;
  if (type === "linear") return { type: "linear", factor: positive("factor") };
  const most = json.max_position_embeddings;
  const scaling = {
    type: "llama3",
    factor: positive("factor"),
    low: positive("low_freq_factor"),
    high: positive("high_freq_factor"),
    context: positive("original_max_position_embeddings", typeof most === "number" ? most : undefined),
  } as const;
  if (scaling.low < scaling.high) return scaling;
  throw new UsageError(
    `the language model's config: "${name}.low_freq_factor" is ${scaling.low}; expected less than "high_freq_factor", ${scaling.high}`,
  );
}

function numberIn(record: PublishedConfig, where: string, key: string, otherwise?: number): number {
  const value = record[key] ?? otherwise;
  if (typeof value === "number") return value;
  const place = where === "" ? key : `${where}.${key}`;
  const found = value === undefined ? "missing" : shown(value);
  throw new UsageError(`the language model's config: "${place}" is ${found}; expected a number`);
}

/** The rotary fields of a config; old readers know `rope_theta` and `rope_scaling`. */
export function writeRotary({ base, scaling }: RotaryConfig): PublishedConfig {
  if (!scaling) return { rope_theta: base };
  if (scaling.type === "linear")
    return { rope_theta: base, rope_scaling: { rope_type: "linear", factor: scaling.factor } };
  const { factor, low, high, context } = scaling;
  return {
    rope_theta: base,
    rope_scaling: {
      rope_type: "llama3",
      factor,
      low_freq_factor: low,
      high_freq_factor: high,
      original_max_position_embeddings: context,
    },
  };
}
