/** SwiftShader, a Vulkan driver on CPU threads, unpacked once from an npm package into a cache. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-stream";
import { FileError, UnsupportedError } from "../../../compiler/index.ts";

/** The unpacked driver. */
export type SwiftShader = {
  /** Path of its Vulkan loader, for machines without one. */
  readonly loader: string;
  /** Path of the driver manifest for a Vulkan loader. */
  readonly manifest: string;
};

/** The package that contains the driver: a Chromium for Linux x64, hence the single platform. */
const carrier = "@sparticuz/chromium";

/** The files extracted from the archive. */
const wanted = ["libvk_swiftshader.so", "libvulkan.so.1", "vk_swiftshader_icd.json"] as const;

/** Cache file with the digest of every other file; written last. */
const seal = "sha256.json";

/** Why SwiftShader is unavailable on this machine; undefined if it is available. */
export function swiftShaderMissing(): string | undefined {
  const here = `${process.platform} ${process.arch}`;
  if (here !== "linux x64") return `the bundled SwiftShader runs on linux x64 only, and this is ${here}`;
  if (!archivePath()) return `the package ${carrier}, which carries SwiftShader, is not installed`;
  return undefined;
}

/**
 * Unpacks SwiftShader and its Vulkan loader, or reuses an intact cached copy.
 * Throws UnsupportedError if the package is missing or for another platform, FileError for a damaged package or
 * a cache that cannot be written.
 */
export async function unpackSwiftShader(): Promise<SwiftShader> {
  const missing = swiftShaderMissing();
  const archive = archivePath();
  if (missing || !archive) throw new UnsupportedError(`${missing}\n  hint: npm install --save-dev ${carrier}`);
  return unpackArchive(archive, [
    join(packagesFolder(archive), ".cache", "heddle"),
    join(homedir(), ".cache", "heddle"),
  ]);
}

/** Unpacks the archive into the first writable cache folder; see `unpackSwiftShader`. */
export async function unpackArchive(archive: string, caches: readonly string[]): Promise<SwiftShader> {
  const packed = await readFile(archive);
  // Named by content hash, so that versions of the package never share files.
  const name = `swiftshader-${createHash("sha256").update(packed).digest("hex").slice(0, 16)}`;
  const refusals: string[] = [];
  for (const cache of caches) {
    const folder = join(cache, name);
    if (isWhole(folder)) return pathsIn(folder);
    try {
      await mkdir(cache, { recursive: true });
      await fill(folder, cache, packed, archive);
      return pathsIn(folder);
    } catch (cause) {
      if (cause instanceof FileError) throw cause;
      refusals.push(`${cache}: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
  throw new FileError(`no folder to unpack SwiftShader into\n  ${refusals.join("\n  ")}`);
}

/** Unpacks to a temporary folder and renames it, so that no process sees it half-written. */
async function fill(folder: string, cache: string, packed: Buffer, archive: string): Promise<void> {
  const draft = await mkdtemp(join(cache, "draft-"));
  try {
    const digests: Record<string, string> = {};
    for (const [name, bytes] of await readArchive(packed, archive)) {
      await writeFile(join(draft, name), bytes, { mode: 0o755 });
      digests[name] = createHash("sha256").update(bytes).digest("hex");
    }
    await writeFile(join(draft, seal), JSON.stringify(digests));
    await install(draft, folder);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Renames the draft into place unless another process was first; moves a damaged folder away. */
async function install(draft: string, folder: string): Promise<void> {
  try {
    await rename(draft, folder);
  } catch {
    if (isWhole(folder)) return;
    const aside = `${draft}-damaged`;
    await rename(folder, aside).catch(() => {}); // already gone if another process repairs it too
    await rm(aside, { recursive: true, force: true });
    await rename(draft, folder).catch((cause: unknown) => {
      if (!isWhole(folder)) throw cause;
    });
  }
}

/** Reads the wanted files from a brotli-compressed tar archive; matching exact names rules out path traversal. */
async function readArchive(packed: Buffer, archive: string): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const tar = extract();
  const unpacking = pipeline(Readable.from([packed]), createBrotliDecompress(), tar);
  const reading = (async () => {
    for await (const entry of tar) {
      const chunks = await Array.fromAsync(entry as AsyncIterable<Buffer>);
      if (wanted.some((name) => name === entry.header.name)) files.set(entry.header.name, Buffer.concat(chunks));
    }
  })();
  await Promise.all([unpacking, reading]).catch((cause: unknown) => {
    throw damaged(archive, cause instanceof Error ? cause.message : String(cause));
  });
  for (const name of wanted) if (!files.has(name)) throw damaged(archive, `it holds no ${name}`);
  return files;
}

/** True if every file is present and matches its digest. */
function isWhole(folder: string): boolean {
  try {
    const digests: unknown = JSON.parse(readFileSync(join(folder, seal), "utf8"));
    if (typeof digests !== "object" || digests === null) return false;
    const expected = digests as Record<string, unknown>;
    return wanted.every((name) => {
      const bytes = readFileSync(join(folder, name));
      return createHash("sha256").update(bytes).digest("hex") === expected[name];
    });
  } catch {
    return false;
  }
}

function pathsIn(folder: string): SwiftShader {
  return { loader: join(folder, "libvulkan.so.1"), manifest: join(folder, "vk_swiftshader_icd.json") };
}

function damaged(archive: string, why: string): FileError {
  return new FileError(`the SwiftShader archive ${archive} is damaged: ${why}\n  hint: reinstall ${carrier}`);
}

/** The archive in the package that a module would import; undefined if it is not installed. */
export function archivePath(module = import.meta.url): string | undefined {
  try {
    // Not found by the entry point, whose folder differs between the package's versions.
    const manifest = findPackageJSON(carrier, module);
    const archive = manifest && join(dirname(manifest), "bin", "swiftshader.tar.br");
    return archive && existsSync(archive) ? archive : undefined;
  } catch {
    return undefined;
  }
}

/** The node_modules folder of the archive's package. */
function packagesFolder(archive: string): string {
  return join(dirname(archive), "..", "..", "..");
}
