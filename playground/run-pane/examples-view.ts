/** The images of a run: those of the current batch with their names, and what is guessed for held-out drawings. */
import type { Shown } from "../machine/batches.ts";
import type { Evaluation } from "../machine/gallery.ts";
import { element } from "../shell/element.ts";
import { percent } from "../shell/figures.ts";
import { languageName } from "./languages.ts";
import { type Pack, thumbnail } from "./thumbnail.ts";

export interface ExamplesView {
  readonly elements: readonly HTMLElement[];
  readonly batch: (rows: readonly Shown[], pack: Pack) => void;
  readonly evaluation: (found: Evaluation, pack: Pack) => void;
  readonly clear: () => void;
}

export function examplesView(): ExamplesView {
  const learning = element("ul", { class: "learning" });
  const recall = element("div", { class: "recall" });
  const guesses = element("ul", { class: "guesses" });
  const batchPart = element("section", { hidden: true }, element("h3", {}, "Training batch"), learning);
  const heldOutPart = element("section", { hidden: true }, element("h3", {}, "Held-out drawings"), recall, guesses);
  return {
    elements: [batchPart, heldOutPart],
    batch: (rows, pack) => {
      batchPart.hidden = false;
      learning.replaceChildren(...rows.map((row) => learned(row, pack)));
    },
    evaluation: (found, pack) => {
      heldOutPart.hidden = false;
      recall.replaceChildren(...recalled(found));
      guesses.replaceChildren(...found.guesses.map((guess) => guessed(guess, pack)));
    },
    clear: () => {
      batchPart.hidden = heldOutPart.hidden = true;
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
