/** The form of a golden file: a header of comments, a text, a line of dashes, and what becomes of the text. */
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** `// pass: canonicalize    rule: add-zero`; `refused` is a guard's reason, for a near miss. */
export interface GoldenHeader {
  readonly pass: string;
  readonly rule?: string;
  readonly refused?: string;
}

export interface Golden {
  readonly header: GoldenHeader;
  /** The header as it stands in the file, remarks included. */
  readonly comments: string;
  readonly before: string;
  /** Absent where the pass leaves the graph as it is. */
  readonly after: string | undefined;
}

const divider = "---- becomes\n";
const unchanged = "---- stays\n";

export function readGolden(text: string, name: string): Golden {
  const comments = /^(?:\/\/.*\n)*/.exec(text)![0];
  const entries = [...comments.matchAll(/(?:^\/\/ |\s{2,})([a-z]+): (.*?)(?=\s{2,}[a-z]+: |$)/gm)];
  const header = Object.fromEntries(entries.map(([, key, value]) => [key, value!.trim()]));
  if (header.pass === undefined) throw new Error(`${name} does not say "// pass: ..."`);
  const body = text.slice(comments.length);
  const [before = "", after] = body.split(divider);
  const [first = ""] = before.split(unchanged);
  return { header: header as unknown as GoldenHeader, comments, before: first, after };
}

export const writeGolden = ({ comments, before, after }: Golden): string =>
  `${comments}${before}${after === undefined ? unchanged : divider + after}`;

/** Every file with an ending below a folder, by its path within it. */
export function filesBelow(folder: string, ending: string): { name: string; path: string }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => name.replaceAll("\\", "/"))
    .sort()
    .map((name) => ({ name, path: join(folder, name) }));
}
