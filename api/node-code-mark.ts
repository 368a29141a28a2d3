/** A hash of the code that generates kernels: findings measured with other code do not apply. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** What decides the kernels of a graph, beside this file in a checkout and in the package alike. */
const kernelCode = ["compiler", "backends/webgpu/emit", "backends/webgpu/tune"].map((room) =>
  fileURLToPath(new URL(`../${room}/`, import.meta.url)),
);

/**
 * A hash of the names and contents of all source files below some folders. Undefined if one of them cannot be read, as
 * where a program bundles this module: then nothing tells whether findings were measured with the same code.
 */
export async function markOfCode(folders: readonly string[] = kernelCode): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    for (const folder of folders) {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      const files = entries
        .filter((e) => e.isFile() && /\.[jt]s$/.test(e.name) && !e.name.endsWith(".d.ts"))
        .map((e) => relative(folder, join(e.parentPath, e.name)).split(sep).join("/"))
        .sort();
      const texts = await Promise.all(files.map((file) => readFile(join(folder, file))));
      files.forEach((file, i) => void hash.update(`${file}\0${texts[i]!.length}\0`).update(texts[i]!));
    }
  } catch {
    return undefined;
  }
  return hash.digest("hex").slice(0, 16);
}
