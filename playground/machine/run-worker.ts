/** The worker that trains and searches: it owns the device, the run and its files. */
import {
  type Device,
  DeviceLostError,
  exportOnnx,
  type FileSystem,
  type Model,
  memoryFileSystem,
  openDevice,
  opfsFileSystem,
  type StageSettings,
  safetensorsBytes,
  session,
  trace,
  UsageError,
  useFileSystem,
} from "../../api/browser.ts";
import { factsOf, type WebgpuBackend } from "../../backends/webgpu/index.ts";
import { type AdapterFacts, type Graph, inputName, isParameter } from "../../compiler/index.ts";
import { foldersInUse } from "../../runtime/host/browser.ts";
import { drawnWeights } from "../../runtime/index.ts";
import { serve } from "../shell/rpc.ts";
import type { Shown } from "./batches.ts";
import { type Emoji, loadEmoji, type Picture } from "./emoji.ts";
import { type Evaluation, Gallery, type Hit, type PictureFound } from "./gallery.ts";
import { loadModel } from "./model.ts";
import { readOpened, type Weighted } from "./opened-weights.ts";
import { inPageWords } from "./page-words.ts";
import { type Runner, requireTokens, Towers } from "./towers.ts";
import { type Left, leftBy, type Plan, type Point, trainPlan, type Weights } from "./training.ts";
import type { Code } from "./user-module.ts";

/** Events that the worker emits while it works. */
export type RunEvent =
  | { readonly kind: "begun"; readonly done: number; readonly steps: number; readonly points: readonly Point[] }
  | { readonly kind: "step"; readonly step: number; readonly figures: Readonly<Record<string, number>> }
  | { readonly kind: "batch"; readonly shown: readonly Shown[] }
  | { readonly kind: "evaluated"; readonly step: number; readonly found: Evaluation }
  | { readonly kind: "lost"; readonly why: string }
  | { readonly kind: "back"; readonly step: number }
  | { readonly kind: "note"; readonly text: string };

/** A description of the device for the page. */
export interface DeviceAbout {
  readonly name: string;
  readonly software: boolean;
  readonly facts: AdapterFacts;
}

export interface RunSettings {
  readonly stage: string;
  readonly settings: StageSettings & { readonly steps: number };
  readonly seed: number;
}

/** Options of the worker. */
export interface RunOptions {
  /** The base URL of the packed emoji. */
  readonly base: string;
  /** Number of emoji to use; default all. */
  readonly emoji?: number;
}

/** The folder of runs; a run of another model or with other settings has its own subfolder. */
const runs = "/heddle-playground";

/** The initializers' seed when nothing is trained yet. */
const seed = 7;

let options: RunOptions;
let device: Device | undefined;
let emoji: Promise<Emoji> | undefined;
let files: Promise<FileSystem> | undefined;
let loading: Promise<void> = Promise.resolve();
let model: Model | undefined;
/** Identifies the model's source. */
let key = "";
let weighted: Weighted | undefined;
/** Counts what decides which weights are used: an earlier run that was found before, but read later, does not. */
let turn = 0;
/** Whether the current weights are initial ones. */
let isUntrained = true;
let gallery: { readonly filled: Promise<Gallery>; readonly of: Weighted; readonly dispose: () => void } | undefined;
let stop = new AbortController();

const theEmoji = () => (emoji ??= loadEmoji(options.base, options.emoji));
const theDevice = async () => (device ??= await openDevice("webgpu"));

