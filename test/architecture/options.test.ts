/**
 * Rooms that programs use know no command line: a text of theirs says what to do, and names the option that does it on
 * the command line in brackets, "start a new run (without --resume, or in another folder)".
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sourceFiles } from "./import-graph.ts";

const rooms = ["compiler", "dsl", "backends", "runtime", "data", "models", "api"];
/** Options of other commands than heddle's, what is said to be for the command line, decrements, and a style. */
const others =
  /--(?:mpi=|ignore-scripts|save-dev)|heddle inspect --kernels|on the command line|&& --|--share:|^\s*--|\w--/;

/** Lines with an option in a text, outside of brackets. */
function optionsIn(file: string, source: string): string[] {
  return source.split("\n").flatMap((text, i) => {
    const code = text.replace(/(?:^|\s)\/\/.*$/, "");
    if (/^\s*(?:\*|\/\*)/.test(code) || !/["'`]/.test(code)) return [];
    const open = code.replaceAll(/\([^()]*\)/g, "");
    return /(?:^|[\s"'`])--[a-z][\w-]*/.test(open) && !others.test(open) ? [`${file}:${i + 1}: ${text.trim()}`] : [];
  });
}

describe("options of the command line in texts of the library", () => {
  it("are in brackets, beside what they do", () => {
    const all = rooms.flatMap((room) => sourceFiles(".", room));
    expect(all.flatMap((file) => optionsIn(file, readFileSync(file, "utf8")))).toEqual([]);
  });

  it("are found", () => {
    expect(optionsIn("a.ts", '"start a new run without --resume"')).toHaveLength(1);
    expect(optionsIn("a.ts", "`use --set key=value`")).toHaveLength(1);
    expect(optionsIn("a.ts", '"start a new run (without --resume)"')).toEqual([]);
    expect(optionsIn("a.ts", " * `--resume` continues")).toEqual([]);
  });
});
