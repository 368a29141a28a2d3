/** Validation of a model's record where it is declared, and of what its functions return where they are called. */
import { type Birth, didYouMean } from "../compiler/index.ts";
import {
  declarationFault,
  declaredHere,
  isPlain,
  isPromise,
  isTensor,
  keepDeclaration,
  kindOfValue,
  refuse,
  strayFields,
  valueFaults,
} from "./declared.ts";

type Fields = Readonly<Record<string, unknown>>;
type Call = (...given: never[]) => unknown;
type Codec = Fields & {
  readonly file?: { readonly name: string };
  readonly read: (json: Fields, config: Fields) => unknown;
};

const modelFields = {
  name: true,
  summary: true,
  config: true,
  configs: true,
  build: true,
  runs: true,
  rules: true,
  graphs: true,
  stages: true,
  checkpoints: true,
  modes: true,
  preprocessing: true,
  paper: true,
} as const;

const graphFields = ["summary", "build", "runs"];

/** The fields of each mode, and those that name a graph of the model. */
const modeFields = {
  features: { fields: ["graph", "before", "grid"], graphs: ["graph"] },
  classify: { fields: ["graph", "output"], graphs: ["graph"] },
  segment: { fields: ["graph", "output", "stride", "multiple", "firstClass"], graphs: ["graph"] },
  compare: { fields: ["graph", "prefix", "clean", "special", "pad", "classes"], graphs: ["graph"] },
  caption: {
    fields: [
      ...["begin", "encode", "step", "limit", "tokens"],
      ...["prompt", "beams", "minTokens", "maxTokens", "pictures", "stops"],
    ],
    graphs: ["begin", "encode", "step"],
  },
  chat: { fields: ["begin", "step", "templates", "tokens"], graphs: ["begin", "step"] },
  generate: { fields: ["begin", "encode", "step", "limit", "tokens"], graphs: ["encode", "step"] },
} as const;

const preprocessingFields = ["fit", "margin", "interpolation", "mean", "std", "tiles"];
const fits = ["crop", "squash", "pad"];
const interpolations = ["bilinear", "bicubic", "lanczos"];
const checkpointFields = ["layouts", "parts", "fit", "config", "otherConfigs", "sizedByTensors", "copies"];
const codecFields = ["file", "types", "describes", "read", "notes", "incidental", "write", "sized"];
const ruleFields = ["path", "name", "axes"];
const recipeFields = [
  ...["config", "stage", "batch", "steps", "rate", "settings", "rules"],
  ...["notes", "startsFrom", "data", "validation"],
];

/**
 * The record, its functions wrapped to check what they return. Throws one UsageError naming every field that is
 * missing, misspelt or invalid.
 */
export function checkedModel<M extends object>(record: M): M {
  if (!isPlain(record))
    refuse([`a model must be an object { name, summary, config, build }, got ${kindOfValue(record)}`]);
  const model = record as Fields;
  refuse(modelFaults(model));
  return { ...record, ...checkedCalls(model) };
}

function modelFaults(model: Fields): string[] {
  const isNamed = typeof model.name === "string" && model.name !== "";
  const name = isNamed ? (model.name as string) : "the model";
  return [
    ...strayFields("a model", model, [...Object.keys(modelFields), "kind"]),
    ...(isNamed ? [] : [`a model needs \`name\`, a string, got ${kindOfValue(model.name)}`]),
    ...(isPlain(model.config)
      ? valueFaults(`${name}.config`, model.config)
      : [`${name} needs \`config\`, an object of settings, got ${kindOfValue(model.config)}`]),
    ...recordOf(name, "configs", model.configs, (at, config) =>
      isPlain(config) ? [] : [`${at} must be an object of the settings that differ, got ${kindOfValue(config)}`],
    ),
    ...buildFaults(name, model),
    ...recordOf(name, "graphs", model.graphs, (at, graph) => [
      ...(isPlain(graph) ? strayFields(at, graph, graphFields) : []),
      ...buildFaults(at, graph as Fields),
    ]),
    ...recordOf(name, "stages", model.stages, (at, stage) =>
      typeof stage === "function"
        ? []
        : [`${at} is ${kindOfValue(stage)}; expected a function (config, given) => ({ ... })`],
    ),
    ...modeFaults(name, model),
    ...preprocessingFaults(name, model.preprocessing),
    ...checkpointFaults(name, model.checkpoints),
  ];
}

