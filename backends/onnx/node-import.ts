/** Opens an ONNX file from disk, with external data in its folder. */
import { type FileHandle, open, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, sep } from "node:path";
import { FileError } from "../../compiler/index.ts";
import { type ExternalPlace, type ImportOptions, importOnnx, type OnnxImport } from "./import/index.ts";

/** Options of `openOnnx`. */
export type OpenOnnxOptions = Pick<ImportOptions, "sizes" | "constants" | "outputs" | "name">;

/**
 * Imports the graph of an ONNX file; weights are read on demand. External data is read only from the model's folder and
 * its subfolders; throws FileError for any other location, including through symbolic links.
 */
export async function openOnnx(path: string, options: OpenOnnxOptions = {}): Promise<OnnxImport> {
  const bytes = await wholeFile(path);
  const name = options.name ?? basename(path).replace(/\.onnx$/i, "");
  return await importOnnx(bytes, { ...options, name, external: (place) => externalBytes(path, place) });
}

async function wholeFile(path: string): Promise<Uint8Array> {
  try {
    if (!(await stat(path)).isFile()) throw new FileError(`"${path}" is not a file`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(`"${path}" cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

async function externalBytes(model: string, { location, offset, length }: ExternalPlace): Promise<Uint8Array> {
  const path = await placeInside(model, location);
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    if (!(await file.stat()).isFile() || offset + length > size)
      throw new FileError(`"${model}" keeps ${length} bytes at ${offset} of "${location}", which has ${size}`);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw new FileError(`"${location}" was truncated while it was being read`);
      done += bytesRead;
    }
    return bytes;
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(
      `"${model}" keeps weights in "${location}", which cannot be read: ${(error as Error).message}`,
      { cause: error },
    );
  } finally {
    await file?.close();
  }
}

/** Resolves a location, following links. Throws FileError if it is outside the model's folder. */
async function placeInside(model: string, location: string): Promise<string> {
  const refused = () =>
    new FileError(
      `"${model}" keeps weights in ${JSON.stringify(location.slice(0, 200))}, which is not a file in its folder`,
    );
  if (location === "" || location.includes("\0") || isAbsolute(location)) throw refused();
  let folder: string;
  let path: string;
  try {
    folder = await realpath(dirname(model));
    path = await realpath(join(folder, location));
  } catch (error) {
    throw new FileError(`${refused().message}: ${(error as NodeJS.ErrnoException).code ?? "it cannot be found"}`, {
      cause: error,
    });
  }
  const within = relative(folder, path);
  const escapes = within === ".." || within.startsWith(`..${sep}`) || isAbsolute(within); // "..name" is a plain name
  if (within === "" || escapes) throw refused();
  return path;
}
