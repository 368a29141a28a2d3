/** The numbers of a run's latest step, and the time that a step takes. */
import { element } from "../shell/element.ts";
import { milliseconds, percent } from "../shell/figures.ts";

export interface LiveFigures {
  readonly element: HTMLElement;
  /** A run begins or goes on: time is measured anew. */
  readonly begin: () => void;
  readonly step: (step: number, loss: number, right: number | undefined) => void;
  readonly clear: () => void;
}

export function liveFigures(): LiveFigures {
  const list = element("dl", { class: "figures live" });
  const pace = pacer();
  let shown: Readonly<Record<string, string>> = {};
  const show = (next: Readonly<Record<string, string>>) => {
    shown = next;
    list.replaceChildren(...Object.entries(shown).map(([name, value]) => figure(name, value)));
  };
  return {
    element: list,
    begin: pace.begin,
    step: (step, loss, right) => {
      const mean = pace.now();
      show({
        ...shown, // a figure that a step lacks stays
        step: String(step),
        loss: loss.toFixed(3),
        ...(right !== undefined && { "in batch": percent(right) }),
        ...(mean !== undefined && { "a step": milliseconds(mean) }),
      });
    },
    clear: () => show({}),
  };
}

const figure = (name: string, value: string): HTMLElement =>
  element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value)));

/** Milliseconds per step: a running mean of the intervals. */
function pacer() {
  let [last, mean]: (number | undefined)[] = [];
  return {
    begin: () => void (last = mean = undefined),
    now: (): number | undefined => {
      const now = performance.now();
      if (last !== undefined) mean = mean === undefined ? now - last : 0.8 * mean + 0.2 * (now - last);
      last = now;
      return mean;
    },
  };
}
