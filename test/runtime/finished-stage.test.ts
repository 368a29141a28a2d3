/** A finished stage is what it said of itself, or is refused by name. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { readFinished, writeFinished } from "../../runtime/training/finished-stage.ts";
import type { FinishedStage } from "../../runtime/training/job.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-stage-"));
afterAll(() => rmSync(folder, { recursive: true }));

const kept = { name: "s", steps: 2, seconds: 1.5, loss: { first: 2, last: null }, told: {}, result: { recall: 0.5 } };
const losses = [
  { step: 1, loss: 2 },
  { step: 2, loss: Number.NaN },
];
const write = (file: string, text: string) => writeFileSync(join(folder, file), text);

beforeEach(async () => {
  await writeFinished({ ...kept, folder, losses: [] } satisfies FinishedStage);
  write("metrics.jsonl", '{"step":1,"loss":2}\n{"step":2,"loss":"NaN"}\n');
});

it("reads back as it was written, with the losses of its metrics", async () => {
  expect(await readFinished(folder, "s", 2)).toEqual({ ...kept, folder, losses });
  expect(await readFinished(join(folder, "elsewhere"), "s", 2)).toBeUndefined();
  await expect(readFinished(folder, "s", 3)).rejects.toThrow(UsageError);
});

it.each([
  ["another stage's", { ...kept, name: "t" }],
  ["steps that are none", { ...kept, steps: 1.5 }],
  ["no time", { ...kept, seconds: null }],
  ["no losses", { ...kept, loss: [] }],
  ["a loss that is a text", { ...kept, loss: { first: "2", last: 1 } }],
  ["no result", { ...kept, result: [] }],
])("is refused with %s", async (_, content) => {
  write("stage.json", JSON.stringify(content));
  const reading = readFinished(folder, "s", 2);
  await expect(reading).rejects.toThrow(FileError);
  await expect(reading).rejects.toThrow('stage.json: it does not record the end of stage "s"');
});

it("has no loss of a step that was skipped", async () => {
  write("metrics.jsonl", '{"step":1,"seconds":1}\n{"step":2,"loss":2}\n');
  expect((await readFinished(folder, "s", 2))!.losses).toEqual([{ step: 2, loss: 2 }]);
});

it.each(['{"step":1', '{"step":1,"loss":"low"}', '{"loss":1}', "[]", "null"])(
  "is refused where a line of its metrics is %s",
  async (line) => {
    write("metrics.jsonl", `{"step":1,"loss":2}\n${line}\n`);
    await expect(readFinished(folder, "s", 2)).rejects.toThrow(
      "metrics.jsonl: line 2 is not a record of a step and its",
    );
  },
);
