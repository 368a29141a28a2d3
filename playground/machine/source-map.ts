/** Maps positions in transpiled code back to the source: version 3 source maps with one source. */
import type { SourceLocation } from "../../compiler/index.ts";

/** A segment: the generated column, then the source line and column, all from 0. */
type Segment = readonly [column: number, line: number, written: number];

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** A function that maps generated positions; positions unknown to the map are unchanged. */
export function mapperOf(mappings: string, file: string): (location: SourceLocation) => SourceLocation {
  const lines = decode(mappings);
  return (location) => {
    const segments = lines[location.line - 1] ?? [];
    const found = segments.findLast(([column]) => column <= location.column - 1) ?? segments[0];
    return found ? { file, line: found[1] + 1, column: found[2] + 1 } : { ...location, file };
  };
}

function decode(mappings: string): Segment[][] {
  let [line, column] = [0, 0];
  return mappings.split(";").map((text) => {
    let made = 0;
    if (text === "") return [];
    return text.split(",").flatMap((segment): Segment[] => {
      const [inMade, source, inLine, inColumn] = numbers(segment);
      made += inMade!;
      if (source === undefined) return [];
      line += inLine!;
      column += inColumn!;
      return [[made, line, column]];
    });
  });
}

/** Base 64 VLQ: five bits per digit, lowest first; the lowest bit of the value is the sign. */
function numbers(text: string): number[] {
  const all: number[] = [];
  let [value, shift] = [0, 0];
  for (const digit of text) {
    const bits = digits.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    all.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return all;
}
