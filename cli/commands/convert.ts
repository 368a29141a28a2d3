/** `heddle convert`: a model's weights in the published layout, for Python's transformers and safetensors. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Graph, inputName, isFeed, sizeText, UsageError } from "../../compiler/index.ts";
import { type CheckpointPlace, configFile, type JsonRecord, type Model } from "../../dsl/index.ts";
import {
  collapseNames,
  escapeControls,
  type FloatDType,
  ownLayout,
  startProgress,
  type TensorToWrite,
  tensorsInLayout,
  writeFinite,
  writeModelFolder,
} from "../../runtime/index.ts";
import { folderOf, isFolder, weightsOf } from "../checkpoint.ts";
import { classNamesIn, withClassNames } from "../class-names.ts";
import { wholeModel } from "../declared-parameters.ts";
import { untilInterrupted } from "../interruption.ts";
import { configText, withOtherFields } from "../kept-fields.ts";
import { loadConfigured } from "../load.ts";
import { bytes, digits, json, table } from "../output.ts";
import { configJson } from "../own-config.ts";
import { layoutsOf, openParameters, type ParameterSource } from "../parameters.ts";
import { preprocessorConfig, preprocessorFile, storedPreprocessor } from "../preprocessor-config.ts";
import { requireReadBack } from "../read-back.ts";
import { type WrittenConfig, writtenConfig } from "../written-config.ts";

export interface ConvertArguments {
  /** A path, or "random"; default the model's own if it is a checkpoint's folder. */
  readonly weights?: string;
  readonly out: string;
  readonly dtype?: string;
  readonly shardSize: number;
  readonly set: readonly string[];
  readonly seed: number;
  readonly json: boolean;
}

const dtypes: Readonly<Record<string, FloatDType>> = { f32: "F32", f16: "F16", bf16: "BF16" };
const say = (text: string) => process.stderr.write(`${escapeControls(text)}\n`);

export async function convertCommand(source: string, args: ConvertArguments): Promise<number> {
  const dtype = dtypeOf(args.dtype);
  const from = weightsFrom(source, args.weights);
  const { name, graph: main, model, config } = await loadConfigured(source, { set: args.set, weights: from });
  const { graph, added, unknown } = wholeModel(main, model, config);
  const [published] = layoutsOf(graph, model);
  if (!published)
    say(
      `${name} declares no published checkpoint layout, so the tensors keep heddle's names and shapes\n  hint: declare one in the model's record as checkpoints: { layouts }`,
    );
  if (unknown.length > 0)
    say(
      `${name}: the checkpoint layout has no rule for ${collapseNames(unknown, unknown).join(", ")}, which its main graph does not read: not written`,
    );
  const made = model && config && writtenConfig(model, config, source);
  const before = from === undefined ? undefined : await configJson(folderOf(from));
  const named = withClassNames(model, made, classNamesIn(before));
  const text = from === undefined || !made ? undefined : await configText(folderOf(from), made.name);
  const written = withOtherFields(model, config, named, text);
  if (model && config) requireReadBack(model, config, written?.content);
  if (!written) say(`${name} is a graph without settings, so no config.json is written`);
  const weights = await openParameters(graph, model, from, args.seed, undefined, added);
  try {
    const tensors = tensorsInLayout(withoutAbsent(published ?? ownLayout(graph), weights), weights, dtype);
    const companions = new Map<string, string | Uint8Array>(await filesBeside(from));
    const stored = from !== undefined && existsSync(from) ? await storedPreprocessor(from) : undefined;
    const isCopied = stored !== undefined && companions.has(basename(stored.path));
    const pictures = isCopied ? undefined : (stored?.stored ?? preprocessingOf(graph, model));
    if (pictures) companions.set(preprocessorFile, `${json(pictures)}\n`);
    if (written) companions.set(written.name, `${json(withDType(written, tensors))}\n`);
    const told = { from, hasConfig: written !== undefined };
    return await untilInterrupted((signal) => write(tensors, companions, told, args, signal));
  } finally {
    await weights.dispose();
  }
}

/** The places of the parameters that there are weights of. */
const withoutAbsent = (layout: readonly CheckpointPlace[], { absent }: ParameterSource): readonly CheckpointPlace[] =>
  layout.filter(({ parameter }) => !absent?.has(parameter));

/** The preprocessor config of a model that takes images; says if there is none for its geometry. */
function preprocessingOf({ inputs }: Graph, model: Model | undefined): JsonRecord | undefined {
  const pixels = inputs.find((n) => isFeed(n) && inputName(n) === "pixels");
  const [height, width] = ["row", "column"].map((name) => pixels?.type.axes.find((a) => a.name === name)?.size);
  if (!model?.preprocessing || typeof height !== "number" || typeof width !== "number") return undefined;
  const made = preprocessorConfig(model.preprocessing, [height, width]);
  if (!made) {
    const lacking =
      model.preprocessing.channelOrder === "bgr"
        ? `makes such channels in the order bgr: only MobileViT's does, from a crop with mean 0 and std 1`
        : `crops or pads images to ${sizeText([height, width])}; with fit: "squash" there is one`;
    say(`no ${preprocessorFile}: transformers has no image processor that ${lacking}`);
  }
  return made;
}

