/** A file on a web server, read by range requests: RFC 9110, section 14. */
import { FileError } from "../../compiler/index.ts";
import type { Source } from "./read-only-files.ts";

export interface RequestOptions {
  /** Aborts all requests. */
  readonly signal?: AbortSignal;
  /** Sent with each request, as for a private repository. A cross-origin server must allow each of them. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Minimum bytes of a request, so that the first one covers the header of a weights file. */
const leastBytes = 64 * 1024;

/** Milliseconds to wait before each retry, for files that are required. */
const patience = [300, 1000, 3000];

/** A file whose server supports ranges, or which the first response holds as a whole. */
export type Remote = {
  readonly url: string;
  /** Undefined when a server without ranges does not state it. */
  readonly size: number | undefined;
  /** Changes when the file does; undefined when the server exposes neither ETag nor Last-Modified. */
  readonly version: string | undefined;
} & ({ readonly source: Source; readonly whole?: undefined } | { readonly whole: ReadableStream<Uint8Array> });

/**
 * Requests the first bytes; undefined when the server has no such file. Throws FileError on failure: at once unless the
 * file `isNeeded`, else after some retries.
 */
export async function openRemote(url: string, options: RequestOptions, isNeeded = true): Promise<Remote | undefined> {
  const response = await ask(url, options, {
    headers: { range: `bytes=0-${leastBytes - 1}` },
    waits: isNeeded ? patience : [],
  });
  const version = versionOf(response);
  switch (response.status) {
    case 206: {
      const size = await sizeOf(url, options, response);
      requireRange(url, response, 0, size);
      const first = new Uint8Array(
        await response.arrayBuffer().catch((cause: Error) => interrupted(url, cause, options.signal)),
      );
      if (!response.headers.has("content-range") && first.length < size) await requireOffsets(url, options, first);
      return { url, size, version, source: new Ranges(url, options, size, version, first) };
    }
    case 200: {
      const length = response.headers.get("content-length");
      const size = length === null || response.headers.has("content-encoding") ? undefined : Number(length);
      return { url, size, version, whole: response.body! };
    }
    case 416: // an empty file has no satisfiable range
      return { url, size: 0, version, source: { size: 0, read: async () => 0 } };
    case 404:
    case 410:
      await response.body?.cancel();
      return undefined;
    default:
      throw refused(url, response);
  }
}

/** Concurrent requests for a file: browsers allow about six per server. */
const mostRequests = 4;

/**
 * Upper limit for merging reads into one request. A request succeeds or fails as a whole, so this bounds what is
 * retried.
 */
const joinedBytes = 8 * 2 ** 20;

/** A pending read. */
interface Read {
  readonly from: number;
  readonly into: Uint8Array;
  readonly done: () => void;
  readonly failed: (cause: unknown) => void;
}

const endOf = ({ from, into }: Read): number => from + into.length;

/**
 * Reads wait while the maximum number of requests is in flight; neighbouring reads are then merged into one request.
 */
class Ranges implements Source {
  readonly size: number;
  private readonly url: string;
  private readonly options: RequestOptions;
  private readonly version: string | undefined;
  /** The last small read, since small tensors lie side by side. */
  private last: { readonly from: number; readonly bytes: Uint8Array };
  private readonly waiting: Read[] = [];
  private requests = 0;

  constructor(url: string, options: RequestOptions, size: number, version: string | undefined, first: Uint8Array) {
    this.url = url;
    this.options = options;
    this.size = size;
    this.version = version;
    this.last = { from: 0, bytes: first };
  }

  async read(from: number, into: Uint8Array): Promise<number> {
    const part = into.subarray(0, Math.max(0, Math.min(this.size - from, into.length)));
    if (part.length === 0 || copied(this.last, from, part)) return part.length;
    await new Promise<void>((done, failed) => {
      this.waiting.push({ from, into: part, done, failed });
      this.next();
    });
    return part.length;
  }

  /** Starts requests for pending reads, up to the maximum. */
  private next(): void {
    while (this.requests < mostRequests && this.waiting.length > 0) void this.answer(this.neighbours());
  }

