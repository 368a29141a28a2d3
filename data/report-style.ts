/** How the report looks: paper and ink by day, slate by night, one accent, no fonts to fetch. */
export const reportStyle = `
:root {
  --paper: #fbfaf7; --card: #ffffff; --ink: #23211d; --soft: #6b665c; --line: #e6e1d7; --tile: #ffffff;
  --accent: #1f6f6b; --gold: #9a6220;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --card: #1d2125; --ink: #e9e6df; --soft: #a19c92; --line: #30363b; --tile: #2a2f34;
    --accent: #74c9c0; --gold: #d9a05f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; overflow-x: clip; }
body {
  margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem) 3rem; max-width: 58rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Arabic", "Noto Sans CJK SC", sans-serif;
}
h1, h2, .big { font-family: ui-serif, "Iowan Old Style", Charter, Georgia, "Noto Serif", serif; font-weight: 600; text-wrap: balance; }
h1 { font-size: clamp(1.9rem, 5vw, 2.8rem); line-height: 1.15; letter-spacing: -0.015em; margin: 0 0 0.75rem; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 0.35rem; }
h3 { font-size: 1.2rem; line-height: 1.4; margin: 0; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; }
a { color: var(--accent); text-underline-offset: 0.18em; text-decoration-thickness: 1px; }
section { margin-top: 3.25rem; }
.lead { font-size: 1.15rem; color: var(--soft); max-width: 40em; text-wrap: balance; }
.muted { color: var(--soft); }

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
  margin-top: 2rem; padding: 1.25rem 1.5rem; border: 1px solid var(--line); border-radius: 14px; background: var(--card);
}
.headline p { margin: 0; text-wrap: pretty; }
.headline .muted { display: block; }
.big { font-size: clamp(2.6rem, 8vw, 3.9rem); line-height: 1; color: var(--accent); letter-spacing: -0.03em; }
@media (max-width: 34rem) { .headline { grid-template-columns: 1fr; } }

.queries { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
.query { padding: 1rem 1.1rem 0.9rem; border: 1px solid var(--line); border-radius: 14px; background: var(--card); }
.query header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 1rem; margin-bottom: 0.7rem; }
.query header p { margin: 0; font-size: 0.875rem; color: var(--soft); }
.query ol { display: grid; grid-template-columns: repeat(6, 1fr); gap: 0.45rem; margin: 0; padding: 0; list-style: none; }
.query li { position: relative; text-align: center; }
.query img {
  display: block; width: 100%; height: auto; aspect-ratio: 1; padding: 12%; object-fit: contain;
  background: var(--tile); border: 1px solid var(--line); border-radius: 10px;
}
.score { font-size: 0.8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.right img { border-color: var(--accent); box-shadow: 0 0 0 1.5px var(--accent); }
.right .score { color: var(--accent); font-weight: 600; }
.right::after, .mark {
  display: grid; place-items: center; width: 1.25rem; height: 1.25rem; border-radius: 50%;
  background: var(--accent); color: var(--card); font: 700 0.75rem/1 system-ui, sans-serif;
}
.right::after { content: "✓"; position: absolute; top: -0.45rem; right: -0.45rem; }
.mark { display: inline-grid; vertical-align: -0.15em; }
.answer img { border-style: dashed; border-color: var(--gold); background: none; opacity: 0.9; }
.answer .score { color: var(--gold); }

.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 14px; background: var(--card); }
table { border-collapse: collapse; width: 100%; min-width: 38rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.5rem 0.6rem; text-align: right; vertical-align: baseline; white-space: nowrap; }
tr > :last-child { padding-right: 1.1rem; }
th { font-weight: 600; }
th[scope="row"], thead th:first-child { text-align: left; padding-left: 1.1rem; }
th .muted { font-weight: 400; margin-left: 0.35em; }
thead th { font-size: 0.875rem; color: var(--soft); font-weight: 500; }
thead th[colspan] { text-align: center; padding-bottom: 0; }
tbody tr { border-top: 1px solid var(--line); }
tfoot tr { border-top: 2px solid var(--line); color: var(--soft); }
tfoot th { font-weight: 500; }
td:nth-child(5), th:nth-child(5) { padding-left: 1.4rem; }
.bar { display: block; min-width: 3.6rem; padding-bottom: 0.3rem;
  background: linear-gradient(90deg, var(--accent) var(--share), var(--line) var(--share)) 0 100% / 100% 3px no-repeat; }
tfoot .bar { background: none; }

.chart { margin: 1.25rem 0 0; }
.plot { position: relative; height: clamp(12rem, 32vw, 18rem); margin: 0 0.5rem 2rem 3rem; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot svg * { vector-effect: non-scaling-stroke; fill: none; stroke-linejoin: round; stroke-linecap: round; }
.grid { stroke: var(--line); stroke-width: 1; }
.chance { stroke: var(--gold); stroke-width: 1.5; stroke-dasharray: 2 6; }
.raw { stroke: var(--accent); stroke-width: 1; opacity: 0.35; }
.trend { stroke: var(--accent); stroke-width: 2.5; }
.plot span { position: absolute; font-size: 0.8rem; line-height: 1; color: var(--soft); font-variant-numeric: tabular-nums; }
.plot .level { right: calc(100% + 0.6rem); transform: translateY(-50%); }
.plot .step { top: calc(100% + 0.6rem); transform: translateX(-50%); }
.plot .guess { right: 0; color: var(--gold); transform: translateY(-150%); }
figcaption { font-size: 0.875rem; color: var(--soft); }

.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12rem), 1fr)); gap: 1.1rem 1.75rem; margin: 1rem 0 0; }
.facts dt { font-size: 0.875rem; color: var(--soft); }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.facts small { display: block; font-size: 0.8rem; line-height: 1.4; font-weight: 400; color: var(--soft); }

footer { margin-top: 3.5rem; padding-top: 1.75rem; border-top: 1px solid var(--line); font-size: 0.9rem; color: var(--soft); }
footer h2 { font-size: 1.1rem; color: var(--ink); }
footer ul { margin: 0; padding: 0; list-style: none; }
footer li { margin: 0.3rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
@media print { body { max-width: none; } .query, .scroll, .headline { break-inside: avoid; } }
`;
