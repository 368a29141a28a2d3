/** Search by words in any of the languages, or by an image; results show the model's attention. */
import type { Hit, PictureFound } from "../machine/gallery.ts";
import { element } from "../shell/element.ts";
import { drawPad } from "./draw-pad.ts";
import { languageName } from "./languages.ts";
import { namesOf, type SearchResults, searchResults } from "./search-results.ts";
import { searchWords } from "./search-words.ts";
import type { Pack } from "./thumbnail.ts";

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

export function searchView(options: SearchOptions): SearchView {
  const results = searchResults();
  const { search, forget } = newestSearch(results, options);
  const byPicture = (picture: Float32Array) =>
    search(
      "Drawings nearest to your image",
      () => options.byPicture(picture, count),
      (found, pack) => results.show(found.hits, pack, namesOf(found, picture)),
    );
  const byText = (text: string, language?: string) =>
    search(
      `Drawings nearest to “${text}”${language ? `, ${languageName(language)}` : ""}`,
      () => options.byText(text, count),
      (hits, pack) => results.show(hits, pack),
    );
  const take = (file: File) => {
    pad.take(file).catch(({ message }: Error) => results.status.fail(`Cannot read this image: ${message}`));
  };
  const pad = drawPad({ onPicture: byPicture, onImage: take });
  const view = element("div", { class: "search" }, ...searchWords(byText), pad.element, ...results.elements);
  onPastedImage(view, take);
  return { element: view, take, forget };
}

/** Searches of which only the newest is shown: results are dropped if another was started meanwhile. */
function newestSearch(results: SearchResults, { pack, isUntrained }: SearchOptions) {
  let turn = 0;
  async function search<T>(title: string, find: () => Promise<T>, show: (found: T, pack: Pack) => void): Promise<void> {
    const own = ++turn;
    results.status.say("Looking …");
    results.isBusy(true);
    try {
      const [found, known, arbitrary] = [await find(), await pack(), await isUntrained()];
      if (own !== turn) return;
      results.status.say(arbitrary ? `${title}: arbitrary, as the model is not trained yet` : title);
      show(found, known);
    } catch (error) {
      if (own === turn) results.status.fail((error as Error).message);
    } finally {
      if (own === turn) results.isBusy(false);
    }
  }
  const forget = () => {
    turn += 1;
    results.isBusy(false);
    results.clear();
  };
  return { search, forget };
}

/** Gives images that are pasted while a view is visible to a function. */
function onPastedImage(view: HTMLElement, take: (image: File) => void): void {
  document.addEventListener("paste", (event) => {
    const image = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!image || view.closest("[hidden]")) return;
    event.preventDefault();
    take(image);
  });
}
