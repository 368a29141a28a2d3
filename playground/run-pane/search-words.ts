/** What is searched for in words: a field, and example queries. */
import { element } from "../shell/element.ts";
import { suggestions } from "./languages.ts";

/** `onSearch` gets a text that is not blank, and its language where that is known. */
export function searchWords(onSearch: (text: string, language?: string) => void): HTMLElement[] {
  const field = element("input", {
    type: "search",
    placeholder: "Search in English, 中文, العربية, español",
    "aria-label": "Search text",
    dir: "auto",
    enterkeyhint: "search",
  });
  const submit = (event: Event) => {
    event.preventDefault();
    if (field.value.trim() !== "") onSearch(field.value);
  };
  const button = element("button", { type: "submit", class: "primary" }, "Search");
  const form = element("form", { class: "search-form", role: "search", onsubmit: submit }, field, button);
  const chips = suggestions.map(({ language, text }) => {
    const onclick = () => {
      field.value = text;
      onSearch(text, language);
    };
    return element("button", { type: "button", class: "chip", lang: language, onclick }, text);
  });
  return [form, element("p", { class: "chips" }, ...chips)];
}
