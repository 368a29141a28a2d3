/**
 * Loads TypeScript files with `import` and `export` as modules, whatever the nearest package.json says of .js files.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

let registered = false;

/**
 * From here on, .ts files with module syntax load as modules, even in a project whose package.json says "type":
 * "commonjs", as `npm init` writes it.
 */
export function loadTypeScriptAsModules(): void {
  if (registered) return;
  registered = true;
  registerHooks({
    load(url, context, nextLoad) {
      // For a file without a package.json type, Node would detect it itself, with a performance warning.
      const isOpen = /^file:.*\.ts$/.test(url) && !context.format?.startsWith("module");
      return nextLoad(url, isOpen && isModule(url) ? { ...context, format: "module-typescript" } : context);
    },
  });
}

/**
 * Module syntax starts a line with `import` or `export`; a CommonJS TypeScript file has `import x = require()`, or
 * neither.
 */
const moduleSyntax =
  /^[ \t]*(?:import[ \t]+(?:["'{*]|type\b|[\w$]+[ \t]*(?:,|from\b))|export[ \t]+(?:default\b|const\b|let\b|var\b|function\b|async\b|class\b|type\b|interface\b|[{*]))/m;

function isModule(url: string): boolean {
  const code = readFileSync(fileURLToPath(url), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  return moduleSyntax.test(code);
}
