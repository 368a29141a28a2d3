/** A vertical list of buttons of which one is chosen, by a click or by keys, as a listbox of the ARIA practices. */
import { element } from "./element.ts";
import { movedBy } from "./list-keys.ts";

export interface ChoiceList {
  readonly element: HTMLElement;
  /** Chooses an item in the place of the person. */
  readonly choose: (index: number) => void;
}

export interface ChoiceListOptions {
  readonly label: string;
  readonly class: string;
  readonly items: readonly HTMLButtonElement[];
  /** Called with the index of the item, and whether a person chose it. */
  readonly onChoose: (index: number, isByPerson: boolean) => void;
}

export function choiceList({ label, class: className, items, onChoose }: ChoiceListOptions): ChoiceList {
  let at = 0;
  const list = element("div", { class: className, role: "listbox", "aria-label": label, tabindex: -1 }, ...items);
  const choose = (index: number, isByPerson: boolean) => {
    at = index;
    for (const [i, item] of items.entries()) {
      item.setAttribute("aria-selected", String(i === index));
      item.tabIndex = i === index ? 0 : -1;
    }
    onChoose(index, isByPerson);
  };
  for (const [index, item] of items.entries()) {
    item.setAttribute("role", "option");
    item.addEventListener("click", () => choose(index, true));
  }
  list.addEventListener("keydown", (event) => {
    const next = movedBy(event.key, at, items.length);
    if (next === undefined) return;
    choose(next, true);
    items[next]!.focus();
    event.preventDefault();
  });
  return { element: list, choose: (index) => choose(index, false) };
}

/** Runs a function with what was asked for last: an answer that comes after the next question is dropped. */
export function newest<T>(use: (answer: T) => void): (answer: Promise<T>) => Promise<void> {
  let last: Promise<T> | undefined;
  return async (answer) => {
    last = answer;
    const given = await answer;
    if (last === answer) use(given);
  };
}
