import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { archivePath, unpackArchive } from "../../backends/webgpu/runtime/node-swiftshader.ts";
import { FileError } from "../../compiler/index.ts";

const files = { "libvk_swiftshader.so": "driver", "libvulkan.so.1": "loader", "vk_swiftshader_icd.json": "{}" };

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-swiftshader-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a small archive of the carrier package's shape; the unpacking never looks inside the libraries. */
async function archiveOf(entries: Readonly<Record<string, string>>): Promise<string> {
  const tar = pack();
  for (const [name, text] of Object.entries(entries)) tar.entry({ name }, text);
  tar.finalize();
  const path = join(folder, "swiftshader.tar.br");
  writeFileSync(path, brotliCompressSync(Buffer.concat(await Array.fromAsync(tar as AsyncIterable<Buffer>))));
  return path;
}

const cache = () => join(folder, "cache");

describe("unpacking SwiftShader", () => {
  test("takes the three files it wants and no other", async () => {
    const archive = await archiveOf({ ...files, "../../escape": "x", "libEGL.so": "unused" });
    const { loader, manifest } = await unpackArchive(archive, [cache()]);
    expect(readdirSync(join(loader, "..")).toSorted()).toEqual([...Object.keys(files), "sha256.json"].toSorted());
    expect(manifest.endsWith("vk_swiftshader_icd.json")).toBe(true);
    expect(readdirSync(cache())).toHaveLength(1);
  });

  test("leaves a whole cache alone and mends a damaged one", async () => {
    const archive = await archiveOf(files);
    const { loader } = await unpackArchive(archive, [cache()]);
    writeFileSync(loader, "half a lo");
    const again = await unpackArchive(archive, [cache()]);
    expect(again.loader).toBe(loader);
    expect(readFileSync(loader, "utf8")).toBe("loader");
  });

  test("several processes may unpack at once", async () => {
    const archive = await archiveOf(files);
    const all = await Promise.all(Array.from({ length: 8 }, () => unpackArchive(archive, [cache()])));
    expect(new Set(all.map((one) => one.loader)).size).toBe(1);
    expect(readdirSync(cache())).toHaveLength(1);
  });

  test("goes to the next folder when one cannot be written", async () => {
    const archive = await archiveOf(files);
    writeFileSync(join(folder, "file"), "");
    const { loader } = await unpackArchive(archive, [join(folder, "file"), cache()]);
    expect(loader.startsWith(cache())).toBe(true);
    await expect(unpackArchive(archive, [join(folder, "file")])).rejects.toThrow(
      /no folder to unpack SwiftShader into/,
    );
  });

  test("a damaged or foreign archive is one clear error", async () => {
    const archive = await archiveOf({ "libvulkan.so.1": "loader" });
    await expect(unpackArchive(archive, [cache()])).rejects.toThrow(/damaged: it holds no libvk_swiftshader.so/);
    writeFileSync(archive, "not brotli");
    await expect(unpackArchive(archive, [cache()])).rejects.toThrow(FileError);
    expect(readdirSync(cache())).toEqual([]);
  });
});

describe("the package that carries SwiftShader", () => {
  const module = () => pathToFileURL(join(folder, "module.js")).href;

  test.each(["build/cjs/index.cjs", "build/index.js"])("is found where its entry point is %s", (entry) => {
    const at = join(folder, "node_modules/@sparticuz/chromium");
    mkdirSync(join(at, "bin"), { recursive: true });
    writeFileSync(join(at, "package.json"), JSON.stringify({ exports: { ".": `./${entry}` } }));
    expect(archivePath(module())).toBeUndefined();
    writeFileSync(join(at, "bin/swiftshader.tar.br"), "");
    expect(archivePath(module())).toBe(join(at, "bin/swiftshader.tar.br"));
  });

  test("is missing where it is not installed", () => {
    expect(archivePath(module())).toBeUndefined();
  });
});
