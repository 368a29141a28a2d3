/** Splits a JSON array into its elements while streaming the file. */
import { createReadStream } from "node:fs";
import { FileError } from "../compiler/index.ts";
import type { OnSkip } from "./files.ts";

/** No conversation is this long: a closing quote must be missing, so that everything after looks like one string. */
const maxElementBytes = 64 * 2 ** 20;
const chunkBytes = 2 ** 18;

/** An element: its unparsed text, and its byte range in the file (including surrounding white space). */
export interface JsonElement {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Yields the elements of the file's top-level array, unparsed, so that a malformed element loses only itself.
 * Works on bytes, since JSON's structural characters never occur inside a multi-byte UTF-8 character.
 * What cannot be split (a file that ends too early, text after the array) is reported to `onSkip` once.
 * FileError when the file does not begin with an array.
 */
export async function* jsonElements(file: string, onSkip: OnSkip): AsyncGenerator<JsonElement, void, undefined> {
  const scan = scanner();
  let held: Buffer[] = [];
  let elements = 0;
  let read = 0; // bytes before this chunk
  let begun = 0; // where the current element begins
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let i = 0; i < chunk.length; i += 1) {
      const found = scan(chunk[i]!);
      if (found === undefined) continue;
      if (found === "no array")
        throw new FileError(`list "${file}" is not a JSON array; if it has a record per line, name it .jsonl`);
      if (found === "trailing") return onSkip({ name: file, reason: "text after its array is ignored" });
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
  if (end === "no array") throw new FileError(`list "${file}" is empty`);
  if (end === "cut")
    onSkip({
      name: file,
      reason: `it is cut off, or has an unclosed quote, after ${elements} ${elements === 1 ? "element" : "elements"}`,
    });
}

const endOfFile = -1;

/** What a byte completes: the opening bracket, an element, or the detection that nothing more can be read. */
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
