/** The bytes of TensorBoard event files: protobuf messages in TFRecord frames. */
import { crc32c } from "./crc32c.ts";

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

/** A checksum of data that holds checksums is masked, so that it does not cancel them. tensorflow/core/lib/hash/crc32c.h. */
const masked = (crc: number) => ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;

/** The byte after the last whole frame: a process that was killed may have left a part of one behind it. */
export function wholeFrames(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; ; ) {
    if (at + 16 > bytes.length) return at;
    const length = Number(view.getBigUint64(at, true));
    const isWhole =
      view.getUint32(at + 8, true) === masked(crc32c(bytes.subarray(at, at + 8))) &&
      at + 16 + length <= bytes.length &&
      view.getUint32(at + 12 + length, true) === masked(crc32c(bytes.subarray(at + 12, at + 12 + length)));
    if (!isWhole) return at;
    at += 16 + length;
  }
}

// The wire format: protobuf.dev/programming-guides/encoding.
type WireType = 0 | 1 | 2 | 5;
const varintType = 0 satisfies WireType;
const fixed64 = 1 satisfies WireType;
const lengthDelimited = 2 satisfies WireType;
const fixed32 = 5 satisfies WireType;

function field(number: number, type: WireType): Uint8Array {
  return varint(number * 8 + type);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Uint8Array.from([...bytes, value]);
}

function bytesField(number: number, bytes: Uint8Array): Uint8Array {
  return concat(field(number, lengthDelimited), varint(bytes.length), bytes);
}

function textField(number: number, text: string): Uint8Array {
  return bytesField(number, new TextEncoder().encode(text));
}

const float64 = (value: number) => new Uint8Array(Float64Array.of(value).buffer);
const float32 = (value: number) => new Uint8Array(Float32Array.of(value).buffer);

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** `Event` of tensorflow/core/util/event.proto: 1 wall_time (double, seconds), 2 step (int64), then its content. */
export const event = (seconds: number, step: number, content: Uint8Array) =>
  concat(field(1, fixed64), float64(seconds), field(2, varintType), varint(step), content);

/** `Event.summary` (5) with a `Summary.Value` (1) for each scalar: 1 tag, 2 simple_value (float). */
export const summary = (values: Readonly<Record<string, number>>) =>
  bytesField(
    5,
    concat(
      ...Object.entries(values).map(([tag, value]) =>
        bytesField(1, concat(textField(1, tag), field(2, fixed32), float32(value))),
      ),
    ),
  );

/** `Event.session_log` (7) with `SessionLog.status` (1) = START (1). */
export const sessionStart = bytesField(7, concat(field(1, varintType), varint(1)));

/** `Event.file_version` (3), with which every file begins. */
export const fileVersion = textField(3, "brain.Event:2");
