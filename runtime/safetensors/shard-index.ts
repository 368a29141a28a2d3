/** Locates the files of a model: one safetensors file, or the shards listed in an index. */
import { basename, dirname, isAbsolute, join, relative, sep } from "#host";
import { explainingFaults, fileError, quoted } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { infoOf, readWhole } from "../files.ts";
import { goOn } from "../resume-hints.ts";
import { copyAgain, longestHeader, parseJsonFile } from "./header.ts";
import { refuseOtherKinds } from "./other-kinds.ts";

/** The file names of a model's weights in the Hugging Face layout. */
export const singleFileName = "model.safetensors";
export const indexFileName = "model.safetensors.index.json";
/** The name that OpenCLIP gives it. */
export const openClipFileName = "open_clip_model.safetensors";

/** The content of an index: the shard, relative to the index's folder, that holds each tensor. */
export interface ShardIndex {
  readonly path: string;
  readonly weightMap: ReadonlyMap<string, string>;
  /** The path of each shard, by its name in the index. */
  readonly shards: ReadonlyMap<string, string>;
}

/** The file to open for a path; a folder stands for the model inside it. Throws FileError. */
export async function locateWeights(fs: FileSystem, path: string): Promise<string> {
  const info = await explainingFaults("read", path, () => fs.stat(path));
  if (!info.isDirectory()) return path;
  const names = await explainingFaults("read", path, () => fs.readdir(path));
  const found = [singleFileName, indexFileName].filter((name) => names.includes(name));
  if (found.length === 2) {
    throw fileError(path, `it contains both ${singleFileName} and ${indexFileName}`, "name the one to use");
  }
  const one = found[0] ?? names.find((name) => name === openClipFileName);
  if (one === undefined) throw fileError(path, `it contains no ${singleFileName}`, hintFromNames(names));
  return await containedPath(fs, path, one, path);
}

function hintFromNames(names: readonly string[]): string {
  const others = names.filter((name) => name.endsWith(".safetensors"));
  if (others.length > 0) return `name the file to use: ${others.slice(0, 5).map(quoted).join(", ")}`;
  if (names.includes("checkpoints")) return `a run writes its weights when it finishes: ${goOn}`;
  const pickle = names.find((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickle === undefined) return "check the path";
  return `${quoted(pickle)} looks like a PyTorch file; convert it in Python with safetensors.torch.save_file`;
}

/** Reads and checks an index file and locates its shards; throws one FileError naming all missing shards. */
export async function readShardIndex(fs: FileSystem, path: string): Promise<ShardIndex> {
  const weightMap = parseIndex(path, await readWhole(fs, path, longestHeader));
  const shards = new Map<string, string>();
  const missing: string[] = [];
  for (const shard of new Set(weightMap.values())) {
    const location = await shardPath(fs, path, shard);
    if (location === undefined) missing.push(shard);
    else shards.set(shard, location);
  }
  if (missing.length === 0) return { path, weightMap, shards };
  const count = `${missing.length} of the ${missing.length + shards.size} shards it names`;
  const list = missing.slice(0, 5).map(quoted).join(", ");
  throw fileError(path, `${count} are missing: ${list}${missing.length > 5 ? ", …" : ""}`, "copy or download them too");
}

function parseIndex(path: string, bytes: Uint8Array): ReadonlyMap<string, string> {
  const fault = (what: string) => fileError(path, what, copyAgain);
  refuseOtherKinds(path, bytes);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw fault("it is not UTF-8 text");
  }
  const index = parseJsonFile(text, (what) => fault(`it is not valid JSON: ${what}`));
  const weightMap = index instanceof Map ? index.get("weight_map") : undefined;
  if (!(weightMap instanceof Map)) {
    const hint = `name a safetensors file, the ${indexFileName} of a sharded model, or their folder`;
    throw fileError(path, 'it is not a shard index: it has no "weight_map" object', hint);
  }
  for (const [name, shard] of weightMap) {
    if (typeof shard !== "string") throw fault(`the shard of tensor ${quoted(name)} is not a string`);
  }
  return weightMap as ReadonlyMap<string, string>;
}

async function shardPath(fs: FileSystem, indexPath: string, shard: string): Promise<string | undefined> {
  const isPlain = shard.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!isPlain || /^(\/|[a-z]:)/i.test(shard) || /[\\\0]/.test(shard)) {
    throw fileError(indexPath, `its shard ${quoted(shard)} is not a path inside its folder`, copyAgain);
  }
  const location = join(dirname(indexPath), shard);
  const info = await explainingFaults("read", location, () => infoOf(fs, location));
  return info === undefined ? undefined : await containedPath(fs, dirname(indexPath), shard, indexPath);
}

/**
 * The path of `name` in `folder`, rejected when a symbolic link leads out of the folder. The exception is the Hugging
 * Face cache, `snapshots/<revision>/<name> -> ../../blobs/<hash>`: there `blobs` is part of the model.
 */
async function containedPath(fs: FileSystem, folder: string, name: string, teller: string): Promise<string> {
  const location = join(folder, name);
  const [root, real] = await explainingFaults("read", location, () =>
    Promise.all([fs.realpath(folder), fs.realpath(location)]),
  );
  const isCache = basename(dirname(root)) === "snapshots";
  const roots = isCache ? [root, join(dirname(dirname(root)), "blobs")] : [root];
  if (roots.some((allowed) => isInside(allowed, real))) return location;
  throw fileError(teller, `${quoted(name)} is a link that points outside its folder`, "put the file itself there");
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