/** Writes the folder and reports what was written, or that it was stopped. */
async function write(
  tensors: readonly TensorToWrite[],
  companions: ReadonlyMap<string, string | Uint8Array>,
  { from, hasConfig }: { readonly from: string | undefined; readonly hasConfig: boolean },
  args: ConvertArguments,
  signal: AbortSignal,
): Promise<void> {
  const begun = performance.now();
  const options = { maxShardBytes: args.shardSize, signal };
  try {
    const written = await writeFinite(
      args.out,
      tensors,
      (finite) => withProgress(finite, (shown) => writeModelFolder(args.out, shown, companions, options)),
      signal,
    );
    const seconds = (performance.now() - begun) / 1000;
    const facts = {
      out: args.out,
      weights: from ?? `random, seed ${args.seed}`,
      tensors: tensors.length,
      bytes: written,
      dtypes: [...new Set(tensors.map((t) => t.dtype))],
      config: hasConfig,
      seconds: Math.round(seconds * 10) / 10,
      bytesPerSecond: Math.round(written / seconds),
      peakMemory: process.resourceUsage().maxRSS * 1024,
    };
    process.stdout.write(args.json ? `${json(facts)}\n` : describe(facts));
  } catch (error) {
    if (!signal.aborted) throw error;
    say("stopped; the partial output was removed");
  }
}

/** The path of the weights; undefined for random ones. */
function weightsFrom(source: string, given: string | undefined): string | undefined {
  if (given === "random") return undefined;
  const weights = weightsOf(source, given);
  if (weights !== undefined) return weights;
  throw new UsageError("convert needs --weights: a safetensors file, its index, the folder of either, or random");
}

function dtypeOf(name: string | undefined): FloatDType | undefined {
  if (name === undefined) return undefined;
  const dtype = Object.hasOwn(dtypes, name) ? dtypes[name] : undefined;
  if (dtype) return dtype;
  throw new UsageError(`--dtype must be one of ${Object.keys(dtypes).join(", ")}; got "${name}"`);
}

/** The tokenizer and preprocessor files beside the weights, which are copied along. */
async function filesBeside(weights: string | undefined): Promise<(readonly [string, Uint8Array])[]> {
  const names = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
  ];
  if (weights === undefined) return [];
  const folder = isFolder(weights) ? weights : dirname(weights);
  const found = names.filter((name) => existsSync(join(folder, name)));
  return await Promise.all(found.map(async (name) => [name, await readFile(join(folder, name))] as const));
}

/** The file of settings, with the dtype in that of transformers. */
const withDType = ({ name, content }: WrittenConfig, tensors: readonly TensorToWrite[]): JsonRecord =>
  name === configFile.name ? { ...content, torch_dtype: torchDType(tensors) } : content;

/** The dtype that PyTorch loads the model as: that of most elements. */
function torchDType(tensors: readonly TensorToWrite[]): string {
  const names: Readonly<Record<string, string>> = { F64: "float64", F32: "float32", F16: "float16", BF16: "bfloat16" };
  const elements = new Map<string, number>();
  for (const t of tensors) elements.set(t.dtype, (elements.get(t.dtype) ?? 0) + t.shape.reduce((n, s) => n * s, 1));
  return names[[...elements].sort((a, b) => b[1] - a[1])[0]![0]]!;
}

/** Writes with a progress bar in megabytes; returns the total bytes of all tensors. */
async function withProgress(
  tensors: readonly TensorToWrite[],
  write: (shown: readonly TensorToWrite[]) => Promise<void>,
): Promise<number> {
  const size = { F64: 8, F32: 4, F16: 2, BF16: 2 } as Readonly<Record<string, number>>;
  const total = tensors.reduce((n, t) => n + t.shape.reduce((k, s) => k * s, 1) * size[t.dtype]!, 0);
  const progress = startProgress({ description: "converting", total: Math.ceil(total / 1e6), unit: "MB" });
  let done = 0;
  const shown = tensors.map((tensor) => ({
    ...tensor,
    async *data() {
      for await (const piece of tensor.data()) {
        yield piece;
        done += piece instanceof Uint8Array ? piece.length : piece.length * size[tensor.dtype]!;
        progress.update(Math.floor(done / 1e6));
      }
    },
  }));
  try {
    await write(shown);
    return total;
  } finally {
    progress.dispose();
  }
}

interface Facts {
  readonly out: string;
  readonly weights: string;
  readonly tensors: number;
  readonly bytes: number;
  readonly dtypes: readonly string[];
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly peakMemory: number;
}

const describe = (f: Facts): string =>
  `${table([
    ["folder", f.out],
    ["tensors", `${digits(f.tensors)}, ${bytes(f.bytes)}, ${f.dtypes.join(" and ").toLowerCase()}`],
    ["weights", f.weights],
    ["took", `${f.seconds} s, ${bytes(f.bytesPerSecond)}/s, peak memory ${bytes(f.peakMemory)}`],
  ])}\n`;
