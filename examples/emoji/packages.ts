/** Finds the npm packages with example data, wherever the package manager put them. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { FileError } from "../../compiler/index.ts";

/**
 * The folder of an installed package, looked up from heddle and then from the working folder. Throws FileError naming
 * the package and the command that installs it.
 */
export function packageFolder(name: string): string {
  const from = [import.meta.url, join(process.cwd(), "package.json")];
  for (const place of from) {
    try {
      return dirname(createRequire(place).resolve(`${name}/package.json`));
    } catch (error) {
      if ((error as { code?: string }).code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  throw new FileError(`the npm package "${name}" is not installed; install it with: npm install --save-dev ${name}`);
}
