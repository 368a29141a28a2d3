/** HTML template strings; interpolated values are escaped unless they already are HTML. */

/** An HTML fragment that is already escaped. */
export interface Html {
  readonly html: string;
}

type Part = Html | string | number | undefined | readonly Part[];

/** Fills a template: text is escaped for content and quoted attributes, lists are joined, undefined is omitted. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html => ({
  html: strings.reduce((page, string, i) => page + render(parts[i - 1]) + string),
});

/** Marks text as HTML that needs no escaping: only for text that our own code writes, such as styles. */
export const trusted = (text: string): Html => ({ html: text });

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Escapes text for element content or a quoted attribute. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c]!);

function render(part: Part): string {
  if (part === undefined) return "";
  if (typeof part === "string" || typeof part === "number") return escapeHtml(String(part));
  return "html" in part ? part.html : part.map(render).join("");
}
