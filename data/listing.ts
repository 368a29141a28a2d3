/**
 * A compact fingerprint of the files that hold the data, small enough for every checkpoint, that can still name what
 * has changed.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { isRecord } from "./files.ts";

/** A data file; -1 bytes if its size cannot be read. */
export interface ListedFile {
  readonly name: string;
  readonly bytes: number;
}

/** Consecutive files: the first one's name, their number, their bytes, and a CRC over names and sizes. */
type Block = readonly [first: string, files: number, bytes: number, sum: number];

/** Plain JSON. Listings with equal digests have the same files in the same order. */
export interface Listing {
  readonly digest: string;
  readonly files: number;
  readonly bytes: number;
  /** A block begins at each file whose name's CRC is a multiple of this: with 1, every file is a block. */
  readonly every: number;
  readonly blocks: readonly Block[];
}

/** Up to this many files are a block each; beyond that, blocks grow so that there are about as many. */
const mostBlocks = 8192;

/**
 * The listing of files in reading order. Block boundaries depend on names only, so that adding or removing a file
 * changes only its own block.
 */
export function listingOf(files: readonly ListedFile[], every = blockSize(files.length)): Listing {
  const digest = createHash("sha256");
  const blocks: [string, number, number, number][] = [];
  for (const { name, bytes } of files) {
    const line = `${name}\0${bytes}\n`;
    digest.update(line);
    if (blocks.length === 0 || crc32(name) % every === 0) blocks.push([name, 0, 0, 0]);
    const block = blocks.at(-1)!;
    block[1] += 1;
    block[2] += bytes;
    block[3] = crc32(line, block[3]);
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { digest: digest.digest("hex"), files: files.length, bytes, every, blocks };
}

const blockSize = (files: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, files / mostBlocks)));

/** Files named per kind of change. */
const named = 3;

/**
 * A human-readable description of how `files` differ from a listing: "1 file added: b.tar; 1 file removed: x.tar";
 * undefined if they do not.
 */
export function listingChange(was: Listing, files: readonly ListedFile[]): string | undefined {
  const now = listingOf(files, was.every);
  if (now.digest === was.digest) return undefined;
  const [before, after] = [was, now].map(({ blocks }) => new Map(blocks.map((block) => [block[0], block])));
  const more = now.blocks.filter(([first]) => !before!.has(first));
  const gone = was.blocks.filter(([first]) => !after!.has(first));
  const other = was.blocks.filter((block) => after!.has(block[0]) && isOther(block, after!.get(block[0])!));
  if (more.length + gone.length + other.length === 0) return "the same files are in another order";
  const total = `${counted(was.files, "file")} with ${was.bytes} bytes before, ${now.files} with ${now.bytes} now`;
  if (was.every > 1) {
    // A block whose first file changed shows up in the block that it is now part of.
    const places = [...other, ...gone, ...more].map(
      ([first, count]) => `${count} starting at ${JSON.stringify(first)}`,
    );
    return `${total}; the differences are among ${listed(places)}`;
  }
  const sizes = ([first, , bytes]: Block) =>
    `${JSON.stringify(first)}, ${bytes} bytes before, ${sizeIn(after!, first)} now`;
  return [
    total,
    ...(more.length > 0 ? [`${counted(more.length, "file")} added: ${listed(more.map(nameOf))}`] : []),
    ...(gone.length > 0 ? [`${counted(gone.length, "file")} removed: ${listed(gone.map(nameOf))}`] : []),
    ...(other.length > 0 ? [`${counted(other.length, "file")} with another size: ${listed(other.map(sizes))}`] : []),
  ].join("; ");
}

const isOther = (a: Block, b: Block): boolean => a.some((part, i) => part !== b[i]);
const nameOf = ([first]: Block): string => JSON.stringify(first);
const sizeIn = (blocks: ReadonlyMap<string, Block>, name: string): number => blocks.get(name)![2];
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

function listed(texts: readonly string[]): string {
  const left = texts.length - named;
  return [...texts.slice(0, named), ...(left > 0 ? [`and ${left} more`] : [])].join(", ");
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value);

/** Whether a value from a file is a valid listing. */
export function isListing(value: unknown): value is Listing {
  if (!isRecord(value) || typeof value.digest !== "string" || !Array.isArray(value.blocks)) return false;
  if (![value.files, value.bytes, value.every].every(isCount) || (value.every as number) < 1) return false;
  return value.blocks.every(
    (block) => Array.isArray(block) && typeof block[0] === "string" && [1, 2, 3].every((i) => isCount(block[i])),
  );
}
