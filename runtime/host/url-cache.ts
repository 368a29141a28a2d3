/** A cache for the contents of URLs, in files: pieces of 16 MiB, each complete or absent. */
import { FileError } from "../../compiler/index.ts";
import type { FileSystem } from "../file-system.ts";
import { infoOf, joined, readWhole, writeFileAtomically } from "../files.ts";
import { sha256 } from "../sha256.ts";
import { basename, join } from "./paths.ts";
import type { Source } from "./read-only-files.ts";
import { chunksOf, type Remote, type RequestOptions } from "./remote-file.ts";

/** Where to cache what is read. */
export interface UrlCache {
  /** In a page, that of OPFS. */
  readonly fs: FileSystem;
  readonly folder: string;
  /** Called for each piece read over the network, with the bytes read so far and the file's size, if known. */
  readonly onRead?: (read: number, size: number | undefined) => void;
}

const pieceBytes = 16 * 2 ** 20;

/** Metadata of a cached file. */
interface About {
  readonly url: string;
  readonly size: number;
  readonly version?: string;
}

const aboutFile = "about.json";
const pieceFile = (index: number): string => `${String(index).padStart(6, "0")}.piece`;

type Signal = RequestOptions["signal"];

/**
 * Lets one window or worker at a time do this to a path. Several may read one file for the first time, and would remove
 * what another has just written, or download it twice.
 */
const alone = <T>(path: string, signal: Signal, work: () => Promise<T>): Promise<T> => {
  const locks = globalThis.navigator?.locks as LockManager | undefined; // only pages of secure sites have them
  return locks ? (locks.request(`heddle cache ${path}`, signal ? { signal } : {}, work) as Promise<T>) : work();
};

/**
 * A file at a URL, read from the cache when it is there. The server is asked for the file's version at each opening;
 * when it cannot be reached, the cached file is used.
 */
export async function cachedSource(
  url: string,
  cache: UrlCache,
  open: (isNeeded: boolean) => Promise<Remote | undefined>,
  signal?: Signal,
): Promise<Source | undefined> {
  const place = join(cache.folder, `${(await sha256(url)).slice(0, 16)}-${nameIn(url)}`);
  return alone(place, signal, () => sourceIn(place, url, cache, open, signal));
}

/** The same, at its place in the cache, with no other at work there. */
async function sourceIn(
  place: string,
  url: string,
  cache: UrlCache,
  open: (isNeeded: boolean) => Promise<Remote | undefined>,
  signal: Signal,
): Promise<Source | undefined> {
  const { fs } = cache;
  const known = await aboutIn(fs, join(place, aboutFile));
  const opened = await open(known === undefined).catch((error: unknown) => {
    signal?.throwIfAborted();
    return { error };
  });
  if (opened === undefined) return undefined;
  if ("error" in opened) {
    if (!known) throw opened.error;
    return new Pieces({ cache, place, size: known.size, signal, fetch: () => Promise.reject(opened.error) });
  }
  const { size, version } = opened;
  const isKept = known && known.version === version && (size === undefined || known.size === size);
  if (!isKept) await fs.remove(place);
  await fs.mkdir(place);
  const keep = async (bytes: number) => {
    const about = { url, size: bytes, ...(version !== undefined && { version }) };
    await writeFileAtomically(join(place, aboutFile), JSON.stringify(about), { fs });
  };
  if (!opened.whole) {
    if (!isKept) await keep(opened.source.size);
    const fetch = async (from: number, into: Uint8Array) => void (await opened.source.read(from, into));
    return new Pieces({ cache, place, size: opened.source.size, signal, fetch });
  }
  if (isKept) await opened.whole.cancel();
  const bytes = isKept ? known.size : await streamed(cache, place, opened, opened.whole, signal);
  if (!isKept) await keep(bytes); // written last: its presence means that all pieces are there
  const fetch = async () => {
    throw new FileError(`${place}: a piece of ${url} is missing\n  hint: remove the folder to download it again`);
  };
  return new Pieces({ cache, place, size: bytes, signal, fetch });
}

