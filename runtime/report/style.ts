/** The style of reports: light and dark themes, one accent colour, no web fonts. */

/** System fonts for each script; a browser uses the first available, letter by letter. */
const fonts: Readonly<Record<string, readonly string[]>> = {
  Latin: ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans"],
  Arabic: ["Geeza Pro", "Noto Sans Arabic", "Noto Naskh Arabic"],
  Hebrew: ["Arial Hebrew", "Noto Sans Hebrew"],
  Devanagari: ["Kohinoor Devanagari", "Nirmala UI", "Noto Sans Devanagari"],
  Bengali: ["Kohinoor Bangla", "Noto Sans Bengali"],
  Tamil: ["Tamil Sangam MN", "Noto Sans Tamil"],
  Telugu: ["Kohinoor Telugu", "Noto Sans Telugu"],
  Thai: ["Thonburi", "Leelawadee UI", "Noto Sans Thai"],
  Ethiopic: ["Kefa", "Ebrima", "Noto Sans Ethiopic"],
  Georgian: ["Helvetica", "Sylfaen", "Noto Sans Georgian"],
  Armenian: ["Mshtakan", "Noto Sans Armenian"],
  "Simplified Chinese": ["PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC"],
  "Traditional Chinese": ["PingFang TC", "Microsoft JhengHei", "Noto Sans CJK TC", "Noto Sans TC"],
  Japanese: ["Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", "Noto Sans JP"],
  Korean: ["Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans CJK KR", "Noto Sans KR"],
  Emoji: ["Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji"],
};

/** Languages that share characters but not their shapes: their own fonts come first. */
const ownFonts: Readonly<Record<string, string>> = {
  "zh-Hant": "Traditional Chinese",
  "zh-TW": "Traditional Chinese",
  "zh-HK": "Traditional Chinese",
  zh: "Simplified Chinese",
  ja: "Japanese",
  ko: "Korean",
  ar: "Arabic",
};

/** CSS generic font names are not quoted. */
const name = (font: string) => (/^(?:system-ui|-apple-system)$/.test(font) ? font : `"${font}"`);

const stack = (first?: string): string =>
  [
    ...fonts.Latin!,
    ...(first === undefined ? [] : fonts[first]!),
    ...Object.entries(fonts).flatMap(([script, of]) => (script === "Latin" || script === first ? [] : of)),
  ]
    .map(name)
    .concat("sans-serif")
    .join(", ");

const byLanguage = () =>
  Object.entries(ownFonts)
    .map(([language, script]) => `:lang(${language}) { font-family: ${stack(script)}; }`)
    .reverse() // more specific rules come later
    .join("\n");

