/** The worker that trains and searches: it owns the device, the run and its checkpoints. */
import { DeviceLostError, factsOf, type WebgpuBackend, webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../backends/webgpu/runtime/browser-device.ts";
import type { AdapterFacts, HostTensor } from "../../compiler/index.ts";
import type { Model, StageSettings } from "../../dsl/index.ts";
import { serve } from "../shell/rpc.ts";
import type { Shown } from "./batches.ts";
import { type Emoji, loadEmoji, type Picture } from "./emoji.ts";
import { type Evaluation, Gallery, type Hit, type PictureFound } from "./gallery.ts";
import { loadModel } from "./model.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";
import { type Checkpoints, openCheckpoints } from "./storage.ts";
import { Towers } from "./towers.ts";
import { type Plan, type Point, TrainingRun, untrained } from "./training.ts";
import type { Code } from "./user-module.ts";

/** What the worker tells while it works. */
export type RunEvent =
  | { readonly kind: "begun"; readonly done: number; readonly steps: number; readonly points: readonly Point[] }
  | {
      readonly kind: "step";
      readonly step: number;
      readonly figures: Readonly<Record<string, number>>;
      readonly milliseconds: number;
    }
  | { readonly kind: "batch"; readonly shown: readonly Shown[] }
  | { readonly kind: "evaluated"; readonly step: number; readonly found: Evaluation }
  | { readonly kind: "saved"; readonly step: number }
  | { readonly kind: "lost"; readonly why: string }
  | { readonly kind: "back"; readonly step: number }
  | { readonly kind: "note"; readonly text: string };

/** What a page is told of the device. */
export interface DeviceAbout {
  readonly name: string;
  readonly software: boolean;
  readonly facts: AdapterFacts;
}

export interface RunSettings {
  readonly stage: string;
  readonly settings: StageSettings;
  readonly seed: number;
}

/** What the worker is set to. */
export interface RunOptions {
  /** Where the packed emoji lie. */
  readonly base: string;
  /** Of so many emoji; all where absent. */
  readonly emoji?: number;
}

/** Steps between tests on held-out drawings, and seconds between checkpoints. */
const [testEvery, saveSeconds, tested] = [25, 10, 60] as const;

let options: RunOptions;
let backend: WebgpuBackend | undefined;
let emoji: Promise<Emoji> | undefined;
let checkpoints: Promise<Checkpoints> | undefined;
let model: Model | undefined;
let key = "";
let run: TrainingRun | undefined;
let weights: Map<string, HostTensor> | undefined;
let towers: Towers | undefined;
let gallery: { readonly gallery: Gallery; readonly of: Map<string, HostTensor> } | undefined;
let isStopping = false;

const theEmoji = () => (emoji ??= loadEmoji(options.base, options.emoji));
const theCheckpoints = () => (checkpoints ??= openCheckpoints());

const service = {
  /** Opens the device. Throws UnsupportedError where there is none. */
  open: async (given: RunOptions): Promise<DeviceAbout> => {
    options = given;
    const { gpu } = await theBackend();
    return { name: adapterName(gpu.adapter), software: gpu.adapter.software, facts: factsOf(gpu) };
  },
  /** Names, credits and places of the pictures. */
  pack: async () => {
    const { picture: _, ids: __, tokenizer: ___, ...about } = await theEmoji();
    return about;
  },
  /** Takes a model; a run of another one ends. */
  load: async (code: Code): Promise<void> => {
    model = await loadModel(code);
    key = await digest(code.source);
    release();
  },
  /** The step of the newest checkpoint of this model with these settings, if there is one. */
  resumable: async (settings: RunSettings): Promise<number | undefined> => {
    const found = await (await theCheckpoints()).newest(keyOf(settings));
    return found && Number(found.about.step);
  },
  /** Trains to the last step or until it is paused; goes on from its newest checkpoint. Says whether it came to the end. */
  train: async (settings: RunSettings): Promise<boolean> => {
    isStopping = false;
    const held = await navigator.locks.request("heddle-playground-run", { ifAvailable: true }, async (lock) =>
      lock ? { ended: await trainPlanned(planOf(settings)) } : undefined,
    );
    if (held) return held.ended;
    throw new Error("another tab of this browser is training here; pause it first");
  },
  pause: (): void => void (isStopping = true),
  /** Begins anew: removes the checkpoints. */
  reset: async (): Promise<void> => {
    await (await theCheckpoints()).clear();
    release();
  },
  searchText: async (text: string, count: number): Promise<readonly Hit[]> => (await filled()).searchText(text, count),
  searchPicture: async (picture: Picture, count: number): Promise<PictureFound> =>
    (await filled()).searchPicture(picture, count),
  /** The weights as a file. */
  safetensors: async (): Promise<Uint8Array<ArrayBuffer>> =>
    writeSafetensors(await theWeights(), { format: "pt", model: model!.name }),
  /** Takes weights from a file. Throws UsageError where they do not fit the model. */
  openSafetensors: async (bytes: Uint8Array<ArrayBuffer>): Promise<number> => {
    weights = fitted(readSafetensors(bytes).tensors);
    return weights.size;
  },
  /** Gives the device back, as a driver does that crashes: to see what happens. */
  lose: (): void => void backend?.gpu.device.destroy(),
};

export type RunService = typeof service;

const tell = serve<RunEvent>(service);

async function theBackend(): Promise<WebgpuBackend> {
  return (backend ??= webgpuBackend(await requestBrowserDevice()));
}

/** Browsers say little of an adapter: its maker and its family, and seldom a name. */
const adapterName = ({ vendor, architecture, description }: WebgpuBackend["gpu"]["adapter"]): string =>
  description !== "" && description !== vendor ? description : [vendor, architecture].filter((t) => t !== "").join(" ");

const keyOf = (settings: RunSettings): string => `${key} ${JSON.stringify(settings)} ${options.emoji ?? "all"}`;

const planOf = (settings: RunSettings): Plan => ({ model: model!, ...settings, key: keyOf(settings) });

/** Goes on after a lost device, from the newest checkpoint; gives up where it is lost again without a step in between. */
async function trainPlanned(plan: Plan): Promise<boolean> {
  for (let before = -1; ; ) {
    try {
      return await trainOnce(plan, before >= 0);
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error;
      const reached = run?.done ?? 0;
      if (reached <= before) throw error;
      before = reached;
      tell({ kind: "lost", why: error.message });
      forgetDevice();
    }
  }
}

async function trainOnce(plan: Plan, isBack: boolean): Promise<boolean> {
  const [all, kept] = [await theEmoji(), await theCheckpoints()];
  if (kept.why) tell({ kind: "note", text: `${kept.why}; a reload begins anew` });
  run?.dispose();
  run = undefined;
  const own = (run = await TrainingRun.begin(plan, await theBackend(), all, kept));
  weights = undefined;
  tell({ kind: "begun", done: own.done, steps: own.steps, points: own.points });
  if (isBack) tell({ kind: "back", step: own.done });
  let saved = performance.now();
  const save = async () => {
    await own.save(kept);
    saved = performance.now();
    tell({ kind: "saved", step: own.done });
  };
  while (own.done < own.steps && !isStopping) {
    const begun = performance.now();
    const { step, figures, batch } = await own.take();
    tell({ kind: "step", step, figures, milliseconds: performance.now() - begun });
    if (step % 5 === 1) tell({ kind: "batch", shown: batch.shown.slice(0, 16) });
    weights = undefined;
    if (step % testEvery === 0 || step === own.steps) await test(own);
    if (performance.now() - saved > 1000 * saveSeconds) await save();
  }
  await save();
  return own.done >= own.steps;
}

async function test(own: TrainingRun): Promise<void> {
  const held = new Gallery(await theEmoji(), await theTowers());
  await towers!.load(await theWeights());
  gallery = undefined;
  tell({ kind: "evaluated", step: own.done, found: await held.evaluate(tested) });
}

const theTowers = async (): Promise<Towers> =>
  (towers ??= await Towers.open(model!, await theBackend(), await theEmoji()));

/** Those of the run, of a file that was opened, or as the initializers draw them. */
async function theWeights(): Promise<Map<string, HostTensor>> {
  return (weights ??= run ? await run.weights() : untrained(model!, 7));
}

/** The gallery with the vectors of the weights at hand. */
async function filled(): Promise<Gallery> {
  const now = await theWeights();
  if (gallery?.of === now) return gallery.gallery;
  const made = new Gallery(await theEmoji(), await theTowers());
  await towers!.load(now);
  await made.fill();
  gallery = { gallery: made, of: now };
  return made;
}

/** Tensors with the names and shapes that the model's parameters have. */
function fitted(tensors: ReadonlyMap<string, HostTensor>): Map<string, HostTensor> {
  const wanted = untrained(model!, 7);
  const wrong = [...wanted].filter(([name, { data }]) => tensors.get(name)?.data.length !== data.length);
  if (wrong.length > 0)
    throw new Error(
      `the file does not fit ${model!.name}: ${wrong.length} of ${wanted.size} tensors are missing or of another size, such as "${wrong[0]![0]}"`,
    );
  return new Map([...wanted].map(([name, like]) => [name, { ...like, data: tensors.get(name)!.data }]));
}

function release(): void {
  run?.dispose();
  towers?.dispose();
  run = towers = weights = gallery = undefined;
}

/** What lay on a device that is lost is gone with it. */
function forgetDevice(): void {
  backend = towers = gallery = weights = undefined;
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 32);
}