/** Downloads a whole file into pieces, from a server without ranges; returns its size. */
async function streamed(
  cache: UrlCache,
  place: string,
  { url, size }: Remote,
  body: ReadableStream<Uint8Array>,
  signal: Signal,
): Promise<number> {
  let read = 0;
  let pending: Uint8Array[] = [];
  const keep = async () => {
    const index = Math.ceil(read / pieceBytes) - 1;
    await writeFileAtomically(join(place, pieceFile(index)), joined(pending), { fs: cache.fs });
    pending = [];
    cache.onRead?.(read, size);
  };
  for await (const bytes of chunksOf(url, body, signal)) {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.slice(at, at + pieceBytes - (read % pieceBytes));
      pending.push(part);
      read += part.length;
      at += part.length;
      if (read % pieceBytes === 0) await keep();
    }
  }
  if (pending.length > 0) await keep();
  if (size !== undefined && read !== size)
    throw new FileError(`${url}: expected ${size} bytes, got ${read}\n  hint: open it again`);
  return read;
}

/** Where pieces are, and come from. */
interface PieceOptions {
  readonly cache: UrlCache;
  readonly place: string;
  readonly size: number;
  readonly signal: Signal;
  readonly fetch: (from: number, into: Uint8Array) => Promise<void>;
}

/** A file in pieces; missing ones are fetched and cached. */
class Pieces implements Source {
  readonly size: number;
  private readonly options: PieceOptions;
  private readonly coming = new Map<number, Promise<Uint8Array | undefined>>();
  private brought = 0;

  constructor(options: PieceOptions) {
    this.size = options.size;
    this.options = options;
  }

  async read(from: number, into: Uint8Array): Promise<number> {
    const to = Math.min(this.size, from + into.length);
    for (let at = from; at < to; ) {
      const index = Math.floor(at / pieceBytes);
      const end = Math.min(to, (index + 1) * pieceBytes);
      await this.copy(index, at - index * pieceBytes, into.subarray(at - from, end - from));
      at = end;
    }
    return Math.max(0, to - from);
  }

  /** Copies a part of a piece: from memory if it has just been fetched, otherwise from its file. */
  private async copy(index: number, from: number, into: Uint8Array): Promise<void> {
    const { cache, place, signal } = this.options;
    const path = join(place, pieceFile(index));
    const pending = this.coming.get(index) ?? alone(path, signal, () => this.bring(index, path));
    this.coming.set(index, pending);
    const bytes = await pending.finally(() => this.coming.delete(index));
    if (bytes) return into.set(bytes.subarray(from, from + into.length));
    const file = await cache.fs.open(path, "r");
    try {
      for (let done = 0; done < into.length; ) {
        const { bytesRead } = await file.read(into, done, into.length - done, from + done);
        if (bytesRead === 0)
          throw new FileError(`${path} became shorter while it was being read\n  hint: open it again`);
        done += bytesRead;
      }
    } finally {
      await file.close();
    }
  }

  /** The bytes of a piece that had to be fetched; undefined when it was already cached. */
  private async bring(index: number, path: string): Promise<Uint8Array | undefined> {
    const { cache, fetch } = this.options;
    const { fs, onRead } = cache;
    if (await isPiece(fs, path, this.bytesOf(index))) return undefined;
    const bytes = new Uint8Array(this.bytesOf(index));
    await fetch(index * pieceBytes, bytes);
    await writeFileAtomically(path, bytes, { fs });
    this.brought += bytes.length;
    onRead?.(this.brought, this.size);
    return bytes;
  }

  private bytesOf(index: number): number {
    return Math.min(pieceBytes, this.size - index * pieceBytes);
  }
}

const isPiece = async (fs: FileSystem, path: string, bytes: number): Promise<boolean> =>
  (await infoOf(fs, path))?.size === bytes;

async function aboutIn(fs: FileSystem, path: string): Promise<About | undefined> {
  if (!(await infoOf(fs, path))) return undefined;
  try {
    const about: unknown = JSON.parse(new TextDecoder().decode(await readWhole(fs, path, 100_000)));
    const { size } = about as About;
    return Number.isSafeInteger(size) ? (about as About) : undefined;
  } catch {
    return undefined; // not written by this code: read again from the server
  }
}

const nameIn = (url: string): string =>
  basename(new URL(url).pathname)
    .replace(/[^A-Za-z0-9._-]/g, "_")
    .slice(0, 60);
