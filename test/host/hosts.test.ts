import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { posix } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, expectTypeOf, test } from "vitest";
import * as browser from "../../runtime/host/browser.ts";
import type { Host } from "../../runtime/host/host.ts";
import { memoryFileSystem } from "../../runtime/host/memory-file-system.ts";
import * as node from "../../runtime/host/node-host.ts";
import { deeds, outcome } from "./deeds.ts";

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

  test("deed by deed", async () => {
    const memory = memoryFileSystem();
    await memory.mkdir("/run");
    const [there, here] = [deeds(node.fileSystem, disk), deeds(memory, "/run")];
    for (const [i, deed] of here.entries()) expect([i, await outcome(deed)]).toEqual([i, await outcome(there[i]!)]);
  });
});
