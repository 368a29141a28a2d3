/**
 * Chromium, from the npm package that carries it: unpacked once into a cache, with fonts, SwiftShader and libraries.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-stream";

/** An unpacked Chromium. */
export type UnpackedChromium = {
  readonly executable: string;
  /** The file that fontconfig reads: without fonts of its own a machine draws no text. */
  readonly fonts: string;
  /** Shared libraries that Chromium links and a bare machine lacks (NSS, expat). */
  readonly libraries: string;
};

/** No Chromium on this machine, and why: what a test that is not run says. */
export class NoChromium extends Error {
  override name = "NoChromium";
}

const carrier = "@sparticuz/chromium";

/** Written last: a folder that has it is whole. */
const seal = "whole";

/** Unpacks Chromium, or finds it unpacked. Throws NoChromium where the package is absent or for another platform. */
export async function unpackChromium(): Promise<UnpackedChromium> {
  const packed = packedFolder();
  const name = `chromium-${await digest(join(packed, "chromium.br"))}`;
  const refusals: string[] = [];
  for (const cache of [join(packed, "..", "..", "..", ".cache", "heddle"), join(tmpdir(), "heddle-cache")]) {
    const folder = join(cache, name);
    try {
      await mkdir(cache, { recursive: true });
      if (!existsSync(join(folder, seal))) await fill(packed, folder, cache);
      return {
        executable: join(folder, "chromium"),
        fonts: join(folder, "fonts.conf"),
        libraries: join(folder, "lib"),
      };
    } catch (cause) {
      refusals.push(`${cache}: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
  throw new Error(`no folder to unpack Chromium into\n  ${refusals.join("\n  ")}`);
}

/** The package's folder of archives. */
function packedFolder(): string {
  const here = `${process.platform} ${process.arch}`;
  if (here !== "linux x64") throw new NoChromium(`the bundled Chromium runs on linux x64 only, and this is ${here}`);
  try {
    const manifest = findPackageJSON(carrier, import.meta.url);
    if (manifest) return join(dirname(manifest), "bin");
  } catch {} // not installed
  throw new NoChromium(`the package ${carrier}, which carries Chromium, is not installed`);
}

/** Sixteen digits that name the content of a file. */
async function digest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex").slice(0, 16);
}

/** Unpacks beside the folder and renames, so that no other process ever starts half of a Chromium. */
async function fill(packed: string, folder: string, cache: string): Promise<void> {
  const draft = await mkdtemp(join(cache, "draft-"));
  try {
    const executable = createWriteStream(join(draft, "chromium"), { mode: 0o755 });
    await pipeline(createReadStream(join(packed, "chromium.br")), createBrotliDecompress(), executable);
    for (const name of ["swiftshader", "al2023", "fonts"]) await untar(join(packed, `${name}.tar.br`), draft);
    await writeFile(join(draft, "fonts.conf"), fontsIn(folder));
    await writeFile(join(draft, seal), "");
    await rename(draft, folder).catch((cause: unknown) => {
      if (!existsSync(join(folder, seal))) throw cause; // else another process was first
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function untar(archive: string, folder: string): Promise<void> {
  const tar = extract();
  const unpacking = pipeline(createReadStream(archive), createBrotliDecompress(), tar);
  for await (const entry of tar) {
    const path = join(folder, entry.header.name);
    if (entry.header.type !== "file" || !path.startsWith(folder)) {
      entry.resume();
      continue;
    }
    await mkdir(dirname(path), { recursive: true });
    await pipeline(entry, createWriteStream(path, { mode: 0o755 }));
  }
  await unpacking;
}

/** The folders of fonts in place of the package's list, which is that of the machine it was made for. */
const fontsIn = (folder: string): string => `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${join(folder, "fonts")}</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>${join(folder, "fonts-cache")}</cachedir>
</fontconfig>
`;