/** The fields of a model with functions, wrapped to check what these return. */
function checkedCalls(model: Fields): Fields {
  const at = declaredHere();
  const name = model.name as string;
  const checkpoints = (model.checkpoints ?? {}) as CheckpointCodecs & { readonly layouts?: readonly object[] };
  for (const rules of checkpoints.layouts ?? []) keepDeclaration(rules, at);
  const graphs = model.graphs as Readonly<Record<string, Fields>> | undefined;
  const stages = model.stages as Readonly<Record<string, Call>> | undefined;
  return {
    build: buildingOutputs(at, name, model.build as Call),
    ...(graphs && {
      graphs: mapped(graphs, (graph, key) => ({
        ...graph,
        build: buildingOutputs(at, `${name}.${key}`, graph.build as Call),
      })),
    }),
    ...(model.checkpoints !== undefined && {
      checkpoints: { ...checkpoints, ...withReadings(checkpoints, (codec) => readingSettings(at, name, codec)) },
    }),
    ...(stages && { stages: mapped(stages, (make, key) => makingRecipe(at, `stage "${key}" of ${name}`, make)) }),
  };
}

/** The codecs of a record's checkpoints. */
interface CheckpointCodecs {
  readonly config?: Codec;
  readonly otherConfigs?: readonly Codec[];
}

const withReadings = ({ config, otherConfigs }: CheckpointCodecs, to: (codec: Codec) => Codec): CheckpointCodecs => ({
  ...(config && { config: to(config) }),
  ...(otherConfigs && { otherConfigs: otherConfigs.map(to) }),
});

const mapped = <V, W>(record: Readonly<Record<string, V>>, to: (value: V, key: string) => W): Record<string, W> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value, key)]));

/** The faults in a field that is an optional record. */
function recordOf(name: string, field: string, value: unknown, faults: (at: string, entry: unknown) => string[]) {
  if (value === undefined) return [];
  if (!isPlain(value)) return [`${name}.${field} must be an object by name, got ${kindOfValue(value)}`];
  return Object.entries(value).flatMap(([key, entry]) => faults(`${name}.${field}.${key}`, entry));
}

const buildFaults = (name: string, graph: Fields): string[] =>
  typeof graph?.build === "function"
    ? []
    : [`${name} needs \`build\`, a function (p, config) => ({ output: tensor }), got ${kindOfValue(graph?.build)}`];

function modeFaults(name: string, { modes, graphs }: Fields): string[] {
  const known = Object.keys(isPlain(graphs) ? graphs : {});
  const stray = isPlain(modes) ? strayFields(`${name}.modes`, modes, Object.keys(modeFields)) : [];
  return [
    ...stray,
    ...recordOf(name, "modes", modes, (at, mode) => {
      const about = modeFields[at.slice(`${name}.modes.`.length) as keyof typeof modeFields];
      if (!about || mode === undefined) return [];
      if (!isPlain(mode)) return [`${at} must be an object, got ${kindOfValue(mode)}`];
      const named = about.graphs.filter((field) => mode[field] !== undefined && !known.includes(mode[field] as string));
      return [
        ...strayFields(at, mode, about.fields),
        ...beginningFaults(at, mode),
        ...named.map((field) => {
          const has = known.length === 0 ? "it declares none in `graphs`" : `it has ${known.join(", ")}`;
          const asked = String(mode[field]);
          return `${at}.${field} names the graph "${asked}", which ${name} does not have${didYouMean(asked, known) || `: ${has}`}`;
        }),
      ];
    }),
  ];
}

