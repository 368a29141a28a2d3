/**
 * A minimal protobuf reader: parses a message into a record by a table of fields, skipping fields not in the table.
 * Bytes stay views of the file. No input makes it allocate more than a constant times the file's length.
 */
import { FileError } from "../../../compiler/index.ts";

type Scalar = "int" | "int?" | "float?" | "text" | "bytes";
type Repeated = "ints" | "floats" | "doubles" | "text*" | "bytes*";
type FieldKind = Scalar | Repeated | MessageSpec | (() => MessageSpec) | readonly [MessageSpec];
/** Fields by number: name and kind. Kinds with ? are omitted from the record if the file lacks them. */
export interface MessageSpec {
  readonly [field: number]: readonly [name: string, kind: FieldKind];
}

/** The record type of a message. */
export type MessageOf<S extends MessageSpec> = {
  readonly [F in FieldOf<S> as F[1] extends Always ? F[0] : never]: Held<F[1]>;
} & { readonly [F in FieldOf<S> as F[1] extends Always ? never : F[0]]?: Held<F[1]> };

type FieldOf<S extends MessageSpec> = Extract<S[keyof S], readonly [string, FieldKind]>;

/** Kinds that default to empty or 0 if the file lacks the field. */
type Always = "int" | "text" | Repeated | readonly [MessageSpec];

type Held<F> = F extends "int" | "int?" | "float?"
  ? number
  : F extends "text"
    ? string
    : F extends "bytes"
      ? Uint8Array
      : F extends "ints" | "floats" | "doubles"
        ? readonly number[]
        : F extends "text*"
          ? readonly string[]
          : F extends "bytes*"
            ? readonly Uint8Array[]
            : F extends readonly [infer S extends MessageSpec]
              ? readonly MessageOf<S>[]
              : F extends MessageSpec
                ? MessageOf<F>
                : unknown; // a spec given by a function is recursive

/** Limit on message nesting; real models nest subgraphs far less. */
const deepest = 32;

/** Parses a message. Throws FileError with the offset of the first invalid byte. */
export const readMessage = (bytes: Uint8Array, spec: MessageSpec, name: string): Record<string, unknown> =>
  message(
    { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0, name },
    spec,
    bytes.length,
    0,
  );

interface Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly name: string;
  at: number;
}

const defaults: Readonly<Record<string, () => unknown>> = {
  int: () => 0,
  text: () => "",
  ints: () => [],
  floats: () => [],
  doubles: () => [],
  "text*": () => [],
  "bytes*": () => [],
};

function message(c: Cursor, spec: MessageSpec, end: number, depth: number): Record<string, unknown> {
  if (depth > deepest) throw wrong(c, `messages are nested more than ${deepest} deep`);
  const made: Record<string, unknown> = {};
  for (const [name, kind] of Object.values(spec)) {
    if (Array.isArray(kind)) made[name] = [];
    else if (typeof kind === "string" && defaults[kind]) made[name] = defaults[kind]();
  }
  while (c.at < end) {
    const tag = varint(c, end);
    const field = Object.hasOwn(spec, tag >>> 3) ? spec[tag >>> 3] : undefined;
    if (field) readField(c, made, field, tag & 7, end, depth);
    else skip(c, tag & 7, end);
  }
  return made;
}

function readField(
  c: Cursor,
  into: Record<string, unknown>,
  [name, kind]: readonly [string, FieldKind],
  wire: number,
  end: number,
  depth: number,
): void {
  if (typeof kind === "string" && kind in numbers) {
    const { read, wire: own, many } = numbers[kind as keyof typeof numbers]!;
    if (wire === own && !many) into[name] = read(c, end);
    else if (wire === own) (into[name] as number[]).push(read(c, end));
    else if (wire === 2 && many) {
      const stop = lengthEnd(c, end);
      while (c.at < stop) (into[name] as number[]).push(read(c, stop));
    } else throw wrong(c, `${name} is written as wire type ${wire}`);
    return;
  }
  if (wire !== 2) throw wrong(c, `${name} is written as wire type ${wire}`);
  const stop = lengthEnd(c, end);
  const value = heldIn(c, kind, stop, depth);
  c.at = stop;
  if (Array.isArray(kind) || kind === "text*" || kind === "bytes*") (into[name] as unknown[]).push(value);
  else into[name] = value;
}

function heldIn(c: Cursor, kind: FieldKind, stop: number, depth: number): unknown {
  if (kind === "text" || kind === "text*") return utf8.decode(c.bytes.subarray(c.at, stop));
  if (kind === "bytes" || kind === "bytes*") return c.bytes.subarray(c.at, stop);
  const spec = typeof kind === "function" ? kind() : Array.isArray(kind) ? kind[0] : kind;
  return message(c, spec as MessageSpec, stop, depth + 1);
}

const utf8 = new TextDecoder();

const numbers = {
  int: { wire: 0, read: varint, many: false },
  "int?": { wire: 0, read: varint, many: false },
  "float?": { wire: 5, read: float, many: false },
  ints: { wire: 0, read: varint, many: true },
  floats: { wire: 5, read: float, many: true },
  doubles: { wire: 1, read: double, many: true },
} as const;

function float(c: Cursor, end: number): number {
  need(c, 4, end);
  return c.view.getFloat32((c.at += 4) - 4, true);
}

function double(c: Cursor, end: number): number {
  need(c, 8, end);
  return c.view.getFloat64((c.at += 8) - 8, true);
}

/** A signed 64-bit integer; beyond 2^53, the nearest double. */
function varint(c: Cursor, end: number): number {
  let [low, high] = [0, 0];
  for (let shift = 0; ; shift += 7) {
    need(c, 1, end);
    if (shift > 63) throw wrong(c, "a number is longer than 64 bits");
    const byte = c.bytes[c.at++]!;
    if (shift < 28) low |= (byte & 127) << shift;
    else if (shift === 28) {
      low |= (byte & 15) << 28;
      high |= (byte & 127) >> 4;
    } else high |= (byte & 127) << (shift - 32);
    if (byte < 128) return high * 2 ** 32 + (low >>> 0);
  }
}

function lengthEnd(c: Cursor, end: number): number {
  const length = varint(c, end);
  if (length < 0) throw wrong(c, "a length is below 0");
  need(c, length, end);
  return c.at + length;
}

function skip(c: Cursor, wire: number, end: number): void {
  if (wire === 0) varint(c, end);
  else if (wire === 1) c.at += 8;
  else if (wire === 2) c.at = lengthEnd(c, end);
  else if (wire === 5) c.at += 4;
  else throw wrong(c, `wire type ${wire} is not used by ONNX`);
  if (c.at > end) throw wrong(c, "the file ends within a field");
}

function need(c: Cursor, bytes: number, end: number): void {
  if (c.at + bytes > end) throw wrong(c, `the file ends ${c.at + bytes - end} bytes too early`);
}

const wrong = (c: Cursor, why: string): FileError =>
  new FileError(`${c.name} is not an ONNX model: at byte ${c.at}, ${why}`);
