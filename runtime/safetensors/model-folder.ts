/** Atomic writing of a model's folder. */
import { basename, dirname, fileSystem, join, resolve } from "#host";
import { asFileError, explainingFaults, fileError } from "../file-errors.ts";
import { errorCode } from "../file-system.ts";
import { randomHex, requireFreeSpace, writeFileAtomically } from "../files.ts";
import { byteLengthOf } from "./header.ts";
import { type ShardedWriteOptions, writeModel } from "./sharded-writer.ts";
import type { TensorToWrite } from "./writer.ts";

/**
 * Writes a model as `writeModel` does, plus small companion files by name, into a new folder. It is filled under a
 * temporary name beside `folder`, and renamed once everything is written and synced; a killed process leaves at most
 * `<name>.<random>.tmp`. Throws FileError when `folder` already has any content, when its disk is too small, and when
 * writing fails.
 */
export async function writeModelFolder(
  folder: string,
  tensors: readonly TensorToWrite[],
  companions: ReadonlyMap<string, string | Uint8Array>,
  options: ShardedWriteOptions = {},
): Promise<void> {
  const fs = options.fs ?? fileSystem;
  const target = resolve(folder);
  await requireEmpty(target, folder, options);
  const bytes = tensors.reduce((n, t) => n + byteLengthOf(t), 0);
  await requireFreeSpace(dirname(target), bytes, options);
  const temporary = join(dirname(target), `${basename(target).slice(0, 40)}.${randomHex()}.tmp`);
  try {
    await writeModel(temporary, tensors, options);
    for (const [name, content] of companions) await writeFileAtomically(join(temporary, name), content, options);
    await fs.rename(temporary, target);
    await fs.syncFolder(dirname(target));
  } catch (error) {
    await fs.remove(temporary).catch(() => {}); // the first error is the one to report
    throw asFileError(error, "write", folder);
  }
}

/** An empty folder is replaced; rename does so itself, except on Windows. */
async function requireEmpty(target: string, folder: string, { fs = fileSystem }: ShardedWriteOptions) {
  const names = await explainingFaults("write", folder, async () => {
    try {
      return await fs.readdir(target);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  });
  if (names?.length === 0) await explainingFaults("write", folder, () => fs.remove(target));
  else if (names) throw fileError(folder, "it is not empty", "choose a folder that does not exist yet");
}