/** The faults in how a mode's texts begin: with a prefill or an encoder. */
function beginningFaults(at: string, { begin, encode, pictures }: Fields): string[] {
  const has = [begin, encode].filter((given) => given !== undefined).length;
  if (at.endsWith(".modes.caption") && has !== 1)
    return [
      `${at} needs one of \`begin\`, a prefill graph that reads the image and the prompt, and \`encode\`, an encoder graph of the image`,
    ];
  if (at.endsWith(".modes.generate") && has === 2)
    return [`${at} has \`encode\`, so that its prompt is a source: it cannot have \`begin\` too`];
  if (encode !== undefined && pictures !== undefined)
    return [`${at}.pictures is for a prefill that reads several images; an encoder takes one`];
  return [];
}

function preprocessingFaults(name: string, given: unknown): string[] {
  if (given === undefined) return [];
  const at = `${name}.preprocessing`;
  if (!isPlain(given)) return [`${at} must be an object, got ${kindOfValue(given)}`];
  const { fit, interpolation } = given;
  const asked = isPlain(fit) ? Object.values(fit) : fit === undefined ? [] : [fit];
  const channels = (["mean", "std"] as const).filter((field) => {
    const values = given[field];
    return !(Array.isArray(values) && values.length === 3 && values.every(Number.isFinite));
  });
  return [
    ...strayFields(at, given, preprocessingFields),
    ...channels.map((field) => `${at}.${field} must be three numbers: red, green and blue, each in [0, 1]`),
    ...asked
      .filter((f) => !fits.includes(f as string))
      .map((f) => `${at}.fit must be one of ${fits.join(", ")}, got "${f}"`),
    ...(interpolation === undefined || interpolations.includes(interpolation as string)
      ? []
      : [`${at}.interpolation must be one of ${interpolations.join(", ")}, got "${interpolation}"`]),
  ];
}

function checkpointFaults(name: string, given: unknown): string[] {
  if (given === undefined) return [];
  const at = `${name}.checkpoints`;
  if (!isPlain(given)) return [`${at} must be an object, got ${kindOfValue(given)}`];
  const { layouts, otherConfigs: others = [] } = given;
  const stray = [
    ...strayFields(at, given, checkpointFields),
    ...codecFaults(`${at}.config`, given.config),
    ...(Array.isArray(others)
      ? others.flatMap((codec, i) => codecFaults(`${at}.otherConfigs[${i}]`, codec ?? null, ["read"]))
      : [`${at}.otherConfigs must be a list of codecs, got ${kindOfValue(others)}`]),
  ];
  if (!Array.isArray(layouts))
    return [...stray, `${at}.layouts must be a list of layouts, got ${kindOfValue(layouts)}`];
  return [
    ...stray,
    ...(layouts.every(Array.isArray)
      ? layouts.flatMap((rules, i) => rules.flatMap((rule, j) => ruleFaults(`${at}.layouts[${i}][${j}]`, rule)))
      : [`${at}.layouts must be a list of layouts, each a list of rules: [[rule, rule]]`]),
  ];
}

function codecFaults(at: string, codec: unknown, needed: readonly string[] = ["read", "write"]): string[] {
  if (codec === undefined) return [];
  if (!isPlain(codec)) return [`${at} must be an object { types, ${needed.join(", ")} }, got ${kindOfValue(codec)}`];
  const functions = needed.filter((field) => typeof codec[field] !== "function");
  return [
    ...strayFields(at, codec, codecFields),
    ...(Array.isArray(codec.types)
      ? []
      : [`${at} needs \`types\`, a list of strings, got ${kindOfValue(codec.types)}`]),
    ...functions.map((field) => `${at} needs \`${field}\`, a function, got ${kindOfValue(codec[field])}`),
  ];
}

function ruleFaults(at: string, rule: unknown): string[] {
  if (!isPlain(rule)) return [`${at} is ${kindOfValue(rule)}; expected a rule { path, name, axes }`];
  const missing = ruleFields.filter((field) => typeof rule[field] !== "string");
  return [
    ...strayFields(at, rule, ruleFields),
    ...missing.map((field) => `${at} needs \`${field}\`, a string, got ${kindOfValue(rule[field])}`),
    ...numberFaults(at, rule.path),
  ];
}

