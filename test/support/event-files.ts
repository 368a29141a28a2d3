/** Reads TensorBoard event files like TensorBoard, verifying all checksums. */
import { readFileSync } from "node:fs";
import { crc32c } from "@aws-crypto/crc32c";
import protobuf from "protobufjs";

/** The used fields of event.proto and summary.proto, with their published numbers. */
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

export interface StoredEvent {
  readonly wallTime?: number;
  readonly step?: number;
  readonly fileVersion?: string;
  readonly summary?: { readonly value: readonly { readonly tag: string; readonly simpleValue: number }[] };
  readonly sessionLog?: { readonly status: number };
}

/** The events of a file. Throws when it is truncated or a checksum is wrong. */
export function readEvents(path: string): StoredEvent[] {
  const bytes = readFileSync(path);
  const events: StoredEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    requireSum(path, bytes.readUInt32LE(at + 8), bytes.subarray(at, at + 8));
    const data = bytes.subarray(at + 12, at + 12 + length);
    requireSum(path, bytes.readUInt32LE(at + 12 + length), data);
    events.push(Event.toObject(Event.decode(data), { longs: Number }));
    at += 16 + length;
  }
  return events;
}

function requireSum(path: string, stored: number, data: Uint8Array): void {
  const crc = BigInt(crc32c(data));
  const masked = Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
  if (stored !== masked) throw new Error(`a checksum in ${path} is wrong`);
}