  private async answer(reads: readonly Read[]): Promise<void> {
    this.requests++;
    try {
      await this.fetchAgain(reads);
      for (const read of reads) read.done();
    } catch (cause) {
      for (const read of reads) read.failed(cause);
    } finally {
      this.requests--;
      this.next();
    }
  }

  /** Takes the pending read with the lowest offset, and those that follow it closely. */
  private neighbours(): Read[] {
    this.waiting.sort((a, b) => a.from - b.from);
    const { from } = this.waiting[0]!;
    let end = endOf(this.waiting[0]!);
    let count = 1;
    for (; count < this.waiting.length; count++) {
      const read = this.waiting[count]!;
      if (read.from > end + leastBytes || endOf(read) > from + joinedBytes) break;
      end = Math.max(end, endOf(read));
    }
    return this.waiting.splice(0, count);
  }

  /** Requests again what was interrupted. */
  private async fetchAgain(reads: readonly Read[]): Promise<void> {
    for (const wait of patience)
      try {
        return await this.fetchInto(reads);
      } catch (error) {
        if (!(error instanceof InterruptedResponse)) throw error;
        await pause(wait, this.options.signal);
      }
    await this.fetchInto(reads);
  }

  /** One request, whose bytes are copied as they arrive, so that a large tensor is never in memory twice. */
  private async fetchInto(reads: readonly Read[]): Promise<void> {
    const { from } = reads[0]!;
    const needed = reads.reduce((end, read) => Math.max(end, endOf(read)), 0) - from;
    const kept = needed < leastBytes ? new Uint8Array(Math.min(leastBytes, this.size - from)) : undefined;
    const length = kept?.length ?? needed;
    const headers = { range: `bytes=${from}-${from + length - 1}` };
    const response = await ask(this.url, this.options, { headers });
    if (response.status !== 206) throw refused(this.url, response);
    if (versionOf(response) !== this.version) throw changed(this.url);
    requireRange(this.url, response, from, this.size);
    let done = 0;
    for await (const piece of chunksOf(this.url, response.body!, this.options.signal)) {
      if (done + piece.length > length) throw cut(this.url, from, length, done + piece.length);
      kept?.set(piece, done);
      for (const read of reads) overlap({ from: from + done, bytes: piece }, read);
      done += piece.length;
    }
    if (done < length) throw cut(this.url, from, length, done);
    if (kept) this.last = { from, bytes: kept };
  }
}

/** Copies the part of a piece that belongs to a read. */
function overlap(piece: { readonly from: number; readonly bytes: Uint8Array }, { from, into }: Read): void {
  const [begin, end] = [Math.max(piece.from, from), Math.min(piece.from + piece.bytes.length, from + into.length)];
  if (begin < end) into.set(piece.bytes.subarray(begin - piece.from, end - piece.from), begin - from);
}

/** Copies bytes from the last read, if it holds all of them. */
function copied(last: { readonly from: number; readonly bytes: Uint8Array }, from: number, into: Uint8Array): boolean {
  const at = from - last.from;
  if (at < 0 || at + into.length > last.bytes.length) return false;
  into.set(last.bytes.subarray(at, at + into.length));
  return true;
}

/** A response that ended before its last byte, which may be asked for again. */
class InterruptedResponse extends FileError {
  constructor(url: string, cause: Error) {
    super(`${url}: the connection was lost while the file was read: ${cause.message}\n  hint: open it again`, {
      cause,
    });
  }
}

function interrupted(url: string, cause: Error, signal: AbortSignal | undefined): never {
  signal?.throwIfAborted(); // with whatever reason the caller gave
  throw new InterruptedResponse(url, cause);
}

/**
 * The chunks of a response to `url` as they arrive; not all browsers can iterate over a stream. Throws FileError if it
 * is interrupted, other than by its request's signal.
 */
export async function* chunksOf(
  url: string,
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: Error) => interrupted(url, cause, signal));
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** A request. */
interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds before each retry, when the server is busy or the network fails. */
  readonly waits?: readonly number[];
}

