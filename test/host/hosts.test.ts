import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { posix } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, expectTypeOf, test } from "vitest";
import { errorCode, type FileSystem } from "../../runtime/file-system.ts";
import * as browser from "../../runtime/host/browser.ts";
import type { Host } from "../../runtime/host/host.ts";
import { memoryFileSystem } from "../../runtime/host/memory-file-system.ts";
import * as node from "../../runtime/host/node-host.ts";

test("both hosts have all that the runtime asks of one", () => {
  expectTypeOf<typeof node>().toExtend<Host>();
  expectTypeOf<typeof browser>().toExtend<Host>();
  for (const name of Object.keys(node)) expect(browser).toHaveProperty(name);
});

test("CRC-32 in a page is zlib's, whole and in parts", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (bytes, text) => {
      expect(browser.crc32(text, browser.crc32(bytes))).toBe(zlibCrc32(text, zlibCrc32(bytes)));
    }),
  );
});

describe("paths in a page are those of node:path/posix", () => {
  const path = fc.stringMatching(/^[a./]{0,12}$/);
  test("of one path", () => {
    fc.assert(
      fc.property(path, (one) => {
        const plain = posix.normalize(one); // of "a//b", Node's dirname is "a/"
        expect(browser.dirname(plain)).toBe(posix.dirname(plain));
        expect(browser.basename(one)).toBe(posix.basename(one));
        expect(browser.isAbsolute(one)).toBe(posix.isAbsolute(one));
        expect(browser.resolve(one)).toBe(posix.resolve("/", one));
      }),
    );
  });
  test("of several", () => {
    const withoutEnd = (joined: string) => (joined === "/" ? joined : joined.replace(/\/+$/, ""));
    fc.assert(
      fc.property(path, path, (one, other) => {
        expect(browser.join(one, other)).toBe(withoutEnd(posix.join(one, other)));
        expect(browser.resolve(one, other)).toBe(posix.resolve("/", one, other));
        expect(browser.relative(one, other)).toBe(posix.relative(posix.resolve("/", one), posix.resolve("/", other)));
      }),
    );
  });
});

describe("files in memory behave as those of the disk", () => {
  const disk = mkdtempSync(`${tmpdir()}/heddle-host-`);
  afterAll(() => rmSync(disk, { recursive: true, force: true }));

  /** What a deed gives, or the code of its fault. */
  const outcome = async (deed: () => Promise<unknown>) => {
    try {
      return (await deed()) ?? "done";
    } catch (error) {
      return errorCode(error) ?? `no code: ${error}`;
    }
  };
  const bytes = (text: string) => new TextEncoder().encode(text);

  const write =
    (fs: FileSystem, path: string, text: string, at: number | null = null) =>
    async () => {
      const file = await fs.open(path, at === null ? "wx" : "r+");
      await file.write(bytes(text), 0, bytes(text).length, at);
      await file.close();
    };
  const cut = (fs: FileSystem, path: string, length: number) => async () => {
    const file = await fs.open(path, "r+");
    await file.truncate(length);
    await file.close();
  };
  const read = (fs: FileSystem, path: string) => async () => {
    const file = await fs.open(path, "r");
    const [head, rest] = [new Uint8Array(3), new Uint8Array(20)];
    const first = await file.read(head, 0, 3, null);
    const then = await file.read(rest, 1, 10, null);
    const again = await file.read(rest, 12, 2, 1);
    const end = await file.read(rest, 0, 5, 1000);
    await file.close();
    return [...head, ...rest, ...[first, then, again, end].map(({ bytesRead }) => bytesRead)].join();
  };
  const stat = (fs: FileSystem, path: string) => async () => {
    const info = await fs.stat(path);
    return info.isFile() ? `file of ${info.size}` : info.isDirectory() ? "folder" : "neither";
  };

  const deeds = (fs: FileSystem, root: string): readonly (() => Promise<unknown>)[] => {
    const at = (path: string) => `${root}/${path}`;
    const names = (path: string) => async () => (await fs.readdir(at(path))).sort();
    return [
      () => fs.mkdir(at("a/b/c")),
      () => fs.mkdir(at("a/b")),
      write(fs, at("a/x"), "hello world"),
      write(fs, at("a/x"), "again"),
      write(fs, at("none/x"), "nowhere"),
      write(fs, at("a"), "a folder"),
      () => fs.mkdir(at("a/x")),
      () => fs.mkdir(at("a/x/y")),
      read(fs, at("a/x")),
      write(fs, at("a/x"), "HELLO", 3),
      write(fs, at("a/x"), "gap", 15),
      read(fs, at("a/x")),
      cut(fs, at("a/x"), 4),
      cut(fs, at("a/x"), 8),
      read(fs, at("a/x")),
      stat(fs, at("a/x")),
      stat(fs, at("a/./b/../b")),
      stat(fs, at("gone")),
      names("a"),
      names("a/x"),
      names("gone"),
      () => fs.rename(at("a/x"), at("a/b/y")),
      () => fs.rename(at("a/x"), at("a/z")),
      () => fs.rename(at("a/b"), at("a/b/c/d")),
      () => fs.rename(at("a/b/y"), at("a/b/c")),
      () => fs.rename(at("a/b"), at("moved")),
      () => fs.mkdir(at("full/one")),
      () => fs.rename(at("moved"), at("full")),
      names("moved"),
      read(fs, at("moved/y")),
      () => fs.remove(at("moved")),
      () => fs.remove(at("moved")),
      names("."),
      () => fs.syncFolder(at("a")),
      async () => (await fs.freeBytes(at("a"))) > 0,
    ];
  };

  test("deed by deed", async () => {
    const memory = memoryFileSystem();
    await memory.mkdir("/run");
    const [there, here] = [deeds(node.fileSystem, disk), deeds(memory, "/run")];
    for (const [i, deed] of here.entries()) expect([i, await outcome(deed)]).toEqual([i, await outcome(there[i]!)]);
  });
});
