import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32c } from "@aws-crypto/crc32c";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";

import { openEventLog } from "../../runtime/index.ts";
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

/** The fields of event.proto and summary.proto that are written, by their published numbers. */
const Event = protobuf
  .parse(`
  syntax = "proto3";
  message Event {
    double wall_time = 1; int64 step = 2;
    oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
  }
  message Summary { repeated Value value = 1; message Value { string tag = 1; float simple_value = 2; } }
  message SessionLog { int32 status = 1; }
`)
  .root.lookupType("Event");

/** The events of a file, all checksums checked. */
async function readEvents(path: string): Promise<unknown[]> {
  const bytes = await readFile(path);
  const events: unknown[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(data));
    events.push(Event.toObject(Event.decode(data), { longs: Number }));
    at += 16 + length;
  }
  return events;
}

function masked(data: Uint8Array): number {
  const crc = BigInt(crc32c(data));
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

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
    expect(await readEvents(log.path)).toEqual([
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
    expect((await readEvents(log.path))[1]).toEqual({ wallTime: 1, step: 8, sessionLog: { status: 1 } });
  });
});
