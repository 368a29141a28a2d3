/** Output formatting: aligned tables, grouped digits, byte sizes, and plain JSON. */

/** 5,902,793,600 */
export const digits = (n: number): string => Math.round(n).toLocaleString("en-US");

/** 11.8 GB, in powers of ten. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, n < 1000 ? 0 : Math.floor(Math.log10(n) / 3));
  return `${(n / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** 725.9 G, for operation counts. */
export function short(n: number): string {
  const units = ["", " K", " M", " G", " T", " P"];
  const power = Math.min(units.length - 1, n < 1000 ? 0 : Math.floor(Math.log10(n) / 3));
  return `${(n / 1000 ** power).toFixed(power === 0 ? 0 : 1)}${units[power]}`;
}

/** Aligns two columns. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`).join("\n");
}

export const json = (value: unknown): string => JSON.stringify(value, null, 2);

/** Wraps text to at most 80 columns; continuation lines are indented by two more. */
export function wrap(text: string, indent = "", columns = 80): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    const joined = line.trim() === "" ? `${line}${word}` : `${line} ${word}`;
    if (joined.length <= columns || line.trim() === "") line = joined;
    else {
      lines.push(line);
      line = `${indent}  ${word}`;
    }
  }
  return [...lines, line];
}
