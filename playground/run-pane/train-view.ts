/** The training tab: settings, loss curve, the current batch, and predictions on unseen drawings. */
import type { Shown } from "../machine/batches.ts";
import type { Evaluation } from "../machine/gallery.ts";
import type { StageAbout } from "../machine/model.ts";
import type { RunEvent, RunSettings } from "../machine/run-worker.ts";
import { element } from "../shell/element.ts";
import { milliseconds, percent } from "../shell/figures.ts";
import { remembered } from "../shell/remembered.ts";
import { languageName } from "./languages.ts";
import { type LossPoint, lossCurve } from "./loss-curve.ts";
import { type Pack, thumbnail } from "./thumbnail.ts";

export type RunState = "idle" | "compiling" | "training" | "pausing" | "paused" | "done";

export interface TrainView {
  readonly element: HTMLElement;
  readonly settings: () => RunSettings | undefined;
  /** Sets the available stages. */
  readonly offer: (stages: readonly StageAbout[]) => void;
  readonly state: (state: RunState) => void;
  readonly told: (event: RunEvent, pack: Pack) => void;
  /** Shows a run that can be continued, or none. */
  readonly left: (
    run: { readonly step: number; readonly points: readonly LossPoint[] } | undefined,
    steps: number,
  ) => void;
  readonly notice: (text: string, kind?: "note" | "bad") => void;
}

export interface TrainOptions {
  readonly onTrain: () => void;
  readonly onPause: () => void;
  readonly onReset: () => void;
  readonly onSettings: () => void;
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

export function trainView({ onTrain, onPause, onReset, onSettings }: TrainOptions): TrainView {
  const curve = lossCurve();
  const stage = element("select", { "aria-label": "Stage", onchange: () => chosen() });
  const number = (name: string, { min, step }: { readonly min: number; readonly step: string }) =>
    element("input", {
      type: "number",
      required: true,
      min,
      step,
      "aria-label": name,
      onchange: () => changed(),
      "data-setting": name,
    });
  const [steps, batch, rate] = [
    number("steps", { min: 1, step: "1" }),
    number("batch", { min: 1, step: "1" }),
    number("rate", { min: 0, step: "any" }),
  ];
  const main = element("button", {
    type: "button",
    class: "primary",
    "data-action": "train",
    onclick: () => {
      if (state === "training") onPause();
      else if (form.reportValidity()) onTrain();
    },
  });
  const reset = element("button", { type: "button", class: "quiet", onclick: onReset, hidden: true }, "Start over");
  const notice = element("p", { class: "notice", role: "status", hidden: true });
  const figures = element("dl", { class: "figures live" });
  const learning = element("ul", { class: "learning" });
  const guesses = element("ul", { class: "guesses" });
  const recall = element("div", { class: "recall" });
  const learningPart = element("section", { hidden: true }, element("h3", {}, "Training batch"), learning);
  const testedPart = element("section", { hidden: true }, element("h3", {}, "Held-out drawings"), recall, guesses);
  const intro = element(
    "p",
    { class: "intro" },
    "The model learns to match images of emoji by three artists with their names in four languages. A fourth artist's images are held out to evaluate it. Everything runs in this page; no data leaves it.",
  );
  curve.element.hidden = true;
  let stages: readonly StageAbout[] = [];
  let state: RunState = "idle";
  let shown: Readonly<Record<string, string>> = {};
  const pace = pacer();

  /** The stage's own settings, or those last entered for it. */
  function chosen(): void {
    const found = stages.find(({ name }) => name === stage.value);
    if (!found) return;
    const kept = lastSettings.get();
    const now = kept.of === JSON.stringify(found) ? kept : forOnePage(found);
    steps.value = String(now.steps);
    batch.value = String(now.batch);
    rate.value = String(now.rate);
    onSettings();
  }

  function changed(): void {
    const found = stages.find(({ name }) => name === stage.value);
    const [s, b, r] = [steps, batch, rate].map((field) => Number(field.value));
    lastSettings.set({ of: JSON.stringify(found), steps: s!, batch: b!, rate: r! });
    onSettings();
  }

  function show(next: Readonly<Record<string, string>>): void {
    shown = { ...shown, ...next };
    figures.replaceChildren(
      ...Object.entries(shown).map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value))),
      ),
    );
  }

  function setState(next: RunState): void {
    state = next;
    main.textContent = captions[next];
    const isBusy = next === "compiling" || next === "training" || next === "pausing";
    main.disabled = (isBusy && next !== "training") || next === "done" || stages.length === 0;
    reset.hidden = isBusy || next === "idle";
    for (const field of [stage, steps, batch, rate]) field.disabled = isBusy || stages.length === 0;
  }

  /** Hides what belongs to another run. */
  function clear(): void {
    shown = {};
    figures.replaceChildren();
    delete view.dataset.step;
    learningPart.hidden = testedPart.hidden = true;
  }

  function say(text: string, kind: "note" | "bad" = "note"): void {
    notice.hidden = text === "";
    notice.className = `notice ${kind}`;
    notice.textContent = text;
  }

  const form = element(
    "form",
    { class: "settings", onsubmit: (event: Event) => event.preventDefault() },
    element("label", { class: "field above" }, "stage", stage),
    element("label", { class: "field above" }, "steps", steps),
    element("label", { class: "field above" }, "batch", batch),
    element("label", { class: "field above" }, "rate", rate),
    element("div", { class: "actions" }, main, reset),
  );
  const view = element(
    "div",
    { class: "train" },
    form,
    notice,
    intro,
    curve.element,
    figures,
    learningPart,
    testedPart,
  );
  setState("idle");

  return {
    element: view,
    offer: (all) => {
      stages = all;
      const before = stage.value;
      stage.replaceChildren(...all.map(({ name }) => element("option", { value: name }, name)));
      if (all.some(({ name }) => name === before)) stage.value = before;
      else chosen();
      setState(all.length === 0 ? "idle" : state);
    },
    settings: () => {
      const settings = { steps: Number(steps.value), batch: Number(batch.value), rate: Number(rate.value) };
      return stage.value === "" ? undefined : { stage: stage.value, settings, seed: 7 };
    },
    state: setState,
    notice: say,
    left: (run, steps) => {
      setState(run === undefined ? "idle" : run.step >= steps ? "done" : "paused");
      clear();
      curve.begin(run?.points ?? [], steps);
      [curve.element.hidden, intro.hidden] = [!run, run !== undefined];
      say(run ? `A checkpoint of step ${run.step} is available.` : "");
    },
    told: (event, pack) => {
      if (event.kind === "begun") {
        if (event.done === 0) clear();
        curve.begin(event.points, event.steps);
        [curve.element.hidden, intro.hidden] = [false, true];
        pace.begin();
        setState("training");
        say(event.done > 0 ? `Resumed from step ${event.done}.` : "");
      } else if (event.kind === "step") {
        const { loss, right } = event.figures;
        if (loss === undefined) return; // metrics of a test
        curve.add({ step: event.step, loss });
        show({
          step: String(event.step),
          loss: loss.toFixed(3),
          ...(right !== undefined && { "in batch": percent(right) }),
          ...pace.figure(),
        });
        view.dataset.step = String(event.step);
      } else if (event.kind === "batch") {
        learningPart.hidden = false;
        learning.replaceChildren(...event.shown.map((row) => learned(row, pack)));
      } else if (event.kind === "evaluated") {
        testedPart.hidden = false;
        recall.replaceChildren(...recalled(event.found));
        guesses.replaceChildren(...event.found.guesses.map((guess) => guessed(guess, pack)));
      } else if (event.kind === "lost") say(`The device was lost; reopening it … (${event.why.split("\n")[0]})`, "bad");
      else if (event.kind === "back")
        say(`The device was lost and reopened: training continues from step ${event.step}.`);
      else if (event.kind === "note") say(event.text);
    },
  };
}

