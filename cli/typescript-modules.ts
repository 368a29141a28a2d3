/** TypeScript files with `import` and `export` are modules, whatever the nearest package.json says of files called .js. */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

let registered = false;

/**
 * From here on, .ts files load as modules where they are written as such, also in a project whose package.json says
 * "type": "commonjs", as `npm init` writes it.
 */
export function loadTypeScriptAsModules(): void {
  if (registered) return;
  registered = true;
  registerHooks({
    load(url, context, nextLoad) {
      // Of a file that no package.json says a type of, Node would find out itself, and warn that this takes time.
      const isOpen = /^file:.*\.ts$/.test(url) && !context.format?.startsWith("module");
      return nextLoad(url, isOpen && isModule(url) ? { ...context, format: "module-typescript" } : context);
    },
  });
}

/** `import` and `export` begin a line of a module; a CommonJS file of TypeScript says `import x = require()`, or neither. */
const moduleSyntax =
  /^[ \t]*(?:import[ \t]+(?:["'{*]|type\b|[\w$]+[ \t]*(?:,|from\b))|export[ \t]+(?:default\b|const\b|let\b|var\b|function\b|async\b|class\b|type\b|interface\b|[{*]))/m;

function isModule(url: string): boolean {
  const code = readFileSync(fileURLToPath(url), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  return moduleSyntax.test(code);
}
