/** Results of a search: nearest drawings with the model's attention, and the names of an image. */
import type { Hit, PictureFound } from "../machine/gallery.ts";
import { element } from "../shell/element.ts";
import { type StatusLine, statusLine } from "../shell/status-line.ts";
import { languageName } from "./languages.ts";
import { attentionMap, type Pack, thumbnail } from "./thumbnail.ts";

export interface SearchResults {
  readonly elements: readonly HTMLElement[];
  readonly status: StatusLine;
  readonly isBusy: (isBusy: boolean) => void;
  /** Shows drawings, and above them what else was found. */
  readonly show: (hits: readonly Hit[], pack: Pack, above?: readonly HTMLElement[]) => void;
  readonly clear: () => void;
}

export function searchResults(): SearchResults {
  const status = statusLine("search-status");
  const above = element("div", { class: "names" });
  const list = element("ul", { class: "results" });
  return {
    elements: [element("div", { class: "search-head" }, status.element, mapsSwitch(list)), above, list],
    status,
    isBusy: (isBusy) => {
      if (isBusy) list.setAttribute("aria-busy", "true");
      else list.removeAttribute("aria-busy");
    },
    show: (hits, pack, found = []) => {
      above.replaceChildren(...found);
      list.replaceChildren(...hits.map((hit) => itemOf(hit, pack)));
    },
    clear: () => {
      status.say("");
      above.replaceChildren();
      list.replaceChildren();
    },
  };
}

/** Shows or hides the attention maps of a list. */
function mapsSwitch(list: HTMLElement): HTMLElement {
  const toggle = () => void list.classList.toggle("no-maps", !box.checked);
  const box = element("input", { type: "checkbox", checked: true, onchange: toggle });
  return element("label", { class: "check" }, box, "show where it looked");
}

const itemOf = ({ emoji, artist, cosine, attention }: Hit, pack: Pack): HTMLElement =>
  element(
    "li",
    {},
    thumbnail(pack, emoji, artist, attention),
    element("span", { class: "name" }, pack.emoji[emoji]!.texts.en?.[0] ?? ""),
    element("span", { class: "cosine" }, cosine.toFixed(2)),
  );

/** An image's names in each language, and its attention map. `picture` is planes [channel, row, column]. */
export function namesOf({ names, attention }: PictureFound, picture: Float32Array): HTMLElement[] {
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