/** A function, so that a page that writes no such report does without the text. */
export const reportStyle = (): string => `
:root {
  --paper: #fbfaf7; --card: #ffffff; --ink: #23211d; --soft: #6b665c; --line: #e6e1d7; --tile: #ffffff;
  --accent: #1f6f6b; --gold: #9a6220; --bad: #b3372f;
  --c0: #1f6f6b; --c1: #b0621b; --c2: #4a5fc1; --c3: #a13a78; --c4: #5d7d1e; --c5: #6b665c;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --card: #1d2125; --ink: #e9e6df; --soft: #a19c92; --line: #30363b; --tile: #2a2f34;
    --accent: #74c9c0; --gold: #d9a05f; --bad: #f08a80;
    --c0: #74c9c0; --c1: #e3a45c; --c2: #9db0ff; --c3: #e58fc1; --c4: #b3d16a; --c5: #a19c92;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; overflow-x: clip; }
body {
  margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem) 3rem; max-width: 58rem;
  background: var(--paper); color: var(--ink); font-size: 1rem; line-height: 1.6; font-family: ${stack()};
}
${byLanguage()}
h1, h2, .big { font-weight: 600; text-wrap: balance; }
h1 { font-size: clamp(1.9rem, 5vw, 2.8rem); line-height: 1.15; letter-spacing: -0.015em; margin: 0 0 0.75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 3rem 0 0.5rem; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; line-height: 1.4; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 0.18em; text-decoration-thickness: 1px; }
code { font: 0.9em ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; color: var(--soft); max-width: 40em; }
.muted { color: var(--soft); }
.warning { padding: 0.7rem 1rem; border: 1px solid var(--bad); border-radius: 10px; background: var(--card); }

/* A woven band: warp threads over and under two wefts. */
.weave {
  height: 18px; margin: 0 calc(50% - 50vw) 2.75rem; opacity: 0.85;
  background:
    repeating-linear-gradient(90deg, var(--accent) 0 6px, transparent 6px 24px) 0 0 / 100% 9px no-repeat,
    repeating-linear-gradient(90deg, transparent 0 12px, var(--gold) 12px 18px, transparent 18px 24px) 0 100% / 100% 9px no-repeat,
    linear-gradient(var(--line), var(--line)) 0 4px / 100% 1px no-repeat,
    linear-gradient(var(--line), var(--line)) 0 13px / 100% 1px no-repeat;
}

.headline {
  display: grid; grid-template-columns: auto 1fr; gap: 0.5rem 1.75rem; align-items: center;
  margin: 2rem 0 0; padding: 1.25rem 1.5rem; border: 1px solid var(--line); border-radius: 14px; background: var(--card);
}
.headline p { margin: 0; text-wrap: pretty; }
.headline .muted { display: block; }
.big { font-size: clamp(2.6rem, 8vw, 3.9rem); line-height: 1; color: var(--accent); letter-spacing: -0.03em; }
@media (max-width: 34rem) { .headline { grid-template-columns: 1fr; } }

.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1rem; margin-top: 1rem; }
.card { padding: 1rem 1.1rem; border: 1px solid var(--line); border-radius: 14px; background: var(--card); }
.card ol { display: grid; grid-template-columns: repeat(6, 1fr); gap: 0.45rem; margin: 0.7rem 0 0; padding: 0; list-style: none; }
.card ol.single { grid-template-columns: 6rem; margin-top: 0.35rem; }
.card li { position: relative; text-align: center; min-width: 0; }
.card img {
  display: block; width: 100%; height: auto; aspect-ratio: 1; padding: 8%; object-fit: contain;
  background: var(--tile); border: 1px solid var(--line); border-radius: 10px;
}
.note { display: block; margin: 0 -0.3rem; font-size: 0.8rem; color: var(--soft); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
li.right img { border-color: var(--accent); box-shadow: 0 0 0 1.5px var(--accent); }
li.right .note { color: var(--accent); font-weight: 600; }
li.right::after {
  content: "✓"; position: absolute; top: -0.45rem; right: -0.45rem; display: grid; place-items: center; width: 1.25rem;
  height: 1.25rem; border-radius: 50%; background: var(--accent); color: var(--card); font: 700 0.75rem/1 system-ui, sans-serif;
}
li.wrong img { border-color: var(--bad); }
li.expected img { border-style: dashed; border-color: var(--gold); background: none; opacity: 0.9; }
li.expected .note { color: var(--gold); }
.remarks { margin: 0.6rem 0 0; font-size: 0.95rem; }
.remarks div { display: grid; grid-template-columns: 5.5rem 1fr; gap: 0 0.6rem; padding: 0.2rem 0; }
.remarks dt { color: var(--soft); font-size: 0.875rem; overflow-wrap: anywhere; }
.remarks dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.remarks .right .sign { color: var(--accent); font-weight: 700; }
.remarks .wrong .sign { color: var(--bad); font-weight: 700; }
.remarks .expected dd { color: var(--gold); }

.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 14px; background: var(--card); margin: 0.75rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.5rem 0.7rem; text-align: start; vertical-align: baseline; }
th.figure, td.figure { text-align: right; }
td.figure { white-space: nowrap; }
th.figure { min-width: 4.5rem; text-wrap: balance; }
th[scope="row"] { overflow-wrap: break-word; }
tr > :first-child { padding-left: 1.1rem; }
tr > :last-child { padding-right: 1.1rem; }
th { font-weight: 600; }
thead th { font-size: 0.875rem; color: var(--soft); font-weight: 500; }
tbody tr { border-top: 1px solid var(--line); }
tfoot tr { border-top: 2px solid var(--line); color: var(--soft); }
tfoot th { font-weight: 500; }
.bar { display: block; min-width: 3.6rem; padding-bottom: 0.3rem;
  background: linear-gradient(90deg, var(--accent) var(--share), var(--line) var(--share)) 0 100% / 100% 3px no-repeat; }
tfoot .bar { background: none; }

.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem; }
.charts .plot { height: 9rem; }
.chart { margin: 1.25rem 0 0; min-width: 0; }
.plot { position: relative; height: clamp(12rem, 32vw, 18rem); margin: 0.9rem 0.75rem 2rem 3.6rem; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot svg path { vector-effect: non-scaling-stroke; fill: none; stroke-linejoin: round; stroke-linecap: round; stroke: currentColor; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .level-line { stroke: var(--gold); stroke-width: 1.5; stroke-dasharray: 2 6; }
.plot .lost { stroke: var(--bad); stroke-width: 1; opacity: 0.6; }
.plot .raw { stroke-width: 1; opacity: 0.35; }
.plot svg .range { stroke-width: 0.5; opacity: 0.28; fill: currentColor; }
.plot .trend { stroke-width: 2.25; }
.plot .dashed { stroke-dasharray: 7 6; }
${[0, 1, 2, 3, 4, 5].map((i) => `.c${i} { color: var(--c${i}); }`).join(" ")}
.plot span { position: absolute; font-size: 0.8rem; line-height: 1; color: var(--soft); font-variant-numeric: tabular-nums; white-space: nowrap; }
.plot .level { right: calc(100% + 0.6rem); transform: translateY(-50%); }
.plot .step { top: calc(100% + 0.6rem); transform: translateX(-50%); }
.plot .guess { right: 0; color: var(--gold); transform: translateY(-150%); }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.1rem; margin: 0.3rem 0 0; font-size: 0.875rem; }
.legend span::before { content: ""; display: inline-block; width: 0.9rem; height: 3px; margin-inline-end: 0.4rem; vertical-align: middle; background: currentColor; }
figcaption { font-size: 0.875rem; color: var(--soft); overflow-wrap: anywhere; }
figcaption span { display: block; }

.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: 1.1rem 1.75rem; margin: 1rem 0 0; }
.facts dt { font-size: 0.875rem; color: var(--soft); overflow-wrap: anywhere; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.facts small { display: block; font-size: 0.8rem; line-height: 1.4; font-weight: 400; color: var(--soft); }

ul { padding-inline-start: 1.2rem; }
summary { cursor: pointer; margin: 3rem 0 0.5rem; }
summary h2 { display: inline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
@media (max-width: 34rem) { th, td { padding: 0.5rem 0.35rem; } th.figure { min-width: 3rem; } .bar { min-width: 2.8rem; } }
@media print { body { max-width: none; } .card, .chart, .scroll, .headline { break-inside: avoid; } }
`;
