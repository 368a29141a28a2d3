import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { type MetricsRecord, openMetricsLog } from "../../runtime/index.ts";
import { smallDisk, temporaryFolder } from "./support.ts";

const logPath = async () => join(await temporaryFolder(), "metrics.jsonl");

async function write(path: string, records: readonly MetricsRecord[], resumeAt?: number): Promise<string> {
  const log = await openMetricsLog(path, { resumeAt });
  for (const record of records) await log.append(record);
  await log.dispose();
  return await readFile(path, "utf8");
}

describe("openMetricsLog", () => {
  it("writes a line for each record, readable at once", async () => {
    const path = await logPath();
    const log = await openMetricsLog(path);
    await log.append({ step: 1, loss: 2.5, stage: "warm-up" });
    expect(await readFile(path, "utf8")).toBe('{"step":1,"loss":2.5,"stage":"warm-up"}\n');
    await Promise.all([2, 3, 4].map((step) => log.append({ step, loss: step === 3 ? Number.NaN : -1 / 0 })));
    await log.flush();
    await log.dispose();
    expect((await readFile(path, "utf8")).split("\n").slice(1)).toEqual([
      '{"step":2,"loss":"-Infinity"}',
      '{"step":3,"loss":"NaN"}',
      '{"step":4,"loss":"-Infinity"}',
      "",
    ]);
  });

  it("does not continue a log by accident", async () => {
    const path = await logPath();
    await write(path, [{ step: 1 }]);
    await expect(openMetricsLog(path)).rejects.toThrow(FileError);
    await expect(openMetricsLog(path)).rejects.toThrow(/cannot create .*metrics\.jsonl: it already exists/);
  });

  it("continues after the step resumed at, whatever came later", async () => {
    const lines = (steps: readonly number[]) => steps.map((step) => `{"step":${step}}\n`).join("");
    const property = async (more: number, resumeAt: number, torn: string) => {
      const path = await logPath();
      const count = resumeAt + more;
      const steps = Array.from({ length: count }, (_, i) => i + 1);
      await writeFile(path, lines(steps) + torn);
      const text = await write(path, [{ step: resumeAt + 1 }], resumeAt);
      expect(text).toBe(lines([...steps.filter((step) => step <= resumeAt), resumeAt + 1]));
    };
    const torn = fc.constantFrom("", '{"step":', '{"step":1', "\0\0\0", '{"step":7}', "\0\n\0\0\n");
    await fc.assert(fc.asyncProperty(fc.nat(5), fc.nat(6), torn, property), { numRuns: 30 });
  });

  it("refuses to go on behind lines that are lost", async () => {
    for (const [text, what] of [
      ['{"step":1}\n{"step":2}\n', "it ends with step 2"],
      ['{"step":1}\n{"step":2}\n{"step":3', "it ends with step 2"],
      ['{"step":1}\n{"step"}\n{"step"}\n', "line 2 is not a record with a step"],
      ["\0\n", "line 1 is not a record with a step"],
    ] as const) {
      const path = await logPath();
      await writeFile(path, text);
      const opening = openMetricsLog(path, { resumeAt: 3 });
      await expect(opening).rejects.toThrow(`metrics.jsonl: ${what}, but the run continues after step 3`);
      expect(await readFile(path, "utf8")).toBe(text);
    }
  });

  it("goes on with a log that was begun anew after the step", async () => {
    const path = await logPath();
    await writeFile(path, '{"step":4}\n{"step":5}\n');
    expect(await write(path, [{ step: 4 }], 3)).toBe('{"step":4}\n');
    await writeFile(path, "");
    expect(await write(path, [{ step: 4 }], 3)).toBe('{"step":4}\n');
  });

  it("starts a new file when there is none to resume", async () => {
    expect(await write(await logPath(), [{ step: 8 }], 7)).toBe('{"step":8}\n');
  });

  it("refuses to cut records behind a line that is none", async () => {
    const path = await logPath();
    await writeFile(path, '{"step":1}\nhello\n{"step":3}\n');
    await expect(openMetricsLog(path, { resumeAt: 5 })).rejects.toThrow(/metrics\.jsonl: line 2 is not a record/);
    expect(await readFile(path, "utf8")).toBe('{"step":1}\nhello\n{"step":3}\n');
  });

  it("refuses lines that are doubled or have changed places, whatever is to be cut", async () => {
    for (const steps of [
      [1, 2, 2, 3],
      [2, 1, 3],
      [1, 2, 9, 8],
      [1, 2, 3, 3],
    ]) {
      const path = await logPath();
      const text = steps.map((step) => `{"step":${step}}\n`).join("");
      await writeFile(path, text);
      const at = steps.findIndex((step, i) => i > 0 && step <= steps[i - 1]!);
      await expect(openMetricsLog(path, { resumeAt: 3 })).rejects.toThrow(
        `line ${at + 1} is for step ${steps[at]}, but follows one for step ${steps[at - 1]}`,
      );
      expect(await readFile(path, "utf8")).toBe(text);
    }
  });

  it("overwrites a line that the full disk took in part", async () => {
    const path = await logPath();
    const log = await openMetricsLog(path, { fs: smallDisk(24) });
    await log.append({ step: 1 });
    await expect(log.append({ step: 2, loss: 1.25 })).rejects.toThrow(/cannot write .*no space is left/);
    await expect(log.append({ step: 3 })).rejects.toThrow(FileError);
    await log.dispose();
    expect(await write(path, [{ step: 2 }], 1)).toBe('{"step":1}\n{"step":2}\n');
  });
});