const service = {
  /** Opens the device. Throws UnsupportedError when there is none. */
  open: async (given: RunOptions): Promise<DeviceAbout> => {
    options = given;
    const { gpu } = (await theDevice()) as unknown as WebgpuBackend;
    return { name: adapterName(gpu.adapter), software: gpu.adapter.software, facts: factsOf(gpu) };
  },
  /** Names, credits and image positions of the emoji. */
  pack: async () => {
    const { picture: _, ids: __, tokenizer: ___, ...about } = await theEmoji();
    return about;
  },
  /** Loads a model, with initial weights. One after the other, so that the one asked for last stays. */
  load: (code: Code): Promise<void> => (loading = loading.catch(() => {}).then(() => replaceModel(code))),
  /**
   * An earlier run of the model with these settings, if any; its weights become the current ones, if nothing else was
   * asked for since.
   */
  resume: async (settings: RunSettings): Promise<Pick<Left, "step" | "points"> | undefined> => {
    const own = ++turn;
    const plan = await planOf(settings);
    const left = await leftBy(plan, await theFiles());
    const weights = await left?.weights();
    if (own === turn) takeTrained(plan.model, weights);
    return left && { step: left.step, points: left.points };
  },
  /** Trains from the newest checkpoint until the last step or a pause. Returns whether it finished. */
  train: async (settings: RunSettings): Promise<boolean> => {
    turn += 1;
    stop = new AbortController();
    return await trainOn(await planOf(settings), settings);
  },
  pause: (): void => stop.abort(),
  /** Removes all runs. Throws UsageError while another window trains, since it shares these files. */
  reset: async (): Promise<void> => {
    if ((await foldersInUse()).some((folder) => folder.startsWith(`${runs}/`)))
      throw new UsageError(
        "another window of this page is training, and its files would be removed\n  hint: pause that run, or close the window",
      );
    await (await theFiles()).remove(runs);
    take(undefined);
  },
  /** Whether a search now uses initial weights, so that its results are arbitrary. */
  isUntrained: (): boolean => isUntrained,
  searchText: async (text: string, count: number): Promise<readonly Hit[]> =>
    onceMore(async () => (await filled()).searchText(text, count)),
  searchPicture: async (picture: Picture, count: number): Promise<PictureFound> =>
    onceMore(async () => (await filled()).searchPicture(picture, count)),
  /** The weights as a file. */
  safetensors: async (): Promise<Uint8Array> => safetensorsBytes((await theWeighted()).weights),
  /** The model with its weights as a file. */
  onnx: async (): Promise<Uint8Array> => {
    const { graph, weights } = await theWeighted();
    return await exportOnnx(graph, { weights });
  },
  /** Uses a file's weights until others are trained; returns the number of tensors. Throws as `readOpened`. */
  openFile: async (file: File): Promise<number> => {
    turn += 1;
    const opened = await readOpened(file, model!, await theEmoji());
    take(opened);
    return opened.weights.size;
  },
  /** Destroys the device, like a driver crash, to test recovery. */
  lose: (): void => (device as unknown as WebgpuBackend | undefined)?.gpu.device.destroy(),
};

export type RunService = typeof service;

const tell = serve<RunEvent>(service, (error, name) => inPageWords(error, name === "openFile" ? name : "run"));

/** The page's files; in memory when the browser does not persist any. */
function theFiles(): Promise<FileSystem> {
  return (files ??= keptFiles().then((fs) => {
    useFileSystem(fs);
    return fs;
  }));
}

async function keptFiles(): Promise<FileSystem> {
  try {
    return await opfsFileSystem();
  } catch (error) {
    tell({
      kind: "note",
      text: `This browser stores no files for the page (${(error as Error).message}), so a reload starts over.`,
    });
    return memoryFileSystem();
  }
}

/** Browsers reveal little about an adapter: vendor and architecture, and rarely a name. */
const adapterName = ({ vendor, architecture, description }: WebgpuBackend["gpu"]["adapter"]): string =>
  description !== "" && description !== vendor ? description : [vendor, architecture].filter((t) => t !== "").join(" ");

async function replaceModel(code: Code): Promise<void> {
  // Together, since a run is found by both.
  [model, key] = [await loadModel(code), await digest(code.source)];
  take(undefined);
}

