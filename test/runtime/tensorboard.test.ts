import { appendFile, readdir, readFile } from "node:fs/promises";
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
