import { appendFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32c } from "@aws-crypto/crc32c";
import { describe, expect, it } from "vitest";
import { openEventLog } from "../../runtime/index.ts";
import { readEvents } from "../support/event-files.ts";
import { temporaryFolder } from "./support.ts";

describe("crc32c", () => {
  // RFC 3720, appendix B.4.
  it.each([
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["ascending bytes", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ["descending bytes", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ["the check string", new TextEncoder().encode("123456789"), 0xe3069283],
  ])("gives the published sum of %s", (_, bytes, sum) => {
    expect(crc32c(bytes)).toBe(sum);
  });
});

describe("openEventLog", () => {
  it("writes a version, then scalars", async () => {
    const folder = join(await temporaryFolder(), "tensorboard");
    const log = await openEventLog(folder, { now: () => 1_700_000_000_500 });
    await log.scalars(1, { "train/loss": 2.5, größe: -0.5 });
    await log.scalars(2 ** 40, { "train/loss": 0.25 });
    await log.flush();
    await log.dispose();
    expect(await readdir(folder)).toEqual(["events.out.tfevents.1700000000.heddle.0"]);
    const wallTime = 1_700_000_000.5;
    expect(readEvents(log.path)).toEqual([
      { wallTime, fileVersion: "brain.Event:2" },
      { wallTime, step: 1, summary: { value: [scalar("train/loss", 2.5), scalar("größe", -0.5)] } },
      { wallTime, step: 2 ** 40, summary: { value: [scalar("train/loss", 0.25)] } },
    ]);
  });

  const scalar = (tag: string, simpleValue: number) => ({ tag, simpleValue });

  it("starts a second file when resumed, which hides later steps of the first", async () => {
    const folder = await temporaryFolder();
    const options = { now: () => 1000 };
    await (await openEventLog(folder, options)).dispose();
    const log = await openEventLog(folder, { ...options, resumeAt: 7 });
    await log.dispose();
    expect(log.path).toMatch(/events\.out\.tfevents\.0000000001\.heddle\.1$/);
    expect(readEvents(log.path)[1]).toEqual({ wallTime: 1, step: 8, sessionLog: { status: 1 } });
  });

  it("starts a file that is read after the others, even if the clock was set back", async () => {
    const folder = await temporaryFolder();
    for (const now of [5_000_000, 3_000_000, 4_000_000])
      await (await openEventLog(folder, { now: () => now, ...(now < 5_000_000 && { resumeAt: 1 }) })).dispose();
    expect((await readdir(folder)).sort().map((name) => name.slice("events.out.tfevents.".length))).toEqual([
      "0000005000.heddle.0",
      "0000005001.heddle.0",
      "0000005002.heddle.0",
    ]);
  });

  it("leaves a file that is damaged before its end as it is, and says so", async () => {
    const folder = await temporaryFolder();
    const log = await openEventLog(folder, { now: () => 1000 });
    for (const step of [1, 2, 3]) await log.scalars(step, { loss: 1 });
    await log.dispose();
    const bytes = await readFile(log.path);
    bytes[60]! ^= 1;
    await writeFile(log.path, bytes);
    const notes: string[] = [];
    await (await openEventLog(folder, { now: () => 2000, resumeAt: 3, note: (text) => notes.push(text) })).dispose();
    expect(notes).toEqual([expect.stringMatching(/heddle\.0" is damaged at byte \d+: TensorBoard may not show/)]);
    expect(await readFile(log.path)).toEqual(bytes);
  });

  it.each([1, 11, 12, 13, 30])(
    "cuts off %i bytes that a killed process left of a record, and no others",
    async (torn) => {
      const folder = await temporaryFolder();
      const first = await openEventLog(folder, { now: () => 1000 });
      await first.scalars(1, { loss: 1 });
      await first.dispose();
      const whole = readEvents(first.path);
      const other = await openEventLog(folder, { now: () => 2000 });
      await other.dispose();
      const record = await readFile(first.path);
      await appendFile(first.path, record.subarray(0, torn));
      await (await openEventLog(folder, { now: () => 3000, resumeAt: 1 })).dispose();
      expect(readEvents(first.path)).toEqual(whole);
      expect(readEvents(other.path)).toHaveLength(1);
    },
  );
});
