/** Writes a model in the Hugging Face layout: shards of bounded size with an index. */
import { fileSystem, join } from "#host";
import { explainingFaults, fileError } from "../file-errors.ts";
import { infoOf, type StagedFile, stageFile, writeFileAtomically } from "../files.ts";
import { byteLengthOf } from "./header.ts";
import { indexFileName, singleFileName } from "./shard-index.ts";
import { prepareSafetensors, type SafetensorsWriteOptions, type TensorToWrite, writeSafetensors } from "./writer.ts";

export interface ShardedWriteOptions extends SafetensorsWriteOptions {
  /** Maximum bytes of tensor data per shard, unless a single tensor is larger. Default: 5 GB. */
  readonly maxShardBytes?: number;
}

/**
 * Writes a model to a folder as `model.safetensors`, or, if it exceeds `maxShardBytes`, as
 * `model-00001-of-0000N.safetensors` with `model.safetensors.index.json`. Shards get their final names when all are
 * complete, the index last. Throws FileError when the folder already holds a model of the other kind or one in several
 * shards, which could not be replaced atomically, and when writing fails.
 */
export async function writeModel(
  folder: string,
  tensors: readonly TensorToWrite[],
  options: ShardedWriteOptions = {},
): Promise<void> {
  const fs = options.fs ?? fileSystem;
  await explainingFaults("write", folder, () => fs.mkdir(folder));
  const shards = splitIntoShards(tensors, options.maxShardBytes ?? 5e9);
  await requireAbsent(join(folder, indexFileName), options);
  if (shards.length === 1) return await writeSafetensors(join(folder, singleFileName), tensors, options);
  await requireAbsent(join(folder, singleFileName), options);
  await writeShards(folder, shards, options);
  await writeFileAtomically(join(folder, indexFileName), formatIndex(shards), options);
}

async function requireAbsent(path: string, { fs = fileSystem }: ShardedWriteOptions): Promise<void> {
  if ((await explainingFaults("read", path, () => infoOf(fs, path))) === undefined) return;
  throw fileError(
    path,
    "it belongs to a model that is already in this folder",
    "remove that model or choose another folder",
  );
}

/** Fills shards greedily, in the given order. */
function splitIntoShards(tensors: readonly TensorToWrite[], maxBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = byteLengthOf(tensor);
    if (filled > 0 && filled + bytes > maxBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += bytes;
  }
  return shards;
}

function shardName(index: number, count: number): string {
  const five = (n: number) => String(n).padStart(5, "0");
  return `model-${five(index + 1)}-of-${five(count)}.safetensors`;
}

async function writeShards(folder: string, shards: TensorToWrite[][], options: ShardedWriteOptions): Promise<void> {
  const staged: StagedFile[] = [];
  try {
    for (const [i, tensors] of shards.entries()) {
      const path = join(folder, shardName(i, shards.length));
      staged.push(await stageFile(path, prepareSafetensors(path, tensors, options.metadata), options));
    }
    for (const file of staged) await file.commit();
  } catch (error) {
    for (const file of staged) await file.discard().catch(() => {}); // the first error is the one to report
    throw error;
  }
}

function formatIndex(shards: readonly (readonly TensorToWrite[])[]): string {
  const total = shards.flat().reduce((bytes, tensor) => bytes + byteLengthOf(tensor), 0);
  const weightMap = shards.flatMap((tensors, i) => tensors.map(({ name }) => [name, shardName(i, shards.length)]));
  weightMap.sort(([a], [b]) => (a! < b! ? -1 : 1));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) };
  return `${JSON.stringify(index, null, 2)}\n`;
}
