/** Files on a web server as a read-only file system. */
import { FileError, UsageError } from "../../compiler/index.ts";
import { formatBytes } from "../file-errors.ts";
import type { FileSystem } from "../file-system.ts";
import { joined } from "../files.ts";
import { indexFileName, openClipFileName, singleFileName } from "../safetensors/shard-index.ts";
import { bytesSource, type Found, readOnlyFileSystem, type Source } from "./read-only-files.ts";
import { chunksOf, openRemote, type Remote, type RequestOptions } from "./remote-file.ts";
import { cachedSource, type UrlCache } from "./url-cache.ts";

/** How files on a server are read. */
export interface UrlOptions extends RequestOptions {
  /** A cache, so that they are read again without the network. Default: none. */
  readonly cache?: UrlCache;
}

/** A file system, and the path in it of the named file. */
export interface UrlFiles {
  readonly fs: FileSystem;
  readonly path: string;
}

/** A server does not list its folders: these names are tried. */
const usualNames = [singleFileName, indexFileName, openClipFileName];

/** Maximum bytes of a file that is read whole when the server has no ranges. */
const mostWhole = 256 * 2 ** 20;

/**
 * The file at a URL (or the folder, if it ends in "/") and its siblings. Only the ranges that are read are requested,
 * at least 64 KiB each. From a server without ranges, a file of up to 256 MiB is read whole, and a larger one only into
 * a cache.
 */
export function urlFiles(url: string | URL, options: UrlOptions = {}): UrlFiles {
  const named = addressIn(url);
  const folder = new URL(".", named);
  const known = new Map<string, Promise<Found>>();
  const once = (path: string): Promise<Found> => {
    const found = known.get(path) ?? find(path);
    known.set(path, found);
    found.catch(() => known.delete(path)); // failures are retried
    return found;
  };
  const find = async (path: string): Promise<Found> => {
    if (path !== "/") return await openUrl(addressOf(path), options);
    for (const name of usualNames) if (await once(`/${name}`)) return { names: [name] };
    return { names: [] };
  };
  const addressOf = (path: string): string => {
    const address = new URL(path.slice(1).split("/").map(encodeURIComponent).join("/"), folder);
    address.search = named.search; // a query that grants access also covers siblings
    return address.href;
  };
  /** Without the query, which may grant access. */
  const shownAddress = (path: string): string => addressOf(path).split("?")[0]!;
  return {
    fs: readOnlyFileSystem(once, shownAddress),
    path: `/${decodeURIComponent(named.pathname.slice(folder.pathname.length))}`,
  };
}

function addressIn(url: string | URL): URL {
  const parsed = URL.parse(String(url));
  if (parsed && /^https?:$/.test(parsed.protocol)) return parsed;
  throw new UsageError(`expected a URL that begins with http:// or https://, got "${url}"`);
}

async function openUrl(url: string, options: UrlOptions): Promise<Source | undefined> {
  const open = (isNeeded: boolean) => openRemote(url, options, isNeeded);
  if (options.cache) return await cachedSource(url, options.cache, open, options.signal);
  const remote = await open(true);
  return remote?.whole ? bytesSource(await wholeOf(remote, remote.whole, options.signal)) : remote?.source;
}

async function wholeOf(
  { url, size }: Remote,
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let read = 0;
  for await (const piece of chunksOf(url, body, signal)) {
    if (Math.max(size ?? 0, (read += piece.length)) > mostWhole) throw withoutRanges(url, size);
    pieces.push(piece);
  }
  return joined(pieces);
}

const withoutRanges = (url: string, size: number | undefined): FileError =>
  new FileError(
    `${url}: the server does not support range requests and sends the whole file${size === undefined ? "" : ` of ${formatBytes(size)}`}\n` +
      "  hint: pass a cache, into which the file is downloaded piece by piece, or use a server with range support (Accept-Ranges: bytes)",
  );
