/** The training tab: settings, loss curve, the current batch, and predictions on unseen drawings. */
import type { RunEvent } from "../machine/run-worker.ts";
import { element } from "../shell/element.ts";
import { examplesView } from "./examples-view.ts";
import { liveFigures } from "./live-figures.ts";
import { type LossPoint, lossCurve } from "./loss-curve.ts";
import type { Pack } from "./thumbnail.ts";
import { type TrainForm, type TrainFormOptions, trainForm } from "./train-form.ts";

export interface TrainView extends Omit<TrainForm, "element"> {
  readonly element: HTMLElement;
  /** Shows an event of the run. */
  readonly told: (event: RunEvent, pack: Pack) => void;
  /** Shows a run that can be continued, or none. */
  readonly left: (
    run: { readonly step: number; readonly points: readonly LossPoint[] } | undefined,
    steps: number,
  ) => void;
  readonly notice: (text: string, kind?: "note" | "bad") => void;
}

export function trainView(options: TrainFormOptions): TrainView {
  const parts = partsOf(options);
  const { form } = parts;
  return {
    ...form,
    element: parts.view,
    told: (event, pack) => tell(parts, event, pack),
    notice: (text, kind) => say(parts, text, kind),
    left: (run, steps) => {
      form.state(run === undefined ? "idle" : run.step >= steps ? "done" : "paused");
      clear(parts);
      showCurve(parts, run?.points, steps);
      say(parts, run ? `A checkpoint of step ${run.step} is available.` : "");
    },
  };
}

type Parts = ReturnType<typeof partsOf>;

function partsOf(options: TrainFormOptions) {
  const [form, curve, figures, examples] = [trainForm(options), lossCurve(), liveFigures(), examplesView()];
  const notice = element("p", { class: "notice", role: "status", hidden: true });
  const intro = element(
    "p",
    { class: "intro" },
    "The model learns to match images of emoji by three artists with their names in four languages. A fourth artist's images are held out to evaluate it. Everything runs in this page; no data leaves it.",
  );
  curve.element.hidden = true;
  const shown = [form.element, notice, intro, curve.element, figures.element, ...examples.elements];
  return { view: element("div", { class: "train" }, ...shown), form, curve, figures, examples, notice, intro };
}

/** What each event of a run changes. */
const tellers: {
  readonly [K in RunEvent["kind"]]: (parts: Parts, event: Extract<RunEvent, { kind: K }>, pack: Pack) => void;
} = {
  begun: (parts, { done, points, steps }) => {
    if (done === 0) clear(parts);
    showCurve(parts, points, steps);
    parts.figures.begin();
    parts.form.state("training");
    say(parts, done > 0 ? `Resumed from step ${done}.` : "");
  },
  step: ({ view, curve, figures }, { step, figures: { loss, right } }) => {
    if (loss === undefined) return; // metrics of a test
    curve.add({ step, loss });
    figures.step(step, loss, right);
    view.dataset.step = String(step);
  },
  batch: ({ examples }, { shown }, pack) => examples.batch(shown, pack),
  evaluated: ({ examples }, { found }, pack) => examples.evaluation(found, pack),
  lost: (parts, { why }) => say(parts, `The device was lost; reopening it … (${why.split("\n")[0]})`, "bad"),
  back: (parts, { step }) => say(parts, `The device was lost and reopened: training continues from step ${step}.`),
  note: (parts, { text }) => say(parts, text),
};

const tell = (parts: Parts, event: RunEvent, pack: Pack): void =>
  (tellers[event.kind] as (parts: Parts, event: RunEvent, pack: Pack) => void)(parts, event, pack);

/** Shows the curve of a run; without one, the introduction is in its place. */
function showCurve({ curve, intro }: Parts, points: readonly LossPoint[] | undefined, steps: number): void {
  curve.begin(points ?? [], steps);
  [curve.element.hidden, intro.hidden] = [points === undefined, points !== undefined];
}

/** Removes what belongs to another run. */
function clear({ view, figures, examples }: Parts): void {
  figures.clear();
  examples.clear();
  delete view.dataset.step;
}

function say({ notice }: Parts, text: string, kind: "note" | "bad" = "note"): void {
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
  notice.textContent = text;
}
