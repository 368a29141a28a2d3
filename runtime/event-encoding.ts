/** The bytes of TensorBoard event files: protobuf messages in TFRecord frames. */
import { crc32c } from "@aws-crypto/crc32c";
import protobuf from "protobufjs/minimal.js";

/**
 * A TFRecord: length, its checksum, data, its checksum; little-endian.
 * Source: tensorflow/core/lib/io/record_writer.h.
 */
export function frame(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(record.subarray(0, 8))), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return record;
}

/**
 * Checksums of data that itself contains checksums are masked, so that the two do not cancel.
 * tensorflow/core/lib/hash/crc32c.h.
 */
const masked = (crc: number) => ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;

/** The end of the last complete frame: a killed process may have left part of another after it. */
export function wholeFrames(bytes: Uint8Array): number {
  let at = 0;
  for (let end = frameEnd(bytes, at); end !== undefined; end = frameEnd(bytes, at)) at = end;
  return at;
}

/** Whether a complete frame starts anywhere after `from`: then what stands there is damaged, not cut short. */
export function hasFrameAfter(bytes: Uint8Array, from: number): boolean {
  for (let at = from + 1; at + 16 <= bytes.length; at++) if (frameEnd(bytes, at) !== undefined) return true;
  return false;
}

/** The end of the frame that starts at `at`; undefined if there is no complete one. */
function frameEnd(bytes: Uint8Array, at: number): number | undefined {
  if (at + 16 > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = at + 16 + Number(view.getBigUint64(at, true));
  const isWhole =
    view.getUint32(at + 8, true) === masked(crc32c(bytes.subarray(at, at + 8))) &&
    end <= bytes.length &&
    view.getUint32(end - 4, true) === masked(crc32c(bytes.subarray(at + 12, end - 4)));
  return isWhole ? end : undefined;
}

/** The payload of an event, besides its time and step. */
export type EventContent =
  | { readonly fileVersion: string }
  | { readonly summary: { readonly value: readonly { readonly tag: string; readonly simpleValue: number }[] } }
  | { readonly sessionLog: { readonly status: number } };

/**
 * Encodes an event; `seconds` is the time since 1970. Field numbers are those of tensorflow/core/util/event.proto and
 * framework/summary.proto. Fields are written by hand because protobufjs generates code at run time from a schema,
 * which a page's content security policy may forbid.
 */
export function event(seconds: number, step: number, content: EventContent): Uint8Array {
  const writer = protobuf.Writer.create();
  field(writer, 1, wire.eightBytes).double(seconds);
  if (step !== 0) field(writer, 2, wire.number).int64(step); // proto3 leaves out default values
  if ("fileVersion" in content) field(writer, 3, wire.bytes).string(content.fileVersion);
  if ("summary" in content) {
    field(writer, 5, wire.bytes).fork();
    for (const { tag, simpleValue } of content.summary.value) {
      field(writer, 1, wire.bytes).fork();
      field(writer, 1, wire.bytes).string(tag);
      field(writer, 2, wire.fourBytes).float(simpleValue);
      writer.ldelim();
    }
    writer.ldelim();
  }
  if ("sessionLog" in content) {
    field(writer, 7, wire.bytes).fork();
    field(writer, 1, wire.number).int32(content.sessionLog.status);
    writer.ldelim();
  }
  return writer.finish();
}

/** Protobuf wire types: the low three bits of a field's tag. */
const wire = { number: 0, eightBytes: 1, bytes: 2, fourBytes: 5 } as const;

const field = (writer: protobuf.Writer, id: number, type: number): protobuf.Writer => writer.uint32((id << 3) | type);

/** Scalars (f32) by tag. */
export const summary = (values: Readonly<Record<string, number>>): EventContent => ({
  summary: { value: Object.entries(values).map(([tag, simpleValue]) => ({ tag, simpleValue })) },
});

/** `SessionLog.status` = START. */
export const sessionStart: EventContent = { sessionLog: { status: 1 } };

/** The first event of every file. */
export const fileVersion: EventContent = { fileVersion: "brain.Event:2" };
