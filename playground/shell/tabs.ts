/** Tabs with panels, navigable with arrow keys as in the ARIA practices. */
import { element } from "./element.ts";

export interface Tab<Id extends string> {
  readonly id: Id;
  readonly title: string;
  readonly panel: HTMLElement;
}

export interface Tabs<Id extends string> {
  readonly list: HTMLElement;
  readonly choose: (id: Id) => void;
  /** A short number beside the title. */
  readonly badge: (id: Id, text: string) => void;
}

/** A tab's button, with the badge in it. */
interface Shown<Id extends string> extends Tab<Id> {
  readonly button: HTMLButtonElement;
  readonly badge: HTMLElement;
}

/** The first tab is chosen at the beginning. `onChoose` is called when one is chosen later. */
export function tabs<Id extends string>(
  label: string,
  all: readonly Tab<Id>[],
  onChoose: (id: Id) => void = () => {},
): Tabs<Id> {
  const shown = all.map(shownTab);
  const of = (id: Id) => shown.find((tab) => tab.id === id)!;
  const buttons = shown.map(({ button }) => button);
  const list = element("div", { class: "tabs", role: "tablist", "aria-label": label }, ...buttons);
  const choose = (id: Id) => {
    select(shown, id);
    onChoose(id);
  };
  for (const { id, button } of shown) button.addEventListener("click", () => choose(id));
  onKeys(list, buttons, (index) => choose(shown[index]!.id));
  select(shown, shown[0]!.id);
  return { list, choose, badge: (id, text) => void (of(id).badge.textContent = text) };
}

function shownTab<Id extends string>({ id, title, panel }: Tab<Id>): Shown<Id> {
  const badge = element("span", { class: "badge" });
  const button = element("button", { class: "tab", role: "tab", type: "button", id: `tab-${id}` }, title, badge);
  button.setAttribute("aria-controls", (panel.id ||= `panel-${id}`));
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-labelledby", button.id);
  panel.tabIndex = 0; // so that the keyboard scrolls it, in browsers that skip what merely scrolls
  return { id, title, panel, button, badge };
}

function select<Id extends string>(all: readonly Shown<Id>[], chosen: Id): void {
  for (const { id, button, panel } of all) {
    button.setAttribute("aria-selected", String(id === chosen));
    button.tabIndex = id === chosen ? 0 : -1;
    panel.hidden = id !== chosen;
  }
}

/** Left and Right move in a circle. */
function onKeys(list: HTMLElement, buttons: readonly HTMLElement[], choose: (index: number) => void): void {
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    const next = (to + buttons.length) % buttons.length;
    choose(next);
    buttons[next]!.focus();
    event.preventDefault();
  });
}
