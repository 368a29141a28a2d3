/** The stages of the compiler pipeline, in order: the input and output of each. */
import type { CompiledAbout, StageAbout, StageText } from "../machine/compiled.ts";
import { element } from "../shell/element.ts";
import { milliseconds } from "../shell/figures.ts";
import { movedBy } from "../shell/list-keys.ts";
import { changes } from "./diff.ts";
import { type Links, textView } from "./text-view.ts";

export interface PassesOptions {
  readonly about: CompiledAbout;
  readonly text: (index: number) => Promise<StageText>;
  readonly links: Links;
  /** The stage selected before, by name. */
  readonly chosen: string | undefined;
  readonly onChoose: (name: string) => void;
}

export function passes({ about, text, links, chosen, onChoose }: PassesOptions): HTMLElement {
  const detail = element("div", { class: "detail" });
  const buttons = about.stages.map((stage, index) => stageButton(stage, index, about.stages[index - 1]));
  const list = element("div", { class: "stages", role: "listbox", "aria-label": "Stages", tabindex: -1 }, ...buttons);

  function stageButton(stage: StageAbout, index: number, before: StageAbout | undefined): HTMLElement {
    const isOther = stage.from !== stage.to;
    return element(
      "button",
      {
        type: "button",
        role: "option",
        class: `stage${stage.changed ? "" : " unchanged"}`,
        title: isOther ? `${stage.from} to ${stage.to}` : stage.to,
        onclick: () => void choose(index),
      },
      element("span", { class: "dot", "aria-hidden": "true" }),
      element("span", { class: "stage-name" }, stage.name),
      element("span", { class: "stage-size" }, stage.changed || !before ? stage.size : "unchanged"),
      element("span", { class: "stage-time" }, milliseconds(stage.milliseconds)),
    );
  }

  async function choose(index: number): Promise<void> {
    const stage = about.stages[index]!;
    for (const [i, button] of buttons.entries()) {
      button.setAttribute("aria-selected", String(i === index));
      button.tabIndex = i === index ? 0 : -1;
    }
    onChoose(stage.name);
    const { before, after } = await text(index);
    const shown = before ? changes(before, after) : after;
    const title = before ? "changes" : stage.from === stage.to ? "no changes" : `${stage.from} to ${stage.to}`;
    detail.replaceChildren(
      element("h3", {}, element("code", {}, stage.name), ` ${title}`),
      textView(`${stage.name}: ${title}`, shown, links),
    );
  }

  list.addEventListener("keydown", (event) => {
    const next = movedBy(event.key, buttons.indexOf(document.activeElement as HTMLElement), buttons.length);
    if (next === undefined) return;
    void choose(next);
    buttons[next]!.focus();
    event.preventDefault();
  });
  const first = about.stages.findIndex(({ name, changed }) => (chosen === undefined ? changed : name === chosen));
  void choose(Math.max(0, first));
  return element("div", { class: "split-list" }, list, detail);
}
