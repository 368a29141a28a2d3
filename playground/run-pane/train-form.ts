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

export function trainForm(options: TrainFormOptions): TrainForm {
  const state: State = { stages: [], run: "idle", before: "idle" };
  const parts = partsOf();
  const set = (run: RunState) => {
    if (run === "compiling") state.before = state.run;
    state.run = run;
    draw(parts, state);
  };
  listen(parts, state, options);
  draw(parts, state);
  return {
    element: parts.form,
    settings: () => {
      const stage = parts.stage.value;
      return stage === "" ? undefined : { stage, settings: valuesOf(parts), seed: 7 };
    },
    offer: (stages) => {
      state.stages = stages;
      if (!offerStages(parts, stages) && fillFields(parts, state)) options.onSettings();
      if (stages.length === 0) state.run = "idle";
      draw(parts, state);
    },
    state: set,
    failed: () => set(state.run === "compiling" ? state.before : "paused"),
  };
}

type Parts = ReturnType<typeof partsOf>;

function partsOf() {
  const stage = element("select", { "aria-label": "Stage" });
  const steps = numberField("steps", { min: 1, step: "1" });
  const batch = numberField("batch", { min: 1, step: "1" });
  const rate = numberField("rate", { min: 0, step: "any" });
  const main = element("button", { type: "button", class: "primary", "data-action": "train" });
  const reset = element("button", { type: "button", class: "quiet", hidden: true }, "Start over");
  const form = element(
    "form",
    { class: "settings" },
    ...Object.entries({ stage, steps, batch, rate }).map(([name, field]) =>
      element("label", { class: "field above" }, name, field),
    ),
    element("div", { class: "actions" }, main, reset),
  );
  return { form, stage, steps, batch, rate, main, reset };
}

function listen(parts: Parts, state: State, { onTrain, onPause, onReset, onSettings }: TrainFormOptions): void {
  const { form, stage, main, reset } = parts;
  form.addEventListener("submit", (event) => event.preventDefault());
  stage.addEventListener("change", () => fillFields(parts, state) && onSettings());
  for (const field of [parts.steps, parts.batch, parts.rate])
    field.addEventListener("change", () => {
      keepFields(parts, state);
      onSettings();
    });
  main.addEventListener("click", () => {
    if (main.ariaDisabled === "true") return;
    if (state.run === "training") onPause();
    else if (form.reportValidity()) onTrain();
  });
  reset.addEventListener("click", () => {
    main.focus(); // the button disappears
    onReset();
  });
}

const numberField = (name: string, limits: { readonly min: number; readonly step: string }): HTMLInputElement =>
  element("input", { type: "number", required: true, ...limits, "aria-label": name, "data-setting": name });

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
