/** Search by words in any of the languages, or by an image; results show the model's attention. */
import type { Hit, PictureFound } from "../machine/gallery.ts";
import { element } from "../shell/element.ts";
import { sentences } from "../shell/sentences.ts";
import { drawPad } from "./draw-pad.ts";
import { languageName, suggestions } from "./languages.ts";
import { attentionMap, type Pack, thumbnail } from "./thumbnail.ts";

export interface SearchView {
  readonly element: HTMLElement;
  /** Called when the weights or the model changed: clears the results. */
  readonly forget: () => void;
  /** Searches with an image. */
  readonly take: (file: File) => void;
}

export interface SearchOptions {
  readonly byText: (text: string, count: number) => Promise<readonly Hit[]>;
  readonly byPicture: (picture: Float32Array, count: number) => Promise<PictureFound>;
  readonly pack: () => Promise<Pack>;
  /** Whether the weights are initial ones. */
  readonly isUntrained: () => Promise<boolean>;
}

/** Results per search. */
const count = 15;

export function searchView({ byText, byPicture, pack, isUntrained }: SearchOptions): SearchView {
  const words = element("input", {
    type: "search",
    placeholder: "Search in English, 中文, العربية, español",
    "aria-label": "Search text",
    dir: "auto",
    enterkeyhint: "search",
  });
  const maps = element("input", {
    type: "checkbox",
    checked: true,
    onchange: () => results.classList.toggle("no-maps", !maps.checked),
  });
  const status = element("p", { class: "search-status", role: "status" });
  const names = element("div", { class: "names" });
  const results = element("ul", { class: "results" });
  let turn = 0;
  const fail = (text: string) => {
    status.textContent = text;
    status.classList.add("bad");
  };

  /** Runs a search; results are dropped if another was started meanwhile. */
  async function search<T>(title: string, find: () => Promise<T>, show: (found: T, pack: Pack) => void): Promise<void> {
    const own = ++turn;
    status.textContent = "Looking …";
    status.classList.remove("bad");
    results.setAttribute("aria-busy", "true");
    try {
      const [found, known, arbitrary] = [await find(), await pack(), await isUntrained()];
      if (own !== turn) return;
      status.textContent = arbitrary ? `${title}: arbitrary, as the model is not trained yet` : title;
      show(found, known);
    } catch (error) {
      if (own === turn) fail(sentences((error as Error).message));
    } finally {
      results.removeAttribute("aria-busy");
    }
  }

  const byWords = (text: string, language?: string) => {
    if (text.trim() === "") return;
    const title = `Drawings nearest to “${text}”${language ? `, ${languageName(language)}` : ""}`;
    void search(
      title,
      () => byText(text, count),
      (hits, known) => {
        names.replaceChildren();
        list(hits, known);
      },
    );
  };

  const pad = drawPad((picture) => {
    void search(
      "Drawings nearest to your image",
      () => byPicture(picture, count),
      (found, known) => {
        names.replaceChildren(...namesOf(found, picture));
        list(found.hits, known);
      },
    );
  });

  function list(hits: readonly Hit[], known: Pack): void {
    results.replaceChildren(
      ...hits.map(({ emoji, artist, cosine, attention }) =>
        element(
          "li",
          {},
          thumbnail(known, emoji, artist, attention),
          element("span", { class: "name" }, known.emoji[emoji]!.texts.en?.[0] ?? ""),
          element("span", { class: "cosine" }, cosine.toFixed(2)),
        ),
      ),
    );
  }

  const form = element(
    "form",
    {
      class: "search-form",
      role: "search",
      onsubmit: (event: Event) => {
        event.preventDefault();
        byWords(words.value);
      },
    },
    words,
    element("button", { type: "submit", class: "primary" }, "Search"),
  );
  const chips = element(
    "p",
    { class: "chips" },
    ...suggestions.map(({ language, text }) =>
      element(
        "button",
        {
          type: "button",
          class: "chip",
          lang: language,
          onclick: () => {
            words.value = text;
            byWords(text, language);
          },
        },
        text,
      ),
    ),
  );
  const view = element(
    "div",
    { class: "search" },
    form,
    chips,
    pad.element,
    element(
      "div",
      { class: "search-head" },
      status,
      element("label", { class: "check" }, maps, "show where it looked"),
    ),
    names,
    results,
  );
  const take = (file: File) => {
    pad.take(file).catch((error: Error) => fail(`Cannot read this image: ${error.message}`));
  };
  document.addEventListener("paste", (event) => {
    const image = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!image || view.closest("[hidden]")) return;
    event.preventDefault();
    take(image);
  });
  return {
    element: view,
    take,
    forget: () => {
      turn += 1;
      status.textContent = "";
      names.replaceChildren();
      results.replaceChildren();
    },
  };
}

/** An image's names in each language, and its attention map. */
function namesOf({ names, attention }: PictureFound, picture: Float32Array): HTMLElement[] {
  const best = names.map(({ language, text, cosine }) =>
    element(
      "div",
      { class: "named" },
      element("span", { class: "language" }, languageName(language)),
      element("strong", { lang: language, dir: "auto" }, text),
      element("span", { class: "cosine" }, cosine.toFixed(2)),
    ),
  );
  if (!attention) return best;
  const shown = element(
    "span",
    { class: "looked", role: "img", "aria-label": "Where the model looked in your image" },
    pictureOf(picture),
    attentionMap(attention),
  );
  return [shown, element("div", { class: "named-list" }, ...best)];
}

function pictureOf(planes: Float32Array): HTMLCanvasElement {
  const size = Math.round(Math.sqrt(planes.length / 3));
  const canvas = element("canvas", { width: size, height: size });
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * planes[c * size * size + i]!;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
