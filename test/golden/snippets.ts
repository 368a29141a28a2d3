/**
 * The programs that documents show: blocks of TypeScript, with the package's names turned into the checkout's files.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const { exports } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
  exports: Record<string, string | { default: string }>;
};

export const readDoc = (name: string): string => readFileSync(new URL(`docs/${name}`, root), "utf8");

/** The blocks of a language, in order. */
export const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((m) => m[1]!);

/** A program as it stands in a document, importing sources by path. */
export const inCheckout = (program: string): string =>
  program.replace(/from "heddle(\/[\w/]+)?"/g, (_, door: string | undefined) => {
    const target = exports[door === undefined ? "." : `.${door}`];
    if (typeof target !== "object") throw new Error(`the package has no door "heddle${door}"`);
    const source = target.default.replace("./dist/", "").replace(/\.js$/, ".ts");
    return `from "${fileURLToPath(new URL(source, root))}"`;
  });
