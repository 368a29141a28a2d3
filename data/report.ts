/** The page a training run leaves behind: one HTML file with everything inside it, to be read and passed on. */
import { type Html, html, trusted, UsageError } from "../compiler/index.ts";
import type { Credit } from "./emoji-artists.ts";
import { type LossPoint, lossChart } from "./loss-chart.ts";
import { reportStyle } from "./report-style.ts";
import type { Recall } from "./retrieval.ts";

/** A line of what was run, such as { label: "Device", value: "cpu", note: "no hardware GPU was found" }. */
export interface Fact {
  readonly label: string;
  readonly value: string;
  readonly note?: string;
}

/** Recall of one language in both directions, in [0, 1]. */
export interface LanguageRecall {
  readonly language: string;
  readonly textToImage: Recall;
  readonly imageToText: Recall;
}

/** A picture that was found: `image` is a data URI, `score` a cosine. */
export interface Found {
  readonly image: string;
  readonly label: string;
  readonly score: number;
  readonly right: boolean;
}

/** A text, the pictures nearest to it, best first, and where the right one came (from 1). */
export interface ReportQuery {
  readonly text: string;
  /** BCP 47; decides the font and reading direction. */
  readonly language: string;
  /** What the text means, for readers who do not know its language. */
  readonly meaning?: string;
  readonly found: readonly Found[];
  readonly answer: { readonly image: string; readonly rank: number };
}

export interface Report {
  readonly title: string;
  /** One or two sentences on what this is. */
  readonly lead: string;
  readonly facts: readonly Fact[];
  readonly loss: readonly LossPoint[];
  /** The loss of guessing: ln(batch) for a contrastive loss. */
  readonly chanceLoss?: number;
  /** Whose pictures were searched; the model never saw them in training. */
  readonly heldOut: string;
  readonly candidates: number;
  readonly recall: readonly LanguageRecall[];
  readonly chance: Recall;
  readonly queries: readonly ReportQuery[];
  readonly credits: readonly Credit[];
}

/**
 * The page as one string: inline style and curve, pictures as data URIs, no script, nothing fetched when it is opened.
 * All texts are escaped. UsageError for a picture that is no data URI or a link that is not https.
 */
export function renderReport(report: Report): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="heddle">
<title>${report.title}</title>
<style>${trusted(reportStyle)}</style>
</head>
<body>
<header>
  <div class="weave" aria-hidden="true"></div>
  <h1>${report.title}</h1>
  <p class="lead">${report.lead}</p>
</header>
<main>
${headline(report)}
${queries(report)}
${recallTable(report)}
<section aria-labelledby="loss">
  <h2 id="loss">How it learned</h2>
  ${lossChart(report.loss, report.chanceLoss)}
</section>
${facts(report.facts)}
</main>
${credits(report.credits)}
</body>
</html>
`;
  return page.html;
}

/** The one number to remember: the first language's share of texts whose picture was among the first ten. */
function headline({ recall, chance, candidates, heldOut }: Report): Html | undefined {
  const [first] = recall;
  const [found, guessed] = [first?.textToImage.r10, chance.r10];
  if (!first || found === undefined || guessed === undefined) return undefined;
  return html`<section class="headline" aria-label="Result">
  <p class="big">${percent(found)}</p>
  <p>of the ${nameOf(first.language)} names found their picture among the first ten of
  ${candidates.toLocaleString("en")}, all drawn by ${heldOut}, whose work was not in training.
  <span class="muted">Guessing finds ${percent(guessed)}: this is ${times(found / guessed)} as good.</span></p>
</section>`;
}

function queries({ queries, heldOut }: Report): Html | undefined {
  if (queries.length === 0) return undefined;
  const missed = queries.some(isMissed);
  return html`<section aria-labelledby="queries">
  <h2 id="queries">What it finds</h2>
  <p class="muted">For each text the nearest pictures by ${heldOut}, best first, with their cosine similarity.
  <span class="mark" aria-hidden="true">✓</span> marks the one that the text names.${missed ? " Where it is not among them, it follows in a dashed frame with its place." : ""}</p>
  <div class="queries">${queries.map(queryCard)}</div>
