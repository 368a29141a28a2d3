import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import {
  type JobReport,
  type Section,
  writeEnd,
  writeJobReport,
  writeRunReport,
  writeStart,
} from "../../runtime/index.ts";
import { openMetricsLog } from "../../runtime/metrics-log.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-report-"));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
let folder = "";
beforeEach(() => {
  folder = join(root, `run-${count++}`);
  mkdirSync(folder);
  writeFileSync(join(folder, "run.json"), JSON.stringify({ job: "tiny", settings: { rate: 0.01, steps: 8 } }));
});

const pixel = "data:image/png;base64,iVBORw0KGgo=";
const hostile = `"><script>alert('1')</script><img src=x onerror=alert(2)>`;

const about = {
  job: "tiny",
  summary: "learns <little>",
  seed: 7,
  steps: 8,
  facts: [{ label: "Optimizer", value: "lion" }],
};
const start = {
  at: "2026-11-28T17:11:56.000Z",
  command: ["heddle", "train", "my job.ts", "--set", "rate=0.01", "it's"],
  versions: { heddle: "0.1.0", webgpu: null },
  device: "a processor",
  deviceReason: "no GPU was found",
};

const page = async () => readFileSync(await writeRunReport(folder), "utf8");
const log = (lines: readonly object[]) =>
  writeFileSync(join(folder, "metrics.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
const steps = (length: number, of: (step: number) => object) =>
  log(Array.from({ length }, (_, i) => ({ step: i + 1, ...of(i + 1) })));

/** Every element that a page opens is closed, and nothing is fetched or run when it is opened. */
function expectWhole(text: string): void {
  expect(text).toMatch(/^<!doctype html>\n<html lang="en">/);
  expect(text).not.toMatch(/<script|<link|@import|url\(|srcset|<iframe|<img src=x/);
  for (const [, source] of text.matchAll(/src="([^"]*)"/g)) expect(source).toMatch(/^data:image\//);
  for (const [, target] of text.matchAll(/href="([^"]*)"/g)) expect(target).toMatch(/^https:\/\//);
  const open: string[] = [];
  for (const [tag, slash, name] of text
    .slice(text.indexOf("<body>"), text.indexOf("</html>"))
    .matchAll(/<(\/?)([a-z0-9]+)(?:[^>"]|"[^"]*")*>/g)) {
    if (name === "img" || tag.endsWith("/>")) continue;
    if (slash) expect(open.pop()).toBe(name);
    else open.push(name!);
  }
  expect(open).toEqual([]);
  expect(text.slice(text.indexOf("<body>"))).not.toMatch(/NaN|Infinity|undefined|\[object/);
}

/** What a picture of a curve would show: the numbers in its paths. */
const coordinates = (text: string): number[] =>
  [...text.matchAll(/ d="([^"]*)"/g)].flatMap(([, d]) => d!.match(/-?[\d.]+(?:e-?\d+)?/g)!.map(Number));

const every: readonly Section[] = [
  { kind: "headline", value: "28.5%", text: "of the names", aside: "Guessing finds 0.7%." },
  { kind: "heading", text: "What it says" },
  { kind: "paragraph", text: ["plain, ", { text: "عربي", language: "ar" }, { text: "there", link: "https://x.org/" }] },
  { kind: "facts", facts: [{ label: "Held out", value: "Noto", note: "never seen" }] },
  {
    kind: "table",
    head: ["language", "R@1", "n"],
    rows: [
      ["English", { share: 0.1 }, 1350],
      ["other", null, 2],
    ],
    foot: ["chance", { share: 0.00074 }, 1],
    caption: "Recall.",
  },
  {
    kind: "chart",
    title: "accuracy",
    lines: [
      {
        name: "a",
        points: [
          [0, 0.1],
          [1, 0.4],
          [2, null],
          [9, 0.5],
        ],
      },
    ],
    levels: [{ at: 0.5, label: "coin" }],
  },
  {
    kind: "cards",
    cards: [
      {
        title: { text: "猫", language: "zh" },
        pictures: [{ image: pixel, description: "cat", note: "0.51", mark: "right" }],
        remarks: [{ label: "says", text: "a dog", mark: "wrong" }, { text: "a cat" }],
      },
    ],
  },
  { kind: "list", items: [["by ", { text: "someone", link: "https://y.org" }]] },
];

it("names a setting that holds the content of a file by its length", async () => {
  const beside = "x".repeat(5000);
  writeFileSync(join(folder, "run.json"), JSON.stringify({ job: "tiny", settings: { rate: 0.01, beside } }));
  const text = await page();
  expect(text).toContain("5000 characters, in run.json");
  expect(text).not.toContain("xxxx");
});

describe("a run's report", () => {
  it("says what was run, with which settings, and how it ended", async () => {
    await writeStart(folder, about, start);
    await writeEnd(folder, "stopped");
    await writeStart(folder, about, { ...start, command: ["heddle", "train", "--resume"] });
    await writeEnd(folder, "finished");
    steps(8, (step) => ({ loss: 4 / step, rate: 1e-5, seconds: 0.5 }));
    const text = await page();
    expectWhole(text);
    expect(text).toContain(
      "<code>heddle train &#39;my job.ts&#39; --set rate=0.01 &#39;it&#39;\\&#39;&#39;s&#39;</code>",
    );
    expect(text).toContain("<code>heddle train --resume</code>");
    expect(text).toContain("stopped, ");
    expect(text).toContain("Finished, after 8 of 8 steps.");
    expect(text).toContain("learns &lt;little&gt;");
    for (const fact of ["heddle 0.1.0", "a processor", "no GPU was found", "lion", "0.01"])
      expect(text).toContain(fact);
    expect(text).toContain("4 → 0.5, min 0.5, max 4.");
    expect(text).toContain("1e-5 throughout.");
    expect(text).toContain('aria-label="loss: loss from 4 at 1 to 0.5 at 8"');
  });

  it("shows a run that was killed for what it is, from what is there", async () => {
    await writeStart(folder, about, start);
    steps(3, (step) => ({ loss: step }));
    appendFileSync(join(folder, "metrics.jsonl"), '{"step":4,"lo');
    const text = await page();
    expectWhole(text);
    expect(text).toContain("3 of 8 steps when this page was made.");
    expect(text).not.toContain("not records of a step");
  });

  it("shows a run of which nothing but its settings is there", async () => {
    const text = await page();
    expectWhole(text);
    expect(text).toContain("No step was logged.");
    expect(text).toContain("<dt>rate</dt>");
  });

  it("is refused for a folder that holds no run", async () => {
    rmSync(join(folder, "run.json"));
    await expect(page()).rejects.toThrow(FileError);
  });

  it("draws validation beside what is trained", async () => {
    steps(200, (step) => ({
      loss: 4 / step,
      ...(step % 50 === 0 && { "validation/loss": 5 / step, "validation/accuracy": 0.5 }),
    }));
    const text = await page();
    expectWhole(text);
    expect(text.match(/<figure/g)).toHaveLength(2);
    expect(text).toContain('<span class="c1"><bdi>validation/loss</bdi></span>');
    expect(text).toContain("<h3>validation/accuracy</h3>");
  });

  it("shows figures that are not finite, and steps without a figure, as gaps", async () => {
    const metrics = await openMetricsLog(join(folder, "metrics.jsonl"));
    for (let step = 1; step <= 30; step++) {
      const loss = step === 10 ? Number.NaN : step === 11 ? Number.POSITIVE_INFINITY : 2;
      await metrics.append({ step, loss: loss + (step % 2), ...((step < 14 || step > 20) && { gradient_norm: step }) });
    }
    await metrics.dispose();
    const text = await page();
    expectWhole(text);
    expect(text).toContain("2 values were not finite");
    const [, lost] = /<path class="lost" d="([^"]*)"/.exec(text)!;
    expect(lost!.match(/M/g)).toHaveLength(2);
    const [, norm] = /<h3>gradient_norm<\/h3>.*?class="trend c0" d="([^"]*)"/s.exec(text)!;
    expect(norm!.match(/M/g)).toHaveLength(2);
  });

  it.each([
    ["rough", (step: number) => 3 + Math.sin(step)],
    ["smooth", (step: number) => 40 - step / 4000],
  ])("keeps the page of a long run small, with every extreme in it, where the curve is %s", async (_, of) => {
    const spike = 61_803;
    steps(100_000, (step) => ({ loss: step === spike ? 50 : of(step), gradient_norm: step % 7, rate: 1e-4 }));
    const text = await page();
    expectWhole(text);
    expect(text.length).toBeLessThan(90_000);
    expect(text).toContain("max 50.");
    const [, range] = /class="range c0" d="([^"]*)"/.exec(text)!;
    const points = range!.match(/-?[\d.]+ -?[\d.]+/g)!.map((p) => p.split(" ").map(Number));
    const highest = points.reduce((a, b) => (b[1]! < a[1]! ? b : a));
    expect(highest[0]! / 1000).toBeCloseTo(spike / 100_000, 2);
  });

  it("draws whatever numbers there are inside the frame", async () => {
    const series: Record<string, (step: number) => number> = {
      huge: (s) => (s % 2 ? 1.7e308 : -1.7e308),
      tiny: (s) => s * 5e-324,
      close: (s) => 1e9 + s * 1e-7,
      same: () => 3,
      zero: () => 0,
      negative: (s) => -s,
      outlier: (s) => (s === 3 ? 1e6 : 0.5),
      below: (s) => 10 ** -s,
    };
    steps(60, (step) => Object.fromEntries(Object.entries(series).map(([name, of]) => [name, of(step)])));
    const text = await page();
    expectWhole(text);
    expect(text.match(/<figure/g)).toHaveLength(Object.keys(series).length);
    for (const value of coordinates(text)) expect(value >= 0 && value <= 1000).toBe(true);
  });

  it("says which lines are no records, and stops at too many figures", async () => {
    log([{ step: 1, loss: 1 }, { step: "x" }, { loss: 2 }, { step: -1 }, { step: 1e300 }, { step: 2, loss: 2 }]);
    appendFileSync(
      join(folder, "metrics.jsonl"),
      `\u0000\n[1]\nnull\n${JSON.stringify({ step: 2 ** 53 - 1, loss: 1 })}\n`,
    );
    appendFileSync(
      join(folder, "metrics.jsonl"),
      `${JSON.stringify({ step: 3, ["__proto__"]: 1, text: "no figure", ...Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m${i}`, i])) })}\n`,
    );
    const text = await page();
    expectWhole(text);
    expect(text).toContain("7 lines of metrics.jsonl are not records of a step.");
    expect(text).toMatch(/3[78] more metrics are not plotted\./);
  });

  it("escapes every text of every file", async () => {
    await writeStart(
      folder,
      { ...about, job: hostile, summary: hostile, facts: [{ label: hostile, value: hostile, note: hostile }] },
      {
        ...start,
        at: hostile,
        command: [hostile],
        versions: { [hostile]: hostile },
        device: hostile,
        deviceReason: hostile,
      },
    );
    await writeEnd(folder, hostile);
    writeFileSync(join(folder, "run.json"), JSON.stringify({ settings: { [hostile]: hostile } }));
    writeFileSync(join(folder, "sources.json"), JSON.stringify([{ path: hostile, fingerprint: hostile }]));
    writeFileSync(
      join(folder, "summary.json"),
      JSON.stringify({ [hostile]: { [hostile]: hostile }, skipped: { [hostile]: 3 } }),
    );
    steps(3, (step) => ({ [hostile]: step, [`validation/${hostile}`]: step }));
    const text = await page();
    expectWhole(text);
    expect(text).toContain("Samples that were skipped");
  });

  it("counts the samples that were skipped, by reason", async () => {
    const skipped = { "no caption": 1200, "broken picture": { count: 3, example: "a/<b>.jpg" } };
    writeFileSync(
      join(folder, "summary.json"),
      JSON.stringify({ skipped, deep: { a: { b: { c: { d: { e: { f: { g: { h: {} } } } } } } } } }),
    );
    const text = await page();
    expectWhole(text);
    expect(text).toContain("1,200");
    expect(text).toContain("a/&lt;b&gt;.jpg");
    expect(text).not.toContain('<th scope="row"><span dir="auto">skipped');
  });

  it("tells of files that are damaged, and shows the rest", async () => {
    for (const name of ["run.json", "about.json", "summary.json", "sources.json", "report.json"])
      writeFileSync(join(folder, name), "{");
    steps(3, (step) => ({ loss: step }));
    const text = await page();
    expectWhole(text);
    for (const name of ["run.json", "about.json", "summary.json", "sources.json", "report.json"])
      expect(text).toContain(`<p class="warning">${name} cannot be shown: `);
    for (const name of ["about.json", "summary.json", "report.json"]) writeFileSync(join(folder, name), '["else"]');
    expect((await page()).match(/cannot be shown/g)).toHaveLength(5);
  });

  it("holds the figures of stages within the run, in their order", async () => {
    for (const stage of ["stage-10", "stage-2"]) {
      mkdirSync(join(folder, stage));
      writeFileSync(join(folder, stage, "metrics.jsonl"), '{"step":1,"loss":2}\n');
    }
    const text = await page();
    expectWhole(text);
    expect(text.indexOf("How it learned: stage-2")).toBeGreaterThan(0);
    expect(text.indexOf("How it learned: stage-10")).toBeGreaterThan(text.indexOf("How it learned: stage-2"));
  });
});

describe("what a job adds", () => {
  const chartOf = (points: readonly (readonly [number, number])[]): Section => ({
    kind: "chart",
    title: "",
    lines: [{ name: "", points }],
  });
  const report: JobReport = {
    title: "Cats & dogs",
    lead: "of two",
    sections: every,
    levels: { loss: [{ at: 2.5, label: "guessing" }] },
  };

  it("comes before the curves, and marks in them what they are compared with", async () => {
    await writeJobReport(folder, { ...report, closing: [{ kind: "paragraph", text: "Thanks." }] });
    steps(4, (step) => ({ loss: step }));
    const text = await page();
    expectWhole(text);
    expect(text).toContain('<h1 dir="auto">Cats &amp; dogs</h1>');
    expect(text.indexOf("What it says")).toBeLessThan(text.indexOf("How it learned"));
    expect(text).toContain(">guessing</span>");
    expect(text).toContain('<bdi lang="ar">عربي</bdi>');
    expect(text).toContain('<h3 dir="auto"><span lang="zh">猫</span></h3>');
    expect(text).toContain('alt="cat, right"');
    expect(text).toContain('aria-label="wrong"');
    expect(text).toContain("0.074%");
    expect(text).toMatch(/<footer>.*Thanks\./s);
  });

  it("has all its texts escaped", async () => {
    const words = { text: hostile, language: hostile, link: `https://x.org/${hostile}` };
    await writeJobReport(folder, {
      title: hostile,
      lead: hostile,
      sections: [
        { kind: "headline", value: hostile, text: words, aside: words },
        { kind: "heading", text: words },
        { kind: "paragraph", text: [hostile, words] },
        { kind: "facts", facts: [{ label: hostile, value: words, note: words }] },
        { kind: "table", head: [words, hostile], rows: [[words, hostile]], foot: [hostile, words], caption: words },
        {
          kind: "chart",
          title: hostile,
          lines: [
            {
              name: hostile,
              points: [
                [0, 1],
                [1, 2],
              ],
            },
            { name: hostile, points: [[0, 1]] },
          ],
          levels: [{ at: 1, label: hostile }],
          caption: words,
        },
        {
          kind: "cards",
          cards: [
            {
              title: words,
              pictures: [{ image: `${pixel}${hostile}`, description: hostile, note: hostile, mark: "expected" }],
              remarks: [{ label: hostile, text: words }],
            },
          ],
        },
        { kind: "list", items: [words] },
      ],
    });
    const text = await page();
    expectWhole(text);
  });

  it("is refused where a page could not show it", async () => {
    const card = (image: string): JobReport => ({
      sections: [{ kind: "cards", cards: [{ pictures: [{ image, description: "x" }] }] }],
    });
    for (const image of ["cat.png", "https://x.org/cat.png", "data:text/html,<b>"])
      await expect(writeJobReport(folder, card(image))).rejects.toThrow(UsageError);
    const linked = (link: string): JobReport => ({ sections: [{ kind: "paragraph", text: { text: "x", link } }] });
    for (const link of ["javascript:alert(1)", "http://x.org", "HTTPS://x", "//x"])
      await expect(writeJobReport(folder, linked(link))).rejects.toThrow(/links in a report must be https URLs/);
    for (const section of [
      { kind: "script" },
      { kind: "constructor" },
      { kind: "heading" },
      chartOf([
        [-1.7e308, 1],
        [1.7e308, 1],
      ]),
      chartOf([
        [1, 1.7e308],
        [2, -1.7e308],
      ]),
      { kind: "table", head: ["a"], rows: [[Number.NaN, {}]] },
    ])
      await expect(writeJobReport(folder, { sections: [section as unknown as Section] })).rejects.toThrow(UsageError);
  });
});
