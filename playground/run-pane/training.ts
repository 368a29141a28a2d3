/** Training of the shown model: starts, pauses and resumes runs, and looks for earlier ones. */
import { remembered } from "../shell/remembered.ts";
import { sentences } from "../shell/sentences.ts";
import type { ModelWorker } from "./model-worker.ts";
import type { Pack } from "./thumbnail.ts";
import type { TrainView } from "./train-view.ts";

export interface TrainingOptions {
  readonly worker: ModelWorker;
  readonly view: TrainView;
  /** Whether there is a device, once that is known. */
  readonly hasDevice: () => Promise<boolean>;
  readonly pack: () => Promise<Pack>;
  /** Shows the step of the run beside the tab's title. */
  readonly badge: (text: string) => void;
  /** Called when the weights in use have changed. */
  readonly onWeights: () => void;
}

export interface Training {
  readonly start: () => void;
  readonly reset: () => void;
  /** Looks for an earlier run with the present settings, to continue. */
  readonly look: () => void;
  /** Called when another model is shown; with `isFirst`, it is the first since the page was loaded. */
  readonly modelChanged: (isFirst: boolean) => void;
  /** Shows an error. */
  readonly fail: (error: Error) => void;
}

interface State extends TrainingOptions {
  /** What is in progress: a run, or the removal of all runs. */
  work: "training" | "removing" | undefined;
  /** Searches for earlier runs so far: only the newest is shown. */
  looks: number;
}

/** The source of a run that was in progress when the page was left. */
const wasTraining = remembered<string>("training", "");

export function training(options: TrainingOptions): Training {
  const state: State = { ...options, work: undefined, looks: 0 };
  const fail = ({ message }: Error) => options.view.notice(sentences(message), "bad");
  return {
    start: () => void start(state).catch(fail),
    reset: () => void reset(state).catch(fail),
    look: () => void look(state).catch(fail),
    modelChanged: (isFirst) => {
      if (state.work === "training")
        options.view.notice("The model has changed since this run started. Pause it to train the new one.");
      else void offer(state, isFirst).catch(fail);
    },
    fail,
  };
}

async function start(state: State): Promise<void> {
  const { worker, view } = state;
  const settings = view.settings();
  const begun = worker.shown();
  if (!settings || !begun || state.work) return;
  state.work = "training";
  view.state("compiling");
  view.notice("");
  wasTraining.set(begun.code.source);
  try {
    view.state((await trained(state, settings)) ? "done" : "paused");
  } catch (error) {
    view.notice(sentences((error as Error).message), "bad");
    view.failed();
  } finally {
    state.work = undefined;
    wasTraining.set("");
    state.onWeights();
  }
  if (worker.shown() !== begun) await offer(state, false);
}

/** Trains until the end, or a pause; returns whether it was the end. */
async function trained(
  { worker, pack, onWeights }: State,
  settings: NonNullable<ReturnType<TrainView["settings"]>>,
): Promise<boolean> {
  await pack();
  const call = await worker.ready();
  onWeights();
  return await call.train(settings);
}

/** Removes all runs, and begins anew: meanwhile no other run starts, whose files would be removed. */
async function reset(state: State): Promise<void> {
  if (state.work) return;
  state.work = "removing";
  try {
    await state.worker.reset();
  } finally {
    state.work = undefined;
  }
  await start(state);
}

/** Offers the shown model's stages, and continues or looks for an earlier run of it. */
async function offer(state: State, isFirst: boolean): Promise<void> {
  const { worker, view, badge, hasDevice } = state;
  const { code, model } = worker.shown()!;
  view.offer(model.stages);
  if (model.stages.length === 0) {
    view.left(undefined, 0);
    badge("");
    view.notice(`${model.name} has no stage to train: define one in the "stages" of defineModel.`);
  } else if (isFirst && wasTraining.get() === code.source) {
    if (await hasDevice()) await start(state);
  } else await look(state);
}

async function look(state: State): Promise<void> {
  const { worker, view, badge, hasDevice } = state;
  const settings = view.settings();
  const own = ++state.looks;
  if (!settings || state.work || !worker.shown() || !(await hasDevice())) return;
  const call = await worker.ready();
  if (own !== state.looks || state.work) return;
  const left = await call.resume(settings);
  if (own !== state.looks || state.work) return;
  view.left(left, settings.settings.steps);
  badge(left ? String(left.step) : "");
}
