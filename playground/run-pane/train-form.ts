/** The settings of a training run, and the buttons that start, pause and reset it. */
import type { StageAbout } from "../machine/model.ts";
import type { RunSettings } from "../machine/run-worker.ts";
import { element } from "../shell/element.ts";
import { remembered } from "../shell/remembered.ts";

export type RunState = "idle" | "compiling" | "training" | "pausing" | "paused" | "done";

export interface TrainForm {
  readonly element: HTMLElement;
  /** The chosen stage and the values of the fields; undefined if there is no stage. */
  readonly settings: () => RunSettings | undefined;
  /** Sets the available stages. */
  readonly offer: (stages: readonly StageAbout[]) => void;
  /** Sets what the run is doing. */
  readonly state: (state: RunState) => void;
  /** The run failed: it can be resumed if it had begun; otherwise what was possible before is possible again. */
  readonly failed: () => void;
}

export interface TrainFormOptions {
  readonly onTrain: () => void;
  readonly onPause: () => void;
  readonly onReset: () => void;
  readonly onSettings: () => void;
}

interface State {
  stages: readonly StageAbout[];
  run: RunState;
  /** The state before the run was started. */
  before: RunState;
}

const captions: Readonly<Record<RunState, string>> = {
  idle: "Train",
  compiling: "Compiling …",
  training: "Pause",
  pausing: "Pausing …",
  paused: "Resume",
  done: "Trained",
};

/** Settings survive a reload, so that their run is found again, unless the stage's own settings have changed. */
const lastSettings = remembered("settings", { of: "", steps: 0, batch: 0, rate: 0 });

export function trainForm({ onTrain, onPause, onReset, onSettings }: TrainFormOptions): TrainForm {
  const state: State = { stages: [], run: "idle", before: "idle" };
  const parts = partsOf({
    onStage: () => {
      if (fillFields(parts, state)) onSettings();
    },
    onField: () => {
      keepFields(parts, state);
      onSettings();
    },
    onMain: () => {
      if (parts.main.ariaDisabled === "true") return;
      if (state.run === "training") onPause();
      else if (parts.form.reportValidity()) onTrain();
    },
    onReset: () => {
      parts.main.focus(); // the button disappears
      onReset();
    },
  });
  const set = (run: RunState) => {
    if (run === "compiling") state.before = state.run;
    state.run = run;
    draw(parts, state);
  };
  draw(parts, state);
  return {
    element: parts.form,
    settings: () =>
      parts.stage.value === "" ? undefined : { stage: parts.stage.value, settings: valuesOf(parts), seed: 7 },
    offer: (stages) => {
      state.stages = stages;
      if (stages.length === 0) state.run = "idle";
      if (!offerStages(parts, stages) && fillFields(parts, state)) onSettings();
      draw(parts, state);
    },
    state: set,
    failed: () => set(state.run === "compiling" ? state.before : "paused"),
  };
}

type Parts = ReturnType<typeof partsOf>;

interface Events {
  readonly onStage: () => void;
  readonly onField: () => void;
  readonly onMain: () => void;
  readonly onReset: () => void;
}

function partsOf({ onStage, onField, onMain, onReset }: Events) {
  const stage = element("select", { "aria-label": "Stage", onchange: onStage });
  const steps = numberField("steps", { min: 1, step: "1" }, onField);
  const batch = numberField("batch", { min: 1, step: "1" }, onField);
  const rate = numberField("rate", { min: 0, step: "any" }, onField);
  const main = element("button", { type: "button", class: "primary", "data-action": "train", onclick: onMain });
  const reset = element("button", { type: "button", class: "quiet", onclick: onReset, hidden: true }, "Start over");
  const form = element(
    "form",
    { class: "settings", onsubmit: (event: Event) => event.preventDefault() },
    ...Object.entries({ stage, steps, batch, rate }).map(([name, field]) =>
      element("label", { class: "field above" }, name, field),
    ),
    element("div", { class: "actions" }, main, reset),
  );
  return { form, stage, steps, batch, rate, main, reset };
}

const numberField = (
  name: string,
  limits: { readonly min: number; readonly step: string },
  onchange: () => void,
): HTMLInputElement =>
  element("input", { type: "number", required: true, ...limits, "aria-label": name, "data-setting": name, onchange });

function draw({ stage, steps, batch, rate, main, reset }: Parts, { run, stages }: State): void {
  const isBusy = run === "compiling" || run === "training" || run === "pausing";
  main.textContent = captions[run];
  // Not `disabled`, which would take the keyboard's focus away while the run is compiled or paused.
  main.ariaDisabled = String((isBusy && run !== "training") || run === "done" || stages.length === 0);
  reset.hidden = isBusy || run === "idle";
  for (const field of [stage, steps, batch, rate]) field.disabled = isBusy || stages.length === 0;
}

/** Lists the stages; returns whether the one that was chosen is still there, and stays chosen. */
function offerStages({ stage }: Parts, stages: readonly StageAbout[]): boolean {
  const before = stage.value;
  stage.replaceChildren(...stages.map(({ name }) => element("option", { value: name }, name)));
  const isThere = stages.some(({ name }) => name === before);
  if (isThere) stage.value = before;
  return isThere;
}

const chosenStage = ({ stage }: Parts, { stages }: State) => stages.find(({ name }) => name === stage.value);

const valuesOf = ({ steps, batch, rate }: Parts) => ({
  steps: Number(steps.value),
  batch: Number(batch.value),
  rate: Number(rate.value),
});

/** Shows the chosen stage's own settings, or those last entered for it; returns whether there is a stage. */
function fillFields(parts: Parts, state: State): boolean {
  const stage = chosenStage(parts, state);
  if (!stage) return false;
  const kept = lastSettings.get();
  const now = kept.of === JSON.stringify(stage) ? kept : forOnePage(stage);
  for (const name of ["steps", "batch", "rate"] as const) parts[name].value = String(now[name]);
  return true;
}

function keepFields(parts: Parts, state: State): void {
  lastSettings.set({ of: JSON.stringify(chosenStage(parts, state)), ...valuesOf(parts) });
}

/** Published stages take hundreds of GPUs for weeks; these defaults suit one page. */
const forOnePage = ({ steps, batch, rate }: StageAbout) => ({
  steps: steps > 10_000 ? 600 : steps,
  batch: Math.min(batch, 64),
  rate,
});
