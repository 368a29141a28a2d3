/** The third pane: the model on the device, for training, search and files. */
import type { ModelAbout } from "../machine/model.ts";
import type { DeviceAbout, RunEvent, RunOptions, RunService } from "../machine/run-worker.ts";
import type { Code } from "../machine/user-module.ts";
import { element } from "../shell/element.ts";
import { remembered } from "../shell/remembered.ts";
import { type Client, client } from "../shell/rpc.ts";
import { sentences } from "../shell/sentences.ts";
import { tabs } from "../shell/tabs.ts";
import { creditsOf } from "./credits.ts";
import { onDroppedFile } from "./dropped.ts";
import { filesView } from "./files-view.ts";
import { searchView } from "./search-view.ts";
import type { Pack } from "./thumbnail.ts";
import { trainView } from "./train-view.ts";

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

/** The source of a run that was in progress when the page was left. */
const wasTraining = remembered<string>("training", "");

export function runPane({ parent, worker, options }: RunPaneOptions): RunPane {
  let shown: { readonly code: Code; readonly model: ModelAbout } | undefined;
  /** The model loaded in the worker. */
  let loaded: Code | undefined;
  let pack: Promise<Pack> | undefined;
  let known: Pack | undefined;
  let isTraining = false;
  const run: Client<RunService> = client<RunService, RunEvent>(worker, told);
  const thePack = () =>
    (pack ??= run.call
      .pack()
      .then((about) => (known = { ...about, sheet: new URL(`${options.base}emoji.webp`, document.baseURI).href })));

  const train = trainView({
    onTrain: () => void start(),
    onPause: () => {
      train.state("pausing");
      void run.call.pause();
    },
    onReset: () => void reset().catch(tellFault),
    onSettings: () => void look().catch(tellFault),
  });
  const search = searchView({
    isUntrained: () => run.call.isUntrained(),
    byText: async (text, count) => {
      await load();
      return await run.call.searchText(text, count);
    },
    byPicture: async (picture, count) => {
      await load();
      return await run.call.searchPicture(picture, count);
    },
    pack: thePack,
  });
  const files = filesView({
    name: () => shown?.model.name ?? "model",
    accept: ".safetensors,.onnx",
    downloads: [
      {
        title: "Weights",
        about: "Safetensors in f32: PyTorch, transformers and heddle read it.",
        ending: ".safetensors",
        make: async () => {
          await load();
          return await run.call.safetensors();
        },
      },
      {
        title: "Model",
        about: "ONNX with the weights inside: onnxruntime and transformers.js run it.",
        ending: ".onnx",
        make: async () => {
          await load();
          return await run.call.onnx();
        },
      },
    ],
    open: async (file) => {
      if (!/\.(safetensors|onnx)$/i.test(file.name))
        throw new Error(`"${file.name}" is neither an image nor a .safetensors or .onnx file`);
      await load();
      const count = await run.call.openFile(file);
      search.forget();
      return `${file.name}: ${count} tensors. Search uses them now.`;
    },
  });

  const credits = element("div");
  const panels = {
    train: element("div", { class: "panel" }, train.element, credits),
    search: element("div", { class: "panel" }, search.element),
    files: element("div", { class: "panel" }, files.element),
  };
  const device = element("p", { class: "pane-status", role: "status" }, "opening the device …");
  const bar = tabs("Run", [
    { id: "train", title: "Train", panel: panels.train },
    { id: "search", title: "Search", panel: panels.search },
    { id: "files", title: "Files", panel: panels.files },
  ]);
  parent.append(
    element("div", { class: "pane-head" }, element("h2", {}, "Run"), device),
    bar.list,
    ...Object.values(panels),
  );

  function told(event: RunEvent): void {
    if (event.kind === "step") bar.badge("train", String(event.step));
    else if (event.kind === "begun") bar.badge("train", event.done === 0 ? "" : String(event.done));
    if (known) train.told(event, known);
  }

  function tellFault({ message }: Error): void {
    train.notice(sentences(message), "bad");
  }

  /** Shows the credits once there is a device. */
  async function showCredits(): Promise<void> {
    if ((await opened) === undefined) return;
    credits.replaceWith(creditsOf((await thePack()).credits));
  }

  /** Loads the shown model into the worker. */
  async function load(): Promise<void> {
    if (!shown) throw new Error("the model does not compile yet");
    if (loaded === shown.code) return;
    const { code } = shown;
    await run.call.load(code);
    loaded = code;
  }

  async function start(): Promise<void> {
    const settings = train.settings();
    if (!settings || isTraining) return;
    const begun = shown;
    isTraining = true;
    train.state("compiling");
    train.notice("");
    wasTraining.set(shown!.code.source);
    try {
      await thePack();
      await load();
      search.forget();
      const isDone = await run.call.train(settings);
      train.state(isDone ? "done" : "paused");
    } catch (error) {
      tellFault(error as Error);
      train.state("paused");
    } finally {
      isTraining = false;
      wasTraining.set("");
      search.forget();
    }
    if (shown !== begun) offer(false);
  }

  /** Offers the shown model's stages, and looks for an earlier run of it. */
  function offer(isFirst: boolean): void {
    const { code, model } = shown!;
    train.offer(model.stages);
    if (model.stages.length === 0) {
      train.left(undefined, 0);
      bar.badge("train", "");
      train.notice(`${model.name} has no stage to train: define one in the "stages" of defineModel.`);
    } else if (isFirst && wasTraining.get() === code.source) void opened.then((about) => about && start());
    else void look().catch(tellFault);
  }

  /** Takes a dropped file: an image to search with, or weights. */
  function drop(file: File): void {
    const isImage = file.type.startsWith("image/");
    bar.choose(isImage ? "search" : "files");
    if (isImage) search.take(file);
    else files.open(file);
  }

  async function reset(): Promise<void> {
    await run.call.reset();
    loaded = undefined;
    await start();
  }

  /** Looks for an earlier run to continue. */
  async function look(): Promise<void> {
    const settings = train.settings();
    if (!settings || isTraining || !shown || (await opened) === undefined) return;
    await load();
    const left = await run.call.resume(settings);
    if (isTraining) return;
    const { steps } = settings.settings;
    train.left(left, steps);
    bar.badge("train", left ? String(left.step) : "");
  }

  const opened = run.call.open(options).then(
    (about) => {
      device.textContent = about.name;
      device.title = about.software ? "A software GPU on the CPU" : "";
      return about;
    },
    (error: Error) => {
      const [what, ...hints] = sentences(error.message).split("\n");
      parent.classList.add("no-device");
      device.textContent = "no device";
      parent.append(
        element(
          "div",
          { class: "no-webgpu", role: "alert" },
          element("strong", {}, "Training needs WebGPU"),
          element("p", {}, what!),
          ...hints.map((hint) => element("p", { class: "hint" }, hint)),
          element("p", {}, "Editing and compiling work without it: kernels then target the default limits of WebGPU."),
        ),
      );
      return undefined;
    },
  );

  void showCredits().catch(tellFault);
  onDroppedFile(parent, drop);

  return {
    opened,
    show: (code, model) => {
      if (shown?.code.source === code.source) return;
      const isFirst = shown === undefined;
      shown = { code, model };
      search.forget();
      if (isTraining) train.notice("The model has changed since this run started. Pause it to train the new one.");
      else offer(isFirst);
    },
    lose: () => void run.call.lose(),
  };
}
