/** What the files of programs are called, which export models and jobs. */
import { extname } from "node:path";

export const scripts: readonly string[] = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

/** Whether a source is called as a file of a program is. */
export const isScript = (source: string): boolean => scripts.includes(extname(source));
