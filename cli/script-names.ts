/** File names of programs, which export models and jobs. */
import { extname } from "node:path";

export const scripts: readonly string[] = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

/** Whether a source has a program's file name. */
export const isScript = (source: string): boolean => scripts.includes(extname(source));
