/** Measurements cached on disk between runs and reused only while they are still valid. */
import { dirname, fileSystem } from "#host";
import { explainingFaults } from "./file-errors.ts";
import { errorCode, type FileSystem } from "./file-system.ts";
import { makeFolder, readWhole, writeFileAtomically } from "./files.ts";

/** The conditions of a measurement, by name: the adapter with its driver, and the versions of the software used. */
export type MeasuredOn = Readonly<Record<string, string>>;

export interface Cached<T> {
  readonly value?: T;
  /** One line on why an existing file was ignored. */
  readonly ignored?: string;
}

export interface CachedKind {
  /** Subject of the message: "findings". */
  readonly what: string;
  /** End of the message: "heddle tune measures them again". */
  readonly again: string;
}

/** A file with another number was written by another version of heddle. */
const format = 1;
const mostBytes = 64 * 2 ** 20;

/**
 * Reads the value measured under the conditions `basis`. A damaged file, or one with another basis, is ignored, and the
 * result says why.
 */
export async function readCached<T>(
  path: string,
  { what, again }: CachedKind,
  basis: MeasuredOn,
  isValue: (value: unknown) => value is T,
  fs: FileSystem = fileSystem,
): Promise<Cached<T>> {
  const ignored = (reason: string) => ({ ignored: `${what} in ${path} are ignored: ${reason}; ${again}` });
  try {
    const content = JSON.parse(new TextDecoder().decode(await readWhole(fs, path, mostBytes))) as unknown;
    if (!isRecord(content)) return ignored("it is not a JSON object");
    if (content.format !== format) return ignored(`its format is ${JSON.stringify(content.format)}, not ${format}`);
    const { basis: was, value } = content;
    if (!isRecord(was)) return ignored("it does not record what they were measured on");
    const other = Object.keys({ ...was, ...basis }).find((key) => was[key] !== basis[key]);
    if (other !== undefined)
      return ignored(`${other} was "${was[other] ?? "unknown"}" and is now "${basis[other] ?? "unknown"}"`);
    return isValue(value) ? { value } : ignored(`its content is not valid ${what}`);
  } catch (error) {
    if (errorCode((error as Error).cause ?? error) === "ENOENT") return {};
    return ignored((error as Error).message.split("\n")[0]!);
  }
}

/** Replaces the file atomically. Throws FileError when that fails. */
export async function writeCached(path: string, basis: MeasuredOn, value: unknown): Promise<void> {
  await explainingFaults("write", path, () => makeFolder(dirname(path)));
  await writeFileAtomically(path, `${JSON.stringify({ format, basis, value }, null, 1)}\n`);
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** True for an object whose values are all finite numbers. */
export const areNumbers = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((n) => typeof n === "number" && Number.isFinite(n));
