/** What data is refused, and what of it passed in silence before. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { holdsAnyOf } from "../../data/filters/caption-checks.ts";
import { openData, type SampleKind } from "../../data/index.ts";
import { SampleStream } from "../../data/sample-stream.ts";
import { findSources } from "../../data/sources/find.ts";
import { conversationOfRecord, openList, pairOfRecord } from "../../data/sources/list-parts.ts";
import { parseSpec } from "../../data/sources/spec.ts";
import { perRow } from "../../dsl/index.ts";
import { temporaryFolder } from "./support.ts";

const options = { language: "und" };

it("refuses a folder without pictures before anything runs", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "classes/cat"), { recursive: true });
  await expect(findSources([join(folder, "classes")], "pairs", options)).rejects.toThrow(
    /classes has no pairs: it contains no images; subfolders are not searched/,
  );
});

it("names the kinds that there are", async () => {
  const folder = temporaryFolder();
  const image = { size: 4, fit: "squash" } as const;
  const open = openData([folder], "pictures" as SampleKind, { batch: 1, seed: 1, image });
  await expect(open).rejects.toThrow(/pairs, conversations, labels, masks, texts, records, got "pictures"/);
});

it("refuses weights that no share can be drawn with", () => {
  expect(() => parseSpec(`${"9".repeat(400)}*x`)).toThrow(/has weight Infinity/);
  expect(parseSpec("1000000*x").weight).toBe(1e6);
});

it("takes no text for one that UTF-8 cannot say", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "pairs.jsonl");
  writeFileSync(
    path,
    '{"image":"a.png","caption":"\\ud800"}\n{"image":"a.png","caption":"\\ud83d\\ude00"}\n{"caption":"x"}\n',
  );
  const list = { images: folder, ...options };
  const pairs = await openList(path, pairOfRecord, list, () => {});
  await expect(pairs.read(0)).rejects.toThrow("an unpaired surrogate");
  expect((await pairs.read(1)).texts).toEqual({ und: ["😀"] });
  await expect(pairs.read(2)).rejects.toThrow('it has no "image"');
  const turns = [{ from: "gpt", value: "\udfff" }];
  expect(() => conversationOfRecord({ conversations: turns }, { ...list, name: "a", index: 0 })).toThrow(
    "an unpaired surrogate",
  );
});

it("feeds no row a number that the device would read as another", () => {
  for (const wrong of [Number.NaN, 0.5, 2 ** 31, Number.POSITIVE_INFINITY, "1" as never, undefined as never])
    expect(() => perRow([0, wrong])).toThrow(/row 1 is .*; expected a 32-bit integer/);
  expect([...perRow([-1, 2 ** 31 - 1]).data]).toEqual([-1, 2 ** 31 - 1]);
});

it("reads no caption that has no end", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "a.png"), "");
  symlinkSync("/dev/zero", join(folder, "a.txt"));
  const [source] = await findSources([folder], "pairs", options);
  const part = await source!.open(0, () => {});
  await expect(part.read(0)).rejects.toThrow(/caption ".*a\.txt" is not a file/);
});

it("says of a checkpoint whose samples are gone that the data has changed", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "a.png"), "");
  const [source] = await findSources([folder], "pairs", options);
  const stream = new SampleStream(source!, 0, { seed: 1, buffer: 1, onSkip: () => {}, note: () => {} });
  for (const ref of [
    [0, 0, 0, 1],
    [0, 0, 1, 0],
  ] as const)
    await expect(stream.again(ref)).rejects.toThrow(
      "changed since the checkpoint was saved: some of its samples are missing",
    );
});

it("takes words of a list as they stand, hyphens and all", () => {
  const holds = holdsAnyOf(["e-mail", "a+b  c", "x|y"]);
  expect(["An E-mail.", "a+b c", "x|y"].map(holds)).toEqual([true, true, true]);
  expect(["email", "aab c", "x", "ee-mail"].map(holds)).toEqual([false, false, false, false]);
});