async function ask(url: string, { headers, signal }: RequestOptions, asked: Asked): Promise<Response> {
  const { method = "GET", waits = patience } = asked;
  const init = { method, headers: { ...headers, ...asked.headers }, ...(signal && { signal }) };
  for (let attempt = 0; ; attempt++) {
    const wait = waits[attempt];
    const answer = await fetch(url, init).catch((cause: unknown) => {
      signal?.throwIfAborted();
      if (wait === undefined) throw unreachable(url, cause);
      return undefined;
    });
    const isBusy = answer === undefined || answer.status === 429 || answer.status >= 500;
    if (answer && !(isBusy && wait !== undefined)) return answer;
    await answer?.body?.cancel();
    await pause(wait!, signal);
  }
}

/** Waits. Throws the signal's reason as soon as it is aborted. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const go = () => resolve();
  const timer = setTimeout(go, ms);
  signal?.addEventListener("abort", go, { once: true });
  if (signal?.aborted) resolve();
  try {
    await promise;
    signal?.throwIfAborted();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", go);
  }
}

/** The size of the whole file. A cross-origin server may hide it in the response, yet return it for HEAD. */
async function sizeOf(url: string, options: RequestOptions, response: Response): Promise<number> {
  const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (total !== undefined) return Number(total);
  const head = await ask(url, options, { method: "HEAD" });
  const length = head.ok ? head.headers.get("content-length") : null;
  if (length !== null) return Number(length);
  throw new FileError(
    `${url}: the server does not report the file's size\n` +
      "  hint: the server must expose Content-Range to other sites (Access-Control-Expose-Headers)",
  );
}

/** Throws FileError if a response says that it holds another range, or one of a file of another size. */
function requireRange(url: string, { headers }: Response, from: number, size: number): void {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  if (first === undefined) return; // hidden from a page of another site
  if (Number(first) !== from)
    throw new FileError(
      `${url}: bytes from offset ${from} on were requested, but the server sent those from ${first} on\n  hint: ${offsetsHint}`,
    );
  if (total !== "*" && Number(total) !== size) throw changed(url);
}

/** Bytes that are requested to see whether a server keeps to offsets. */
const probeBytes = 64;

/**
 * Throws FileError if the end of the first bytes, requested again, is other bytes. Where the server of another site
 * hides Content-Range from a page, nothing else would tell that it sends the beginning of the file each time.
 */
async function requireOffsets(url: string, options: RequestOptions, first: Uint8Array): Promise<void> {
  const from = Math.max(0, first.length - probeBytes);
  const response = await ask(url, options, { headers: { range: `bytes=${from}-${first.length - 1}` } });
  if (response.status !== 206) throw refused(url, response);
  const bytes = new Uint8Array(
    await response.arrayBuffer().catch((cause: Error) => interrupted(url, cause, options.signal)),
  );
  const isSame = bytes.length === first.length - from && bytes.every((byte, i) => byte === first[from + i]);
  if (!isSame)
    throw new FileError(
      `${url}: bytes from offset ${from} on were requested, but the server sent others\n  hint: ${offsetsHint}`,
    );
}

const offsetsHint = "use a server that supports range requests (RFC 9110, section 14)";

const versionOf = ({ headers }: Response): string | undefined =>
  headers.get("etag") ?? headers.get("last-modified") ?? undefined;

function refused(url: string, { status, statusText }: Response): FileError {
  const isClosed = status === 401 || status === 403;
  const hint = isClosed ? "log in, or send the required credentials as headers" : "check the address";
  return new FileError(`${url}: the server answered ${`${status} ${statusText}`.trim()}\n  hint: ${hint}`);
}

const unreachable = (url: string, cause: unknown): FileError =>
  new FileError(
    `${url} cannot be reached: ${cause instanceof Error ? cause.message : cause}\n` +
      "  hint: check the address and the network; a server of another site must allow this one (Access-Control-Allow-Origin)",
    { cause },
  );

const changed = (url: string): FileError =>
  new FileError(`${url} changed on the server while it was being read\n  hint: open it again`);

const cut = (url: string, from: number, wanted: number, got: number): FileError =>
  new FileError(`${url}: expected ${wanted} bytes from offset ${from}, got ${got}\n  hint: open it again`);
