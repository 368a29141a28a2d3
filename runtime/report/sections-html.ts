/** Sections as HTML: all text escaped, with its own direction; images inlined; https links only. */
import { type Html, html, trusted, UsageError } from "../../compiler/index.ts";
import { curveChart, number } from "./chart.ts";
import { curveOf } from "./curve.ts";
import type {
  Card,
  Cards,
  Cell,
  Chart,
  Fact,
  Headline,
  List,
  Mark,
  Picture,
  Remark,
  Section,
  Table,
  Text,
  Words,
} from "./section.ts";

/** Throws UsageError for an image that is not a data URI or a link that is not https. */
export const sectionsHtml = (sections: readonly Section[]): Html => html`${sections.map(sectionHtml)}`;

const renderers: { readonly [K in Section["kind"]]: (section: Extract<Section, { kind: K }>) => Html } = {
  heading: ({ text }) => html`
<h2 dir="auto">${inline(text)}</h2>`,
  paragraph: ({ text }) => html`
<p dir="auto">${inline(text)}</p>`,
  headline,
  facts: ({ facts }) => factsHtml(facts),
  table,
  chart,
  cards,
  list,
};

const sectionHtml = (section: Section): Html => (renderers[section.kind] as (section: Section) => Html)(section);

export const factsHtml = (facts: readonly Fact[]): Html => html`
<dl class="facts">${facts.map(
  ({ label, value, note }) => html`
  <div><dt>${label}</dt><dd dir="auto">${inline(value)}${note === undefined ? "" : html`<small dir="auto">${inline(note)}</small>`}</dd></div>`,
)}
</dl>`;

/**
 * Inline text, each part in its language. A single part determines the direction of its container (dir="auto" does not
 * look into a bdi); several parts each have their own.
 */
export function inline(text: Text): Html {
  if (Array.isArray(text)) return html`${text.map((part) => wordsHtml(part, "bdi"))}`;
  return wordsHtml(text as string | Words, "span");
}

function wordsHtml(words: string | Words, tag: "bdi" | "span"): Html {
  if (typeof words === "string") return html`${words}`;
  const { text, language, link } = words;
  const lang = language === undefined ? undefined : html` lang="${language}"`;
  const content = html`<${trusted(tag)}${lang}>${text}</${trusted(tag)}>`;
  return link === undefined ? content : html`<a href="${https(link)}">${content}</a>`;
}

function headline({ value, text, aside }: Headline): Html {
  return html`
<section class="headline" aria-label="Result">
  <p class="big">${value}</p>
  <p dir="auto">${inline(text)}${aside === undefined ? "" : html` <span class="muted">${inline(aside)}</span>`}</p>
</section>`;
}

function table({ head, rows, foot, caption }: Table): Html {
  const columns = head.map((_, i) =>
    [...rows, ...(foot ? [foot] : [])].some((row) => isFigure(row[i])) ? "figure" : "words",
  );
  const row = (cells: readonly Cell[]): Html => html`
    <tr>${cells.map((cell, i) => (i === 0 ? html`<th scope="row">${content(cell)}</th>` : html`<td class="${columns[i] ?? "words"}">${content(cell)}</td>`))}</tr>`;
  return html`
${caption === undefined ? undefined : html`<p class="muted" dir="auto">${inline(caption)}</p>`}
<div class="scroll" tabindex="0" role="region" aria-label="Table">
<table>
  <thead>
    <tr>${head.map((text, i) => html`<th scope="col" class="${columns[i]!}" dir="auto">${inline(text)}</th>`)}</tr>
  </thead>
  <tbody>${rows.map(row)}
  </tbody>${
    foot
      ? html`
  <tfoot>${row(foot)}
  </tfoot>`
      : undefined
  }
</table>
</div>`;
}

const isFigure = (cell: Cell | undefined): boolean =>
  typeof cell === "number" || (typeof cell === "object" && cell !== null && "share" in cell);

function content(cell: Cell): Html {
  if (cell === null) return html`–`;
  if (typeof cell === "number") return html`${number(cell)}`;
  if (typeof cell === "object" && "share" in cell) {
    const width = Math.round(Math.min(1, Math.max(0, cell.share)) * 1000) / 10;
    return html`<span class="bar" style="--share:${width}%">${percent(cell.share)}</span>`;
  }
  return html`<span dir="auto">${inline(cell)}</span>`;
}

/** One decimal, or two significant digits below one percent. */
export const percent = (share: number): string => {
  const digits =
    share > 0 && share < 0.01
      ? { maximumSignificantDigits: 2 }
      : { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return share.toLocaleString("en", { style: "percent", ...digits });
};

function chart({ title, lines, levels = [], caption }: Chart): Html {
  return curveChart({
    title,
    curves: lines.map(({ name, points }) => ({ name, curve: curveOf(points) })),
    levels,
    caption: caption === undefined ? undefined : inline(caption),
  });
}

function cards({ cards }: Cards): Html {
  return html`
<div class="cards">${cards.map(card)}
</div>`;
}

function card({ title, pictures = [], remarks = [] }: Card): Html {
  return html`
  <article class="card">
    ${title === undefined ? undefined : html`<h3 dir="auto">${inline(title)}</h3>`}
    ${pictures.length === 0 ? undefined : html`<ol${pictures.length === 1 ? html` class="single"` : undefined}>${pictures.map(tile)}</ol>`}
    ${remarks.length === 0 ? undefined : html`<dl class="remarks">${remarks.map(remark)}</dl>`}
  </article>`;
}

/** How a mark is conveyed to screen readers. */
const marks: Readonly<Record<Mark, { readonly sign: string; readonly words: string }>> = {
  right: { sign: "✓", words: "right" },
  wrong: { sign: "✗", words: "wrong" },
  expected: { sign: "", words: "the right one" },
};

const tile = ({ image, description, note, mark }: Picture): Html => html`
      <li${mark === undefined ? undefined : html` class="${mark}"`}>
        <img src="${dataUri(image)}" alt="${description}${mark === undefined ? "" : `, ${marks[mark].words}`}" title="${description}" width="64" height="64">
        ${note === undefined ? undefined : html`<span class="note" dir="auto">${note}</span>`}
      </li>`;

const remark = ({ label, text, mark }: Remark): Html => html`
      <div${mark === undefined ? undefined : html` class="${mark}"`}>${label === undefined ? html`<dt></dt>` : html`<dt>${label}</dt>`}<dd dir="auto">${inline(text)}${
        mark === undefined
          ? undefined
          : html` <span class="sign" role="img" aria-label="${marks[mark].words}">${marks[mark].sign}</span>`
      }</dd></div>`;

function list({ items }: List): Html {
  return html`
<ul>${items.map(
    (item) => html`
  <li dir="auto">${inline(item)}</li>`,
  )}
</ul>`;
}

function dataUri(image: string): string {
  if (/^data:image\/[\w.+-]+[;,]/.test(image)) return image;
  throw new UsageError(`images in a report must be data URIs, got "${image.slice(0, 60)}"`);
}

function https(link: string): string {
  if (link.startsWith("https://")) return link;
  throw new UsageError(`links in a report must be https URLs, got "${link.slice(0, 60)}"`);
}
