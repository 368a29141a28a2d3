/**
 * A JSON parser for untrusted files. Unlike JSON.parse it rejects duplicate keys (JSON.parse silently keeps the last)
 * and deep nesting, and returns objects as maps, so that no key is special.
 */

/** Objects are maps, in the order of the text. */
export type JsonValue = null | boolean | number | string | JsonValue[] | Map<string, JsonValue>;

/** A syntax error in a JSON text, with its position in characters (from 0). */
export class JsonFault extends Error {
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** The position in the text being read. */
interface Cursor {
  readonly text: string;
  at: number;
}

const deepest = 16;

/** Parses a text that is a single JSON value; throws JsonFault. RFC 8259, with duplicate keys rejected. */
export function parseStrictJson(text: string): JsonValue {
  const cursor = { text, at: 0 };
  const value = parseValue(cursor, 0);
  skipSpace(cursor);
  if (cursor.at < text.length) throw new JsonFault("more text after the end of the JSON value", cursor.at);
  return value;
}

function parseValue(cursor: Cursor, depth: number): JsonValue {
  skipSpace(cursor);
  if (depth > deepest) throw new JsonFault(`nested deeper than ${deepest} levels`, cursor.at);
  const next = cursor.text[cursor.at];
  if (next === "{") return parseObject(cursor, depth);
  if (next === "[") return parseArray(cursor, depth);
  if (next === '"') return parseString(cursor);
  return parseLiteral(cursor);
}

function parseObject(cursor: Cursor, depth: number): Map<string, JsonValue> {
  const object = new Map<string, JsonValue>();
  cursor.at++;
  if (accept(cursor, "}")) return object;
  do {
    skipSpace(cursor);
    const at = cursor.at;
    if (cursor.text[at] !== '"') throw new JsonFault("expected a quoted key", at);
    const key = parseString(cursor);
    if (object.has(key)) throw new JsonFault(`duplicate key ${JSON.stringify(key.slice(0, 100))}`, at);
    expect(cursor, ":");
    object.set(key, parseValue(cursor, depth + 1));
  } while (accept(cursor, ","));
  expect(cursor, "}");
  return object;
}

function parseArray(cursor: Cursor, depth: number): JsonValue[] {
  const array: JsonValue[] = [];
  cursor.at++;
  if (accept(cursor, "]")) return array;
  do array.push(parseValue(cursor, depth + 1));
  while (accept(cursor, ","));
  expect(cursor, "]");
  return array;
}

function parseString(cursor: Cursor): string {
  const start = cursor.at;
  let end = start;
  do end = cursor.text.indexOf('"', end + 1);
  while (end > 0 && isEscaped(cursor.text, end));
  if (end < 0) throw new JsonFault("unterminated string", start);
  cursor.at = end + 1;
  return tokenValue(cursor.text.slice(start, end + 1), start) as string;
}

/** Whether the quote at `end` is escaped: preceded by an odd number of backslashes. */
function isEscaped(text: string, end: number): boolean {
  let backslashes = 0;
  while (text[end - 1 - backslashes] === "\\") backslashes++;
  return backslashes % 2 === 1;
}

const literal = /true|false|null|-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,4})?/y;

function parseLiteral(cursor: Cursor): null | boolean | number {
  literal.lastIndex = cursor.at;
  const token = literal.exec(cursor.text)?.[0];
  if (token === undefined) throw new JsonFault("expected a JSON value", cursor.at);
  const value = tokenValue(token, cursor.at) as null | boolean | number;
  cursor.at += token.length;
  return value;
}

/** JSON.parse reads single tokens: it handles escapes, control characters and leading zeros. */
function tokenValue(token: string, at: number): unknown {
  try {
    return JSON.parse(token);
  } catch {
    throw new JsonFault("not valid JSON", at);
  }
}

function skipSpace(cursor: Cursor): void {
  while (cursor.at < cursor.text.length && " \t\n\r".includes(cursor.text[cursor.at]!)) cursor.at++;
}

function accept(cursor: Cursor, character: string): boolean {
  skipSpace(cursor);
  if (cursor.text[cursor.at] !== character) return false;
  cursor.at++;
  return true;
}

function expect(cursor: Cursor, character: string): void {
  if (accept(cursor, character)) return;
  throw new JsonFault(`expected "${character}"`, cursor.at);
}