/** In a path `{}` is a scope of its own: within a part, as in `conv{}`, it would match nothing. */
function numberFaults(at: string, path: unknown): string[] {
  const part = String(path)
    .split(".")
    .find((one) => one.includes("{}") && one !== "{}");
  return part === undefined
    ? []
    : [
        `${at} has the path "${path}", but {} stands for a number that is a whole part of a path, not for one in "${part}": write a rule for each`,
      ];
}

/** Wraps `build`, to throw unless it returns tensors by name. */
function buildingOutputs(at: Birth, name: string, build: Call): Call {
  return (...given) => {
    const outputs = build(...given);
    const wrong = outputFault(outputs);
    if (wrong !== undefined) throw declarationFault(at, `the build of ${name} ${wrong}`);
    return outputs;
  };
}

function outputFault(outputs: unknown): string | undefined {
  if (isPromise(outputs)) return "returns a promise: graphs are built synchronously, so remove `async`";
  if (!isPlain(outputs)) return `returns ${kindOfValue(outputs)}; expected its outputs by name: { logits: tensor }`;
  const entries = Object.entries(outputs);
  if (entries.length === 0) return "returns no outputs: return at least one tensor, as in { logits: tensor }";
  const stray = entries.find(([, value]) => !isTensor(value));
  return stray && `returns ${kindOfValue(stray[1])} as output "${stray[0]}"; expected a tensor`;
}

/** Wraps the `read` of a codec, to throw unless it returns all settings: a field that is not there reads as NaN. */
const readingSettings = (at: Birth, name: string, codec: Codec): Codec => ({
  ...codec,
  read: (json, config) => {
    const settings = codec.read(json, config);
    const wrong = isPlain(settings) ? settingFaults("", config, settings) : [kindOfValue(settings)];
    if (wrong.length === 0) return settings;
    const message = `the \`read\` of the ${codec.file?.name ?? "config.json"} of ${name} returns ${wrong.join(", ")}; expected every setting: ({ ...config, width: json.hidden_size })`;
    throw declarationFault(at, `${message}\n  hint: check that this file has the field under that name`);
  },
});

/** Settings that are missing or of another type than those of the model, with what they are. */
function settingFaults(before: string, own: Fields, read: Fields): string[] {
  return Object.entries(own).flatMap(([key, value]) => {
    const [path, found] = [before + key, read[key]];
    if (isPlain(value) && isPlain(found)) return settingFaults(`${path}.`, value, found);
    if (typeof found !== typeof value || found === null || Number.isNaN(found))
      return [`${path}: ${Number.isNaN(found) ? "NaN" : kindOfValue(found)}`];
    return [];
  });
}

/** Wraps a stage's function, to throw unless it returns a recipe. */
function makingRecipe(at: Birth, name: string, make: Call): Call {
  return (...given) => {
    const recipe = make(...given);
    const mistakes = recipeFaults(name, recipe);
    if (mistakes.length > 0) throw declarationFault(at, mistakes.join("\n"));
    return recipe;
  };
}

function recipeFaults(name: string, recipe: unknown): string[] {
  if (!isPlain(recipe))
    return [`${name} returns ${kindOfValue(recipe)}; expected { config, stage, steps, batch, rate, ... }`];
  const numbers = ["steps", "batch", "rate"].filter((field) => typeof recipe[field] !== "number");
  const { stage, config, startsFrom } = recipe;
  return [
    ...strayFields(name, recipe, recipeFields),
    ...numbers.map((field) => `${name} needs \`${field}\`, a number, got ${kindOfValue(recipe[field])}`),
    ...(isPlain(config) ? [] : [`${name} needs \`config\`, the model's settings, got ${kindOfValue(config)}`]),
    ...(isPlain(stage) && stage.kind === "heddle.stage"
      ? []
      : [`${name} needs \`stage: defineStage({ ... })\`, got ${kindOfValue(stage)}`]),
    ...(Array.isArray(startsFrom)
      ? []
      : [
          `${name} needs \`startsFrom\`, a list of what it starts from, such as ["nothing"], got ${kindOfValue(startsFrom)}`,
        ]),
  ];
}