/** Published stages take hundreds of GPUs for weeks; these defaults suit one page. */
const forOnePage = ({ steps, batch, rate }: StageAbout) => ({
  steps: steps > 10_000 ? 600 : steps,
  batch: Math.min(batch, 64),
  rate,
});

/** Time per step: a running mean of the intervals. */
function pacer() {
  let [last, mean]: (number | undefined)[] = [];
  return {
    begin: () => void (last = mean = undefined),
    figure: (): Record<string, string> => {
      const now = performance.now();
      if (last !== undefined) mean = mean === undefined ? now - last : 0.8 * mean + 0.2 * (now - last);
      last = now;
      return mean === undefined ? {} : { "a step": milliseconds(mean) };
    },
  };
}

function learned({ emoji, artist, text, language }: Shown, pack: Pack): HTMLElement {
  return element("li", {}, thumbnail(pack, emoji, artist), element("span", { lang: language, dir: "auto" }, text));
}

/** The fraction named correctly, by language. */
function recalled({ recall, candidates }: Evaluation): HTMLElement[] {
  const all = Object.entries(recall).map(([language, share]) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${100 * share}%`;
    return element(
      "div",
      { class: "language" },
      element("span", {}, languageName(language)),
      element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("strong", {}, percent(share)),
    );
  });
  return [element("p", {}, `Noto's drawings are held out. Top-1 accuracy among ${candidates} names:`), ...all];
}

function guessed({ emoji, guess, right }: Evaluation["guesses"][number], pack: Pack): HTMLElement {
  return element(
    "li",
    { class: right ? "right" : "wrong" },
    thumbnail(pack, emoji, pack.artists.length - 1),
    element("span", {}, guess),
  );
}
