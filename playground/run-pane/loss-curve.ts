/** The loss curve: every step faintly, with a running mean. The mouse and the keyboard read out a step. */
import { drawn, element } from "../shell/element.ts";

export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

export interface LossCurve {
  readonly element: HTMLElement;
  readonly begin: (points: readonly LossPoint[], steps: number) => void;
  readonly add: (point: LossPoint) => void;
}

/** Drawing size in SVG units; strokes do not scale with it. */
const [width, height] = [600, 200];

/** Weight of a new value in the running mean. */
const share = 0.08;

interface State {
  points: LossPoint[];
  steps: number;
  /** Index of the point that the keyboard reads out; the last one by default. */
  at: number | undefined;
}

export function lossCurve(): LossCurve {
  const state: State = { points: [], steps: 1, at: undefined };
  const parts = partsOf();
  const redraw = onceAFrame(() => draw(parts, state));
  onPointer(parts, state);
  onKeys(parts, state);
  draw(parts, state);
  return {
    element: element("figure", { class: "curve" }, parts.frame, parts.ends),
    begin: (points, steps) => {
      Object.assign(state, { points: [...points], steps, at: undefined } satisfies State);
      redraw();
    },
    add: (point) => {
      state.points.push(point);
      redraw();
    },
  };
}

type Parts = ReturnType<typeof partsOf>;

function partsOf() {
  const raw = drawn("path", { class: "raw" });
  const mean = drawn("path", { class: "mean" });
  const grid = drawn("g", { class: "grid" });
  const box = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  const chart = drawn("svg", box, grid, raw, mean);
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const readout = element("output", { class: "readout" });
  const ends = element("div", { class: "ends", "aria-hidden": "true" });
  const frame = element(
    "div",
    {
      class: "frame",
      tabindex: 0,
      role: "slider", // what moves along the steps; its value is read out
      "aria-label": "Loss by step",
      "aria-valuemin": 1,
    },
    chart,
    ticks,
    readout,
  );
  return { raw, mean, grid, chart, ticks, readout, ends, frame };
}

function draw(parts: Parts, state: State): void {
  const { points, steps } = state;
  const top = niceAbove(points.reduce((most, { loss }) => Math.max(most, loss), 0.1));
  const y = (loss: number) => height - (height * loss) / top;
  drawLines(parts, state, y);
  drawScale(parts, points.length === 0 ? [] : [0.25, 0.5, 0.75, 1].map((part) => part * top), y);
  parts.ends.replaceChildren(element("span", {}, "0"), element("span", {}, `step ${steps}`));
  parts.frame.setAttribute("aria-valuemax", String(steps));
  speak(parts, state);
}

function drawLines({ raw, mean }: Parts, { points, steps }: State, y: (loss: number) => number): void {
  const path = (losses: readonly number[]) =>
    losses
      .map((loss, i) => [(width * points[i]!.step) / steps, y(loss)] as const)
      .map(([a, b], i) => `${i === 0 ? "M" : "L"}${a.toFixed(1)} ${b.toFixed(1)}`)
      .join("");
  const losses = points.map((p) => p.loss);
  raw.setAttribute("d", path(losses));
  mean.setAttribute("d", path(running(losses)));
}

/** Horizontal lines at some losses, with their values. */
function drawScale({ grid, ticks }: Parts, losses: readonly number[], y: (loss: number) => number): void {
  grid.replaceChildren(...losses.map((v) => drawn("line", { x1: 0, x2: width, y1: y(v), y2: y(v) })));
  ticks.replaceChildren(
    ...losses.map((v) => {
      const tick = element("span", {}, String(Number(v.toPrecision(2))));
      tick.style.top = `${(100 * y(v)) / height}%`;
      return tick;
    }),
  );
}

/** Tells screen readers the point that the keyboard chose, or the last; returns its text. */
function speak({ frame }: Parts, { points, at }: State): string {
  const point = points[at ?? points.length - 1];
  const text = point ? textOf(point) : "";
  frame.setAttribute("aria-valuenow", String(point?.step ?? 0));
  frame.setAttribute("aria-valuetext", text);
  return text;
}

function onPointer({ chart, readout }: Parts, state: State): void {
  chart.addEventListener("pointermove", (event) => {
    const { points, steps } = state;
    const step = (event.offsetX / chart.clientWidth) * steps;
    const near = points.findLast((p) => p.step <= step) ?? points[0];
    readout.textContent = near ? textOf(near) : "";
  });
  chart.addEventListener("pointerleave", () => void (readout.textContent = ""));
}

function onKeys(parts: Parts, state: State): void {
  const { frame, readout } = parts;
  frame.addEventListener("keydown", (event) => {
    const next = movedBy(event.key, state);
    if (next === undefined) return;
    state.at = next;
    readout.textContent = speak(parts, state);
    event.preventDefault();
  });
  frame.addEventListener("blur", () => {
    state.at = undefined;
    readout.textContent = "";
  });
}

/** The index of the point that a key moves to; undefined for keys that do not move. */
function movedBy(key: string, { points, at }: State): number | undefined {
  const last = points.length - 1;
  const [from, tenth] = [at ?? last, Math.ceil(points.length / 10)];
  const moves: Readonly<Record<string, number>> = {
    ArrowLeft: from - 1,
    ArrowRight: from + 1,
    PageUp: from + tenth,
    PageDown: from - tenth,
    Home: 0,
    End: last,
  };
  if (points.length === 0 || !Object.hasOwn(moves, key)) return undefined;
  return Math.max(0, Math.min(last, moves[key]!));
}

/** Runs a function at the next frame, once however often it is asked for before that. */
function onceAFrame(run: () => void): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      run();
    });
  };
}

const textOf = ({ step, loss }: LossPoint): string => `step ${step}: ${loss.toFixed(3)}`;

function running(values: readonly number[]): number[] {
  let mean = values[0] ?? 0;
  let weight = 0;
  return values.map((value) => {
    // The first values are averaged uniformly.
    weight = Math.max(share, 1 / (1 / (weight || 1) + 1));
    mean += (value - mean) * weight;
    return mean;
  });
}

/** The next of 1, 2, 4, 6 or 8 times a power of ten, whose quarters have at most two digits. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((by) => by * power).find((n) => n >= value)!;
}
