import { describe, expect, it } from "vitest";
import { UsageError } from "../../compiler/index.ts";
import { artists, chanceRecall, emojiSet, imageDataUri, type Report, renderReport } from "../../data/index.ts";

const { emoji, credits } = await emojiSet();
const cat = await imageDataUri(emoji.find(({ id }) => id === "1F431")!.images.noto, 32);
const found = (right: boolean, label = "cat face") => ({ image: cat, label, score: 0.5, right });

const report: Report = {
  title: "Emoji & <friends>",
  lead: "Quotes \" and ' too",
  facts: [{ label: "Device", value: "cpu", note: "no GPU" }],
  loss: [1, 2, 3, 4].map((step) => ({ step, loss: 4 / step })),
  chanceLoss: Math.log(64),
  heldOut: artists.noto.name,
  candidates: 1350,
  recall: [
    { language: "en", textToImage: { r1: 0.1, r5: 0.3, r10: 0.5 }, imageToText: { r1: 0.05, r5: 0.2, r10: 0.25 } },
    { language: "ar", textToImage: { r1: 0.1, r5: 0.3, r10: 0.4 }, imageToText: { r1: 0.05, r5: 0.2, r10: 1 } },
  ],
  chance: chanceRecall(1350),
  queries: [
    { text: "cat face", language: "en", found: [found(true), found(false, "dog")], answer: { image: cat, rank: 1 } },
    { text: "وجه قطة", language: "ar", meaning: "cat face", found: [found(false)], answer: { image: cat, rank: 23 } },
  ],
  credits,
};

describe("renderReport", () => {
  const page = renderReport(report);

  it("is one page with nothing to fetch and no script", () => {
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(page).not.toMatch(/<script|<link|@import|url\(|srcset|<iframe/);
    for (const [, source] of page.matchAll(/src="([^"]*)"/g)) expect(source).toMatch(/^data:image\/png;base64,/);
    for (const [, target] of page.matchAll(/href="([^"]*)"/g)) expect(target).toMatch(/^https:\/\//);
  });

  it("closes every element that it opens", () => {
    const body = page.slice(page.indexOf("<body>"), page.indexOf("</html>"));
    const open: string[] = [];
    for (const [tag, slash, name] of body.matchAll(/<(\/?)([a-z0-9]+)(?:[^>"]|"[^"]*")*>/g)) {
      if (name === "img" || name === "meta" || tag.endsWith("/>")) continue;
      if (slash) expect(open.pop()).toBe(name);
      else open.push(name!);
    }
    expect(open).toEqual([]);
  });

  it("escapes every text", () => {
    expect(page).toContain("<h1>Emoji &amp; &lt;friends&gt;</h1>");
    expect(page).toContain("Quotes &quot; and &#39; too");
    const hostile = '"><script>alert(1)</script>';
    const evil = renderReport({
      ...report,
      heldOut: hostile,
      facts: [{ label: hostile, value: hostile, note: hostile }],
      queries: [{ ...report.queries[0]!, text: hostile, meaning: hostile, found: [found(true, hostile)] }],
      credits: [{ ...credits[0]!, name: hostile, author: hostile, license: hostile, link: `https://x/${hostile}` }],
    });
    expect(evil).not.toContain("<script");
    expect(evil).not.toContain('=""><');
  });

  it("says what was found, beside chance, in each language's own script and direction", () => {
    expect(page).toContain('<p class="big">50.0%</p>');
    expect(page).toContain("Guessing finds 0.74%: this is 67 times as good.");
    expect(page).toContain('<h3 lang="ar">وجه قطة</h3>');
    expect(page).toContain('<header dir="auto">');
    expect(page).toContain('<bdi class="muted" lang="ar">العربية</bdi>');
    expect(page).toContain("100.0%");
    expect(page).toContain("the first 1, 5, or 10 of 1,350 candidates");
  });

  it("marks the right picture, and shows where it came when it is not among the nearest", () => {
    expect(page).toContain('alt="1. cat face, the right one"');
    expect(page).toContain('alt="2. dog"');
    expect(page).toContain('alt="The right one, at place 23"');
    expect(page).toContain("23rd");
    expect(page.match(/class="answer"/g)?.length).toBe(1);
  });

  it("credits every artist with licence and link", () => {
    for (const credit of credits) {
      expect(page).toContain(`<a href="${credit.link}">${credit.name}</a> by ${credit.author}`);
      expect(page).toContain(`<a href="${credit.licenseLink}">${credit.license}</a>`);
    }
  });

  it("draws the loss of a run of any length", () => {
    const curve = (count: number, loss: (i: number) => number) =>
      renderReport({ ...report, loss: Array.from({ length: count }, (_, i) => ({ step: i, loss: loss(i) })) });
    expect(curve(0, () => 1)).toContain("too few steps");
    expect(curve(1, () => 1)).toContain("too few steps");
    expect(curve(50, () => 0)).toContain("The thin line is each step");
    const long = curve(100_000, (i) => (i === 7 ? Number.NaN : 3 + Math.sin(i)));
    expect(long.length).toBeLessThan(page.length + 20_000);
    expect(long).toContain("the mean of every 334 steps");
    expect(long).toContain("1 step had no finite loss");
    for (const text of [curve(2, (i) => i), long, page]) expect(text).not.toMatch(/NaN|Infinity|undefined/);
  });

  it("refuses what would have to be fetched", () => {
    const answer = { image: "cat.png", rank: 9 };
    const linked = { ...report, queries: [{ ...report.queries[1]!, answer }] };
    expect(() => renderReport(linked)).toThrow(UsageError);
    const script = { ...report, credits: [{ ...credits[0]!, link: "javascript:alert(1)" }] };
    expect(() => renderReport(script)).toThrow(/links to https pages only/);
  });
});
