/** Files in real Chromium: OPFS behaves as a disk does, and weights are read from all that a page is given. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { hostTensor } from "../../compiler/index.ts";
import { fileSystem } from "../../runtime/host/node-host.ts";
import { tensorToWrite, writeModel, writeSafetensors } from "../../runtime/index.ts";
import type { Files, LargeFile } from "../../scripts/browser/serve.ts";
import { deeds, outcome } from "../host/deeds.ts";
import { browserTest } from "./support.ts";

type Page = typeof import("./pages/files.ts");

/** What a browser says by itself of an answer that a page knows how to take. */
const absent = /^Failed to load resource/;

const disk = mkdtempSync(join(tmpdir(), "heddle-files-"));
afterAll(() => rmSync(disk, { recursive: true, force: true }));

browserTest("OPFS behaves as a disk, deed by deed", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("files");
  const inPage = await call("outcomes");
  await fileSystem.mkdir(join(disk, "deeds"));
  for (const [i, deed] of deeds(fileSystem, join(disk, "deeds")).entries())
    expect([i, inPage[i]]).toEqual([i, await outcome(deed)]);
});

browserTest(
  "in OPFS, what was begun of a folder's move is ended, and a file is seen as it was synced",
  async ({ chromium }) => {
    const { call } = await chromium.open<Page>("files");
    expect(await call("interruptedMove")).toEqual({
      "/": ["new"],
      "/new": ["a", "b", "in"],
      "/new/in": ["c"],
    });
    expect(await call("sizesSeen")).toEqual([0, 5, 5, 10]);
  },
);

const values = Float32Array.from({ length: 300 }, (_, i) => Math.sin(i));
const tensors = [
  tensorToWrite("a", hostTensor("f32", [{ name: "i", size: 300 }], values)),
  tensorToWrite("b", hostTensor("i32", [{ name: "i", size: 3 }], [1, 2, 3])),
];
const file = join(disk, "weights", "model.safetensors");
const whole = { names: ["a", "b"], values: [...values] };

/** The files of a folder, as a server has them. */
const filesOf = (folder: string): Files =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

beforeAll(async () => {
  await fileSystem.mkdir(join(disk, "weights"));
  await fileSystem.mkdir(join(disk, "shards"));
  await writeSafetensors(file, tensors);
  await writeModel(join(disk, "shards"), tensors, { maxShardBytes: 1205 });
});

browserTest(
  "weights are read from a blob, a chosen file, OPFS, a URL and the shards beside it",
  async ({ chromium }) => {
    const { page, call } = await chromium.open<Page>("files", { allow: absent });
    const { url } = await chromium.serve(filesOf(join(disk, "weights")));
    const name = `${url}model.safetensors`;
    expect(await call("fromBlob", name, "a")).toEqual(whole);
    await page.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { type: "file" })));
    await page.setInputFiles("input", file);
    expect(await call("fromInput", "a")).toEqual(whole);
    expect(await call("fromOpfs", name, "a")).toEqual(whole);
    expect(await call("fromUrl", name, "a")).toMatchObject(whole);
    const shards = filesOf(join(disk, "shards"));
    expect(shards.size).toBe(3);
    const folder = await chromium.serve(shards);
    expect(await call("fromUrl", folder.url, "a")).toMatchObject(whole);
  },
);

/** Twelve gigabytes of weights, of which only header and end are anything. */
function largeFile(): LargeFile {
  const many = 12e9;
  const header = JSON.stringify({
    large: { dtype: "U8", shape: [many], data_offsets: [0, many] },
    a: { dtype: "I32", shape: [2], data_offsets: [many, many + 8] },
  }).padEnd(248);
  const head = Buffer.alloc(256);
  head.writeBigUInt64LE(248n);
  head.write(header, 8);
  const end = Buffer.from(Int32Array.of(17, -5).buffer);
  const length = 256 + many + 8;
  return {
    length,
    subarray: (from, to) => {
      const bytes = new Uint8Array(to - from);
      bytes.set(head.subarray(from, to));
      for (let at = Math.max(from, length - 8); at < to; at++) bytes[at - from] = end[at - length + 8]!;
      return bytes;
    },
  };
}

browserTest("of a URL only the ranges that are read are asked for", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("files");
  const large = await chromium.serve(new Map([["w.safetensors", largeFile()]]));
  const name = `${large.url}w.safetensors`;
  expect(await call("fromUrl", name, "a")).toEqual({ names: ["a", "large"], values: [17, -5], told: [] });
  expect(large.requests.reduce((sum, r) => sum + r.bytes, 0)).toBeLessThan(200_000);
});

browserTest("what was read of a URL is kept in OPFS, and read again without the server", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("files", { allow: absent });
  const served = await chromium.serve(filesOf(join(disk, "weights")));
  const name = `${served.url}model.safetensors`;
  const { length } = readFileSync(file);
  expect(await call("fromUrl", name, "a", true)).toEqual({ ...whole, told: [[length, length]] });
  expect(await call("fromUrl", name, "a", true)).toEqual({ ...whole, told: [] });
  await served.close();
  expect(await call("fromUrl", name, "b", true)).toEqual({ names: whole.names, values: [1, 2, 3], told: [] });
});

browserTest("from a server without ranges small files are read whole, and large ones refused", async ({ chromium }) => {
  const { call } = await chromium.open<Page>("files", { allow: absent });
  const files = new Map<string, Uint8Array | LargeFile>([
    ["small.safetensors", readFileSync(file)],
    ["large.safetensors", largeFile()],
  ]);
  const { url } = await chromium.serve(files, { ranges: false });
  expect(await call("fromUrl", `${url}small.safetensors`, "a")).toMatchObject(whole);
  const { length } = readFileSync(file);
  expect(await call("fromUrl", `${url}small.safetensors`, "a", true)).toEqual({ ...whole, told: [[length, length]] });
  expect(await call("fromUrl", `${url}small.safetensors`, "a", true)).toEqual({ ...whole, told: [] });
  expect(await call("refusal", `${url}large.safetensors`)).toMatch(
    /^FileError: http.*large.safetensors: the server does not support range requests and sends the whole file of 11.2 GiB\n {2}hint: pass a cache/,
  );
  expect(await call("refusal", `${url}none.safetensors`)).toMatch(
    /^FileError: http.*none.safetensors: the server has no such file/,
  );
});
