/** The third pane: the model on the device, for training, search and files. */
import type { ModelAbout } from "../machine/model.ts";
import type { DeviceAbout, RunEvent, RunOptions, RunService } from "../machine/run-worker.ts";
import type { Code } from "../machine/user-module.ts";
import { element } from "../shell/element.ts";
import { type Client, client } from "../shell/rpc.ts";
import { tabs } from "../shell/tabs.ts";
import { creditsOf } from "./credits.ts";
import { deviceStatus } from "./device-status.ts";
import { onDroppedFile } from "./dropped.ts";
import { type FilesView, filesView } from "./files-view.ts";
import { type ModelWorker, modelWorker } from "./model-worker.ts";
import { type SearchView, searchView } from "./search-view.ts";
import type { Pack } from "./thumbnail.ts";
import { type TrainView, trainView } from "./train-view.ts";
import { type Training, training } from "./training.ts";

export interface RunPane {
  /** The device; undefined if there is none, which the pane then shows. */
  readonly opened: Promise<DeviceAbout | undefined>;
  /** Sets another model, or a changed one. */
  readonly show: (code: Code, model: ModelAbout) => void;
  /** Destroys the device, to test recovery. */
  readonly lose: () => void;
}

export interface RunPaneOptions {
  readonly parent: HTMLElement;
  readonly worker: string;
  readonly options: RunOptions;
}

/** What the worker serves, and what shows it. */
interface Parts {
  readonly run: Client<RunService>;
  readonly worker: ModelWorker;
  readonly emoji: Emoji;
  readonly train: TrainView;
  readonly search: SearchView;
  readonly files: FilesView;
  readonly bar: ReturnType<typeof tabsOf>;
  readonly credits: HTMLElement;
}

export function runPane({ parent, worker: url, options }: RunPaneOptions): RunPane {
  const parts = partsOf(url, options, {
    onTrain: () => control.start(),
    onReset: () => control.reset(),
    onSettings: () => control.look(),
  });
  const { run, worker, bar, emoji } = parts;
  const device = deviceStatus();
  parent.append(element("div", { class: "pane-head" }, element("h2", {}, "Run"), device.element), ...bar.elements);
  onDroppedFile(parent, (file) => drop(file, parts));

  const opened = run.call.open(options).then(device.opened, (error: Error) => device.none(error, parent));
  const control = training({
    worker,
    view: parts.train,
    hasDevice: async () => (await opened) !== undefined,
    pack: emoji.pack,
    badge: (text) => bar.badge("train", text),
    onWeights: parts.search.forget,
  });
  void opened.then((about) => about && showCredits(parts)).catch(control.fail);
  return { opened, show: (code, model) => show({ code, model }, parts, control), lose: () => void run.call.lose() };
}

function partsOf(
  url: string,
  { base }: RunOptions,
  on: Record<"onTrain" | "onReset" | "onSettings", () => void>,
): Parts {
  const run = client<RunService, RunEvent>(url, (event) => told(event, { bar, train, emoji }));
  const worker = modelWorker(run);
  const emoji = emojiOf(run, base);
  const pause = () => {
    train.state("pausing");
    void run.call.pause();
  };
  const train = trainView({ ...on, onPause: pause });
  const search = searchOf(run, worker, emoji);
  const files = filesOf(worker, search);
  const credits = element("div");
  const bar = tabsOf({ train: [train.element, credits], search: [search.element], files: [files.element] });
  return { run, worker, emoji, train, search, files, bar, credits };
}

/** The emoji: requested once, and known when that is answered. */
interface Emoji {
  readonly pack: () => Promise<Pack>;
  readonly known: () => Pack | undefined;
}

function emojiOf({ call }: Client<RunService>, base: string): Emoji {
  const sheet = new URL(`${base}emoji.webp`, document.baseURI).href;
  let [asked, known]: [Promise<Pack>?, Pack?] = [];
  return {
    known: () => known,
    pack: () => (asked ??= call.pack().then((about) => (known = { ...about, sheet }))),
  };
}

type Tab = "train" | "search" | "files";

function tabsOf(content: Readonly<Record<Tab, readonly HTMLElement[]>>) {
  const panel = (tab: Tab) => element("div", { class: "panel" }, ...content[tab]);
  const all = [
    { id: "train", title: "Train", panel: panel("train") },
    { id: "search", title: "Search", panel: panel("search") },
    { id: "files", title: "Files", panel: panel("files") },
  ] as const;
  const bar = tabs<Tab>("Run", all);
  return { ...bar, elements: [bar.list, ...all.map((tab) => tab.panel)] };
}

const searchOf = ({ call }: Client<RunService>, worker: ModelWorker, emoji: Emoji): SearchView =>
  searchView({
    isUntrained: () => call.isUntrained(),
    byText: async (text, count) => await (await worker.ready()).searchText(text, count),
    byPicture: async (picture, count) => await (await worker.ready()).searchPicture(picture, count),
    pack: emoji.pack,
  });

const filesOf = (worker: ModelWorker, search: SearchView): FilesView =>
  filesView({
    name: () => worker.shown()?.model.name ?? "model",
    accept: ".safetensors,.onnx",
    downloads: [
      {
        title: "Weights",
        about: "Safetensors in f32: PyTorch, transformers and heddle read it.",
        ending: ".safetensors",
        make: async () => await (await worker.ready()).safetensors(),
      },
      {
        title: "Model",
        about: "ONNX with the weights inside: onnxruntime and transformers.js run it.",
        ending: ".onnx",
        make: async () => await (await worker.ready()).onnx(),
      },
    ],
    open: async (file) => {
      if (!/\.(safetensors|onnx)$/i.test(file.name))
        throw new Error(`"${file.name}" is neither an image nor a .safetensors or .onnx file`);
      const count = await (await worker.ready()).openFile(file);
      search.forget();
      return `${file.name}: ${count} tensors. Search uses them now.`;
    },
  });

/** Shows an event of the worker. */
function told(event: RunEvent, { bar, train, emoji }: Pick<Parts, "bar" | "train" | "emoji">): void {
  if (event.kind === "step") bar.badge("train", String(event.step));
  else if (event.kind === "begun") bar.badge("train", event.done === 0 ? "" : String(event.done));
  const pack = emoji.known();
  if (pack) train.told(event, pack);
}

/** Takes a dropped file: an image to search with, or weights. */
function drop(file: File, { bar, search, files }: Parts): void {
  const isImage = file.type.startsWith("image/");
  bar.choose(isImage ? "search" : "files");
  if (isImage) search.take(file);
  else files.open(file);
}

async function showCredits({ credits, emoji }: Parts): Promise<void> {
  credits.replaceWith(creditsOf((await emoji.pack()).credits));
}

function show(next: { readonly code: Code; readonly model: ModelAbout }, parts: Parts, control: Training): void {
  const before = parts.worker.shown();
  if (before?.code.source === next.code.source) return;
  parts.worker.show(next);
  parts.search.forget();
  control.modelChanged(before === undefined);
}
