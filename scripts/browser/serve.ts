/** A server of pages and files on this machine, as static hosts are: types, ranges, and a log of what was asked for. */
import { existsSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export type Served = {
  /** With a trailing "/". */
  readonly url: string;
  /** Each request in turn: path, the range that was asked for, and how many bytes went out. */
  readonly requests: readonly { readonly path: string; readonly range?: string; readonly bytes: number }[];
  /** Adds files, or replaces them. */
  add(files: Files): void;
  close(): Promise<void>;
};

export type ServeOptions = {
  /** Answers requests for parts of a file; without it the whole file is sent. Default true. */
  readonly ranges?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** Looks up what is not among the files given. */
  readonly files?: (path: string) => Uint8Array | undefined;
};

/** Files of folders of this machine, each below a path of the site; "" is its root. Nothing outside them is served. */
export function folderFiles(folders: ReadonlyMap<string, string>): (path: string) => Uint8Array | undefined {
  return (path) => {
    for (const [at, folder] of folders) {
      const below = at === "" ? path : path.startsWith(`${at}/`) ? path.slice(at.length + 1) : undefined;
      const file = below === undefined ? undefined : join(folder, below);
      if (file?.startsWith(folder) && existsSync(file)) return readFileSync(file);
    }
    return undefined;
  };
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};

/** A file that need not be in memory as a whole. */
export type LargeFile = { readonly length: number; readonly subarray: (from: number, to: number) => Uint8Array };

/** Content by path below the root, without a leading "/". */
export type Files = ReadonlyMap<string, string | Uint8Array | LargeFile>;

/** Serves files from memory on a free port of localhost. */
export async function serve(site: Files, options: ServeOptions = {}): Promise<Served> {
  const files = new Map(site);
  const requests: { path: string; range?: string; bytes: number }[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname).slice(1);
    const name = path === "" || path.endsWith("/") ? `${path}index.html` : path;
    const bytes = answer(request, response, name, files.get(name) ?? options.files?.(name), options);
    const { range } = request.headers;
    requests.push({ path, bytes, ...(range !== undefined && { range }) });
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    requests,
    add: (more) => {
      for (const [name, content] of more) files.set(name, content);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers one request and says how many bytes of content went out. */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  content: string | Uint8Array | LargeFile | undefined,
  { ranges = true, headers = {} }: ServeOptions,
): number {
  for (const [key, value] of Object.entries(headers)) response.setHeader(key, value);
  if (content === undefined) {
    response.writeHead(404).end();
    return 0;
  }
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  response.setHeader("content-type", types[extname(name)] ?? "application/octet-stream");
  if (ranges) response.setHeader("accept-ranges", "bytes");
  const asked = ranges ? rangeOf(request.headers.range, bytes.length) : undefined;
  if (asked === "beyond") {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return 0;
  }
  const [from, to] = asked ?? [0, bytes.length];
  if (asked) response.setHeader("content-range", `bytes ${from}-${to - 1}/${bytes.length}`);
  response.setHeader("content-length", to - from);
  response.writeHead(asked ? 206 : 200);
  if (request.method === "HEAD") {
    response.end();
    return 0;
  }
  // Whoever has seen enough closes the connection, which is no fault of the server's.
  pipeline(Readable.from(piecesOf(bytes, from, to)), response).catch(() => undefined);
  return to - from;
}

const pieceBytes = 2 ** 20;

function* piecesOf(bytes: LargeFile, from: number, to: number): Generator<Uint8Array> {
  for (let at = from; at < to; at += pieceBytes) yield bytes.subarray(at, Math.min(to, at + pieceBytes));
}

/** First byte and the one after the last, of a header with one range. RFC 9110, section 14.1.2. */
function rangeOf(header: string | undefined, length: number): readonly [number, number] | "beyond" | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first === "") return [Math.max(0, length - Number(last)), length];
  if (Number(first) >= length) return "beyond";
  return [Number(first), last === "" ? length : Math.min(length, Number(last) + 1)];
}
