/** The stages of the compiler pipeline, in order: the input and output of each. */
import type { CompiledAbout, StageAbout, StageText } from "../machine/compiled.ts";
import { choiceList, newest } from "../shell/choice-list.ts";
import { element } from "../shell/element.ts";
import { milliseconds } from "../shell/figures.ts";
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

export function passes({ about: { stages }, text, links, chosen, onChoose }: PassesOptions): HTMLElement {
  const detail = element("div", { class: "detail" });
  const showText = newest<readonly [StageAbout, StageText]>(([stage, found]) =>
    detail.replaceChildren(...stageDetail(stage, found, links)),
  );
  const list = choiceList({
    label: "Stages",
    class: "stages",
    items: stages.map(stageButton),
    onChoose: (index) => {
      const stage = stages[index]!;
      onChoose(stage.name);
      void showText(text(index).then((found) => [stage, found]));
    },
  });
  const first = stages.findIndex(({ name, changed }) => (chosen === undefined ? changed : name === chosen));
  list.choose(Math.max(0, first));
  return element("div", { class: "split-list" }, list.element, detail);
}

function stageButton({ name, changed, milliseconds: time, from, to, size }: StageAbout, index: number) {
  return element(
    "button",
    {
      type: "button",
      class: `stage${changed ? "" : " unchanged"}`,
      title: from === to ? to : `${from} to ${to}`,
    },
    element("span", { class: "dot", "aria-hidden": "true" }),
    element("span", { class: "stage-name" }, name),
    element("span", { class: "stage-size" }, changed || index === 0 ? size : "unchanged"),
    element("span", { class: "stage-time" }, milliseconds(time)),
  );
}

function stageDetail({ name, from, to }: StageAbout, { before, after }: StageText, links: Links): HTMLElement[] {
  const title = before ? "changes" : from === to ? "no changes" : `${from} to ${to}`;
  const shown = before ? changes(before, after) : after;
  return [element("h3", {}, element("code", {}, name), ` ${title}`), textView(`${name}: ${title}`, shown, links)];
}
