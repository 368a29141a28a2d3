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

export function tabs<Id extends string>(
  label: string,
  all: readonly Tab<Id>[],
  onChoose: (id: Id) => void = () => {},
): Tabs<Id> {
  const buttons = new Map(
    all.map(({ id, title, panel }) => {
      const badge = element("span", { class: "badge" });
      const button = element(
        "button",
        { class: "tab", role: "tab", type: "button", id: `tab-${id}`, onclick: () => choose(id) },
        title,
        badge,
      );
      button.setAttribute("aria-controls", (panel.id ||= `panel-${id}`));
      panel.setAttribute("role", "tabpanel");
      panel.tabIndex = 0; // so that the keyboard scrolls it, in browsers that skip what merely scrolls
      panel.setAttribute("aria-labelledby", button.id);
      return [id, { button, badge, panel }] as const;
    }),
  );
  const list = element(
    "div",
    { class: "tabs", role: "tablist", "aria-label": label },
    ...[...buttons.values()].map((b) => b.button),
  );
  const ids = all.map(({ id }) => id);
  list.addEventListener("keydown", (event) => {
    const at = ids.findIndex((id) => buttons.get(id)!.button === document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    const next = ids.at(to % ids.length)!;
    choose(next);
    buttons.get(next)!.button.focus();
    event.preventDefault();
  });
  function choose(id: Id): void {
    for (const [other, { button, panel }] of buttons) {
      button.setAttribute("aria-selected", String(other === id));
      button.tabIndex = other === id ? 0 : -1;
      panel.hidden = other !== id;
    }
    onChoose(id);
  }
  choose(ids[0]!);
  return { list, choose, badge: (id, text) => void (buttons.get(id)!.badge.textContent = text) };
}
