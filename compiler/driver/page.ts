/** One self-contained HTML page that shows each stage before and after, side by side, with changed lines marked. */
import { escapeHtml } from "../diagnostics/html.ts";
import type { StageReport } from "./driver.ts";

/** The page as HTML; it loads no other resources. */
export function inspectionPage(title: string, reports: readonly StageReport[]): string {
  const sections = reports.map(stageSection).join("\n");
  const links = reports.map((r, i) => `<a href="#p${i}">${escapeHtml(r.stage)}${r.changed ? "" : " (unchanged)"}</a>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><h1>${escapeHtml(title)}</h1><nav>${links.join(" ")}</nav>
${sections}
</body></html>
`;
}

const style = `
body { font: 14px system-ui, sans-serif; margin: 1rem; color: #222; background: #fff }
nav a { margin-right: 1rem }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem }
pre { overflow-x: auto; font: 12px/1.5 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; background: #f6f6f4; padding: .5rem; margin: 0 }
.gone { background: #fde2e0; display: block } .new { background: #dff3e0; display: block } .kept { display: block }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } pre { background: #222 } a { color: #9cf }
  .gone { background: #5a2522 } .new { background: #1f4a26 }
}`;

function stageSection({ stage, from, to, before, after, changed, milliseconds }: StageReport, i: number): string {
  const heading = `<h2 id="p${i}">${escapeHtml(stage)} <small>${milliseconds.toFixed(1)} ms</small></h2>`;
  if (!changed) return `${heading}<p>(unchanged)</p>`;
  const [left, right] = [from.print(before).trimEnd().split("\n"), to.print(after).trimEnd().split("\n")];
  return `${heading}<div class="sides">${side(left, right, "gone")}${side(right, left, "new")}</div>`;
}

/** Marks the lines that the other side lacks. Value numbers are ignored, since every pass renumbers them. */
function side(lines: readonly string[], others: readonly string[], mark: string): string {
  const known = new Map<string, number>();
  for (const line of others) known.set(shape(line), (known.get(shape(line)) ?? 0) + 1);
  const marked = lines.map((line) => {
    const left = known.get(shape(line)) ?? 0;
    known.set(shape(line), left - 1);
    return `<span class="${left > 0 ? "kept" : mark}">${escapeHtml(line)}</span>`;
  });
  return `<pre>${marked.join("")}</pre>`;
}

const shape = (line: string): string => line.replace(/%\d+/g, "%").replace(/ +/g, " ");
