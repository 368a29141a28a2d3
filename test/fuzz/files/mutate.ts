/** Corrupts files the way that damage, mistakes and attackers do. The result depends on the seed alone. */
import { type RandomStream, randomStream } from "../../../runtime/index.ts";

/** Draws integers below a bound, one after the other. */
type Draw = (below: number) => number;

function drawing(stream: RandomStream): Draw {
  let next = 0;
  return (below) => stream.integer(next++, below);
}

const oddNumbers = ["-1", "0", "1.5", "2147483648", "9007199254740993", "1e308", "-0", "1e-320", "NaN", "65536"];
const oddTexts = [
  "__proto__",
  "constructor",
  "",
  "../../x",
  "/etc/passwd",
  "\ud800",
  "\u0000",
  "\u001b[2J",
  "a".repeat(5000),
];
const oddValues = [null, true, -1, 0.5, 2 ** 31, 1e300, "", [], {}, [[]], "x", -0];

type Mutation = (bytes: Buffer, draw: Draw) => Buffer;

const range = (bytes: Buffer, draw: Draw): readonly [number, number] => {
  const from = draw(bytes.length + 1);
  return [from, Math.min(bytes.length, from + 1 + draw(draw(4) === 0 ? 512 : 8))];
};

const replaced = (bytes: Buffer, from: number, to: number, by: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, from), by, bytes.subarray(to)]);

const bytewise: readonly Mutation[] = [
  (bytes, draw) => {
    const copy = Buffer.from(bytes);
    for (let n = 1 + draw(4); n > 0 && copy.length > 0; n--) copy[draw(copy.length)]! ^= 1 << draw(8);
    return copy;
  },
  (bytes, draw) => {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[draw(copy.length)] = [0, 0x7f, 0x80, 0xff, 0x22, 0x7b][draw(6)]!;
    return copy;
  },
  (bytes, draw) => bytes.subarray(0, draw(bytes.length + 1)),
  (bytes, draw) => replaced(bytes, ...range(bytes, draw), Buffer.alloc(0)),
  (bytes, draw) => {
    const [from, to] = range(bytes, draw);
    return replaced(bytes, from, from, bytes.subarray(from, to));
  },
  (bytes, draw) => {
    const [from, to] = range(bytes, draw);
    return replaced(bytes, from, to, Buffer.alloc(to - from, [0, 0xff][draw(2)]!));
  },
  (bytes, draw) => replaced(bytes, bytes.length, bytes.length, Buffer.alloc(1 + draw(2000))),
];

/** Mutations of the text in a file, such as its header. */
const textual: readonly Mutation[] = [
  (bytes, draw) => inPlaceOf(bytes, draw, /-?\d+(\.\d+)?/g, oddNumbers[draw(oddNumbers.length)]!),
  (bytes, draw) => inPlaceOf(bytes, draw, /"[^"\n]{0,60}"/g, JSON.stringify(oddTexts[draw(oddTexts.length)]!)),
  (bytes, draw) => inPlaceOf(bytes, draw, /[[\]{}:,=()%]/g, "[]{}:,=()%"[draw(10)]!),
];

function inPlaceOf(bytes: Buffer, draw: Draw, pattern: RegExp, by: string): Buffer {
  const text = bytes.toString("latin1");
  const places = [...text.matchAll(pattern)];
  if (places.length === 0) return bytes;
  const { 0: old, index } = places[draw(places.length)]!;
  return replaced(bytes, index, index + old.length, Buffer.from(by, "utf8"));
}

/** Replaces, removes or deeply nests one value of a JSON document; other files stay as they are. */
function inJson(bytes: Buffer, draw: Draw): Buffer {
  let root: unknown;
  try {
    root = JSON.parse(bytes.toString("utf8"));
  } catch {
    return bytes;
  }
  const holders = holdersOf(root);
  if (holders.length === 0) return bytes;
  const holder = holders[draw(holders.length)]! as Record<string, unknown>;
  const keys = Object.keys(holder);
  const key = keys[draw(keys.length)]!;
  if (draw(4) === 0) delete holder[key];
  else holder[key] = draw(12) === 0 ? nested(200 + draw(20_000)) : oddValues[draw(oddValues.length)];
  try {
    return Buffer.from(JSON.stringify(root));
  } catch {
    return bytes; // nested too deeply for JSON.stringify
  }
}

const nested = (depth: number): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
};

const holdersOf = (value: unknown, depth = 0): object[] =>
  typeof value !== "object" || value === null || depth > 50
    ? []
    : [
        ...(Object.keys(value).length > 0 ? [value] : []),
        ...Object.values(value).flatMap((inner) => holdersOf(inner, depth + 1)),
      ];

/** A file with one to three mutations. */
export function mutated(bytes: Buffer, seed: number): Buffer {
  const draw = drawing(randomStream(seed, "mutate"));
  const kinds = [bytewise, textual, [inJson]];
  let made = bytes;
  for (let n = 1 + draw(3); n > 0; n--) {
    const kind = kinds[draw(kinds.length)]!;
    made = kind[draw(kind.length)]!(made, draw);
  }
  return made;
}
