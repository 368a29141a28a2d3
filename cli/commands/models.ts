/** `heddle models`: lists the bundled models, with their descriptions and modes. */
import { countParameters } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { json } from "../output.ts";

export interface ModelsArguments {
  readonly json: boolean;
}

/** The modes that compare images with texts. */
const comparing = ["classify", "retrieve"];

/** The JSON of a model. */
export interface Listed {
  readonly name: string;
  readonly summary: string;
  readonly parameters: number;
  /** Presets, which `--set` takes. */
  readonly configs: readonly string[];
  readonly stages: readonly string[];
  readonly modes: readonly string[];
  readonly paper: string | null;
}

export function modelsCommand(args: ModelsArguments): number {
  const listed: Listed[] = [];
  for (const model of bundledModels) {
    const { name, summary, configs = {}, stages = {}, modes = {}, paper } = model;
    const one: Listed = {
      name,
      summary,
      parameters: countParameters(trace(model)).parameters,
      configs: Object.keys(configs),
      stages: Object.keys(stages),
      modes: Object.keys(modes).flatMap((mode) => (mode === "compare" ? comparing : [mode])),
      paper: paper?.source ?? null,
    };
    listed.push(one);
    if (!args.json) process.stdout.write(lines(one));
  }
  if (args.json) process.stdout.write(`${json(listed)}\n`);
  return 0;
}

const counted = (n: number): string => (n < 1e9 ? `${(n / 1e6).toFixed(1)} M` : `${(n / 1e9).toFixed(1)} B`);

/**
 * A line with indented details: tracing a large model takes a moment, so each model is printed as soon as it is known.
 */
const lines = ({ name, summary, parameters, configs, stages, modes, paper }: Listed): string =>
  [
    `${name.padEnd(32)}${counted(parameters).padStart(8)} parameters`,
    `  ${summary}${paper === null ? "" : ` (${paper})`}`,
    ...(configs.length > 0 ? [`  --set: ${configs.join(", ")}`] : []),
    ...(stages.length > 0 ? [`  stages: ${stages.join(", ")}`] : []),
    ...(modes.length > 0 ? [`  run: ${modes.join(", ")}`] : []),
    "",
  ].join("\n");
