/** Cuts a JSON array into its elements while reading, without holding the file. */
import { createReadStream } from "node:fs";
import { FileError } from "../compiler/index.ts";
import type { OnSkip } from "./files.ts";

/** No conversation is this long: a quote is missing, and everything after it looks like one string. */
const maxElementBytes = 64 * 2 ** 20;
const chunkBytes = 2 ** 18;

/** One element: its text, unparsed, and the bytes of the file that hold it (with the white space around it). */
export interface JsonElement {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Each element of the file's top-level array, unparsed: a malformed element costs only itself.
 * Works on bytes, since the bytes that structure JSON never occur inside a UTF-8 character.
 * What cannot be cut (a file that ends too early, text after the array) goes to `onSkip` once.
 * FileError when the file does not begin an array.
 */
export async function* jsonElements(file: string, onSkip: OnSkip): AsyncGenerator<JsonElement, void, undefined> {
  const scan = scanner();
  let held: Buffer[] = [];
  let elements = 0;
  let read = 0; // bytes before this chunk
  let begun = 0; // where the element under way begins
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let i = 0; i < chunk.length; i += 1) {
      const found = scan(chunk[i]!);
      if (found === undefined) continue;
      if (found === "no array") throw new FileError(`instruction file "${file}" is not a JSON array`);
      if (found === "trailing") return onSkip({ name: file, reason: "text follows its array and is not read" });
      held.push(chunk.subarray(start, i));
      start = i + 1;
      const element = found === "open" ? "" : Buffer.concat(held).toString("utf8").trim();
      held = [];
      const [from, to] = [begun, read + i];
      begun = to + 1;
      if (element === "") continue;
      elements += 1;
      yield { text: element, start: from, end: to };
    }
    held.push(chunk.subarray(start));
    read += chunk.length;
    if (held.length * chunkBytes > maxElementBytes) break;
  }
  const end = scan(endOfFile);
  if (end === "no array") throw new FileError(`instruction file "${file}" is empty`);
  if (end === "cut") onSkip({ name: file, reason: `it ends, or never closes a quote, after ${elements} elements` });
}

const endOfFile = -1;

/** What a byte completes: the opening bracket, an element, or the proof that no array is left to read. */
type Found = "open" | "element" | "no array" | "trailing" | "cut" | undefined;

const code = (character: string) => character.charCodeAt(0);
const [quote, backslash, comma] = [code('"'), code("\\"), code(",")] as const;
const [openArray, closeArray, openRecord, closeRecord] = [code("["), code("]"), code("{"), code("}")] as const;
const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const isByteOrderMark = (byte: number) => byte === 0xef || byte === 0xbb || byte === 0xbf;

/** A state machine over bytes: outside the array, inside it at some depth, inside a string. */
function scanner(): (byte: number) => Found {
  let place: "before" | "inside" | "after" = "before";
  let depth = 0;
  let inString = false;
  let escaped = false;

  const before = (byte: number): Found => {
    if (byte !== openArray) return isSpace(byte) || isByteOrderMark(byte) ? undefined : "no array";
    place = "inside";
    return "open";
  };
  const inText = (byte: number): Found => {
    if (escaped) escaped = false;
    else if (byte === backslash) escaped = true;
    else if (byte === quote) inString = false;
    return undefined;
  };
  const inside = (byte: number): Found => {
    if (byte === endOfFile) return "cut";
    if (inString) return inText(byte);
    if (byte === quote) inString = true;
    else if (byte === openArray || byte === openRecord) depth += 1;
    else if (depth > 0 && (byte === closeArray || byte === closeRecord)) depth -= 1;
    else if (depth === 0 && byte === comma) return "element";
    else if (depth === 0 && byte === closeArray) {
      place = "after";
      return "element";
    }
    return undefined;
  };
  const after = (byte: number): Found => (byte === endOfFile || isSpace(byte) ? undefined : "trailing");

  return (byte) => (place === "before" ? before(byte) : place === "inside" ? inside(byte) : after(byte));
}
