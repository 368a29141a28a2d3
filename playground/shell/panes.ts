/** The three panes: side by side if there is room, otherwise one at a time, selected by buttons. */
import { element } from "./element.ts";
import { splitters } from "./splitters.ts";

const places = { model: "Model", compiled: "Compiled", run: "Run" } as const;
type Place = keyof typeof places;

export interface Panes {
  readonly isNarrow: () => boolean;
  readonly show: (place: Place) => void;
}

export function panes(nav: HTMLElement, main: HTMLElement): Panes {
  const narrow = window.matchMedia("(max-width: 1099px)");
  const all = Object.keys(places) as Place[];
  const buttons = all.map((place) => element("button", { type: "button", onclick: () => show(place) }, places[place]));
  nav.append(...buttons);
  function show(place: Place): void {
    main.dataset.place = place;
    for (const [i, button] of buttons.entries()) button.setAttribute("aria-current", String(all[i] === place));
  }
  show("model");
  splitters(main, [...main.querySelectorAll<HTMLElement>(".splitter")]);
  return { isNarrow: () => narrow.matches, show };
}