async function planOf(settings: RunSettings): Promise<Plan> {
  const of = model!; // a model that is loaded meanwhile has another key
  const name = await digest(`${key} ${JSON.stringify(settings)} ${options.emoji ?? "all"}`);
  return { model: of, ...settings, folder: `${runs}/${name}` };
}

/** Continues after a lost device; gives up when it is lost again without any progress. */
async function trainOn(plan: Plan, settings: RunSettings): Promise<boolean> {
  const fs = await theFiles();
  for (let before = -1; ; ) {
    const left = await leftBy(plan, fs);
    const done = left?.step ?? 0;
    let reached = done;
    try {
      const opened = await theDevice();
      const ended = await trainPlan(plan, opened, await theEmoji(), {
        signal: stop.signal,
        onBegin: () => {
          tell({ kind: "begun", done, steps: settings.settings.steps, points: left?.points ?? [] });
          if (before >= 0) tell({ kind: "back", step: done });
        },
        onBatch: (step, shown) => step % 5 === 0 && tell({ kind: "batch", shown: shown.slice(0, 16) }),
        onStep: (step, figures) => {
          reached = step;
          tell({ kind: "step", step, figures });
        },
        onTest: (step, found, now) => {
          takeTrained(plan.model, now);
          tell({ kind: "evaluated", step, found });
        },
      });
      if (!ended) takeTrained(plan.model, await (await leftBy(plan, fs))?.weights());
      return ended;
    } catch (error) {
      if (!(error instanceof DeviceLostError) || reached <= before) throw error;
      before = reached;
      tell({ kind: "lost", why: error.message });
      forgetDevice();
    }
  }
}

/** Sets the current graph and weights; undefined means the model with initial weights. */
function take(now: Weighted | undefined): void {
  weighted = now;
  isUntrained = now === undefined;
  gallery?.dispose();
  gallery = undefined;
}

/** Takes the weights of a run, unless another model was loaded since it began. */
function takeTrained(of: Model, weights: Weights | undefined): void {
  if (of === model) take(weights && { graph: trace(of), weights });
}

async function theWeighted(): Promise<Weighted> {
  if (weighted) return weighted;
  const graph = trace(model!);
  const drawn = drawnWeights(graph, seed);
  const names = graph.inputs.filter(isParameter).map(inputName);
  const weights = new Map(await Promise.all(names.map(async (name) => [name, await drawn.read(name)] as const)));
  await drawn.dispose();
  weighted = { graph, weights };
  return weighted;
}

/** The gallery, embedded with the current graph and weights. */
async function filled(): Promise<Gallery> {
  const now = await theWeighted();
  if (gallery?.of !== now) {
    requireTokens(now.graph, await theEmoji());
    const { run, dispose } = runnerOf(now.weights, await theDevice());
    const made = new Gallery(await theEmoji(), new Towers(now.graph, model!, await theEmoji(), run));
    gallery = { of: now, dispose, filled: made.fill().then(() => made) };
  }
  return await gallery.filled;
}

/** Runs graphs with weights; each is compiled on first use. */
function runnerOf(now: Weights, on: Device): { readonly run: Runner; readonly dispose: () => void } {
  const sessions = new Map<Graph, ReturnType<typeof session>>();
  return {
    run: async (graph, feeds) => {
      let opened = sessions.get(graph);
      if (!opened) sessions.set(graph, (opened = session(on, graph, { weights: now })));
      return await (await opened).run(feeds);
    },
    dispose: () => {
      for (const opened of sessions.values()) void opened.then((s) => s.dispose()).catch(() => {}); // run() has reported it
    },
  };
}

/** Retries once, on a new device, when the device was lost meanwhile. */
async function onceMore<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DeviceLostError)) throw error;
    forgetDevice();
    return await work();
  }
}

/** Everything on a lost device is gone with it. */
function forgetDevice(): void {
  device = gallery = undefined;
}

async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex().slice(0, 24);
}