</section>`;
}

const isMissed = ({ found }: ReportQuery) => !found.some(({ right }) => right);

function queryCard(query: ReportQuery): Html {
  const { text, language, meaning, found, answer } = query;
  return html`
  <article class="query">
    <header dir="auto">
      <h3 lang="${language}">${text}</h3>
      <p dir="ltr">${meaning === undefined ? "" : html`<q>${meaning}</q> · `}${nameOf(language)}</p>
    </header>
    <ol>${found.map((picture, i) => tile(picture, i + 1))}${isMissed(query) ? answerTile(answer) : ""}</ol>
  </article>`;
}

const tile = ({ image, label, score, right }: Found, rank: number): Html => html`
      <li${right ? html` class="right"` : ""}>
        <img src="${dataUri(image)}" alt="${rank}. ${label}${right ? ", the right one" : ""}" title="${label}" width="64" height="64">
        <span class="score">${score.toFixed(2)}</span>
      </li>`;

const answerTile = ({ image, rank }: ReportQuery["answer"]): Html => html`
      <li class="answer">
        <img src="${dataUri(image)}" alt="The right one, at place ${rank}" width="64" height="64">
        <span class="score">${ordinal(rank)}</span>
      </li>`;

function recallTable({ recall, chance, candidates, heldOut }: Report): Html {
  const ks = Object.keys(chance) as (keyof Recall)[];
  const firsts = new Intl.ListFormat("en", { type: "disjunction" }).format(ks.map((k) => k.slice(1)));
  const heads = ks.map((k) => html`<th scope="col" abbr="Recall at ${k.slice(1)}">@${k.slice(1)}</th>`);
  const cells = (values: Recall) => ks.map((k) => cell(values[k]));
  return html`<section aria-labelledby="recall">
  <h2 id="recall">How often it is right</h2>
  <p class="muted">How often the right one is among the first ${firsts} of ${candidates.toLocaleString("en")} candidates,
  all of ${heldOut}. Ties count as wrong.</p>
  <div class="scroll" tabindex="0" role="region" aria-labelledby="recall">
  <table>
    <thead>
      <tr><td></td><th colspan="${ks.length}" scope="colgroup">text to image</th><th colspan="${ks.length}" scope="colgroup">image to text</th></tr>
      <tr><th scope="col">language</th>${heads}${heads}</tr>
    </thead>
    <tbody>${recall.map(
      ({ language, textToImage, imageToText }) => html`
      <tr><th scope="row">${nameOf(language)}${ownName(language)}</th>${cells(textToImage)}${cells(imageToText)}</tr>`,
    )}
    </tbody>
    <tfoot><tr><th scope="row">chance</th>${cells(chance)}${cells(chance)}</tr></tfoot>
  </table>
  </div>
</section>`;
}

const cell = (share: number | undefined): Html =>
  share === undefined
    ? html`<td>–</td>`
    : html`<td><span class="bar" style="--share:${Math.round(share * 1000) / 10}%">${percent(share)}</span></td>`;

const facts = (all: readonly Fact[]): Html => html`<section aria-labelledby="facts">
  <h2 id="facts">What was run</h2>
  <dl class="facts">${all.map(
    ({ label, value, note }) => html`
    <div><dt>${label}</dt><dd>${value}${note === undefined ? "" : html`<small>${note}</small>`}</dd></div>`,
  )}
  </dl>
</section>`;

const credits = (all: readonly Credit[]): Html => html`<footer aria-labelledby="credits">
  <h2 id="credits">With thanks to</h2>
  <ul>${all.map(
    ({ name, author, link, license, licenseLink }) => html`
    <li><a href="${https(link)}">${name}</a> by ${author}, <a href="${https(licenseLink)}">${license}</a></li>`,
  )}
  </ul>
</footer>`;

/** One decimal, and two digits for what is rarer than one in a hundred. */
const percent = (share: number) => {
  const digits =
    share > 0 && share < 0.01
      ? { maximumSignificantDigits: 2 }
      : { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return share.toLocaleString("en", { style: "percent", ...digits });
};

const times = (ratio: number) =>
  `${ratio.toLocaleString("en", { maximumSignificantDigits: ratio >= 10 ? 2 : 1 })} times`;

const endings: Readonly<Record<string, string>> = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinals = new Intl.PluralRules("en", { type: "ordinal" });
const ordinal = (n: number) => `${n.toLocaleString("en")}${endings[ordinals.select(n)]}`;

/** What a language is called in English. */
const nameOf = (language: string) => displayName(language, "en");

/** What a language calls itself, where that differs. */
function ownName(language: string): Html | undefined {
  const own = displayName(language, language);
  return own === nameOf(language) ? undefined : html` <bdi class="muted" lang="${language}">${own}</bdi>`;
}

function displayName(language: string, inLanguage: string): string {
  if (language === "und") return "any language";
  return new Intl.DisplayNames([inLanguage], { type: "language" }).of(language) ?? language;
}

function dataUri(image: string): string {
  if (image.startsWith("data:image/")) return image;
  throw new UsageError(`the report carries its pictures as data URIs; "${image.slice(0, 60)}" is none`);
}

function https(link: string): string {
  if (link.startsWith("https://")) return link;
  throw new UsageError(`the report links to https pages only; "${link.slice(0, 60)}" is none`);
}
