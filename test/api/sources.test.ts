/** The package reads weights from all that it calls a source. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, expect, test, vi } from "vitest";
import {
  blobFileSystem,
  hostTensor,
  load,
  picture,
  type Source,
  safetensorsBytes,
  tokenizer,
  urlFiles,
} from "../../api/index.ts";
import { learnTokenizer } from "../../data/bpe.ts";
import { fileSystem, memoryFileSystem } from "../../runtime/index.ts";
import { serve } from "../../scripts/browser/serve.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-sources-"));
afterAll(() => rmSync(folder, { recursive: true }));

const weight = hostTensor("f32", [{ name: "i", size: 3 }], [1, -2, 0.5]);

async function values(source: Source): Promise<number[]> {
  const loaded = await load(source);
  const { data } = await loaded.read("w");
  await loaded.dispose();
  return [...data];
}

test("a path, bytes, a blob, a file, a folder of files, a URL, and one that is kept", async () => {
  const bytes = new Uint8Array(await safetensorsBytes(new Map([["w", weight]])));
  const path = join(folder, "model.safetensors");
  writeFileSync(path, bytes);
  const server = await serve(new Map([["a/model.safetensors", bytes]]));
  const url = new URL("a/model.safetensors", server.url);
  const file = new File([bytes], "w.safetensors");
  const cache = { fs: memoryFileSystem(), folder: "/cache" };
  const sources: readonly Source[] = [
    path,
    pathToFileURL(path),
    bytes,
    new Blob([bytes]),
    file,
    { path: "/", fs: blobFileSystem(new Map([["model.safetensors", file]])) },
    url,
    new URL("a/", server.url),
    urlFiles(url, { cache }),
  ];
  for (const source of sources) expect(await values(source)).toEqual([1, -2, 0.5]);
  // The query may be a secret.
  const missing = new URL("a/none.safetensors?token=secret", server.url);
  const shown = missing.href.split("?")[0];
  await expect(values(missing)).rejects.toThrow(`${shown}: the server has no such file\n  hint: check the address`);
  await server.close();
  expect(await values(urlFiles(url, { cache }))).toEqual([1, -2, 0.5]);
});

test("several that read a URL for the first time share one cache: nobody removes or downloads what another has", async () => {
  const bytes = new Uint8Array(await safetensorsBytes(new Map([["w", weight]])));
  const server = await serve(new Map([["w.safetensors", bytes]]));
  const place = join(folder, "shared-cache");
  const read: number[] = [];
  const cache = { fs: fileSystem, folder: place, onRead: (done: number) => read.push(done) };
  const url = new URL("w.safetensors", server.url);
  const all = await Promise.all(Array.from({ length: 5 }, () => values(urlFiles(url, { cache }))));
  expect(all).toEqual(all.map(() => [1, -2, 0.5]));
  expect(read).toEqual([bytes.length]);
  const leaving = new AbortController();
  const fetching = vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
    leaving.abort(new Error("the user left"));
    throw leaving.signal.reason;
  });
  vi.stubGlobal("navigator", undefined); // as in a page of a site that is not secure, which has no locks
  const left = values(urlFiles(url, { cache, signal: leaving.signal }));
  await expect(left).rejects.toThrow(/^the user left$/); // not what the cache has, as without a network
  vi.unstubAllGlobals();
  fetching.mockRestore();
  await server.close();
});

test("reads of a URL that wait together become few requests, each read with its own bytes", async () => {
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 13);
  const server = await serve(new Map([["w.bin", bytes]]));
  const { fs, path } = urlFiles(new URL("w.bin", server.url));
  const file = await fs.open(path, "r");
  const neighbours = Array.from({ length: 200 }, (_, i) => [100_000 + 997 * i, i % 7 === 0 ? 3000 : 990] as const);
  const places = [...neighbours, [2_000_000, 500_000], [5, 9], [2_999_990, 100], [3_000_000, 4]] as const;
  const buffers = places.map(([, length]) => new Uint8Array(length));
  const read = await Promise.all(
    places.map(([from, length], i) => file.read(buffers[i]!, 0, length, from).then(({ bytesRead }) => bytesRead)),
  );
  for (const [i, [from, length]] of places.entries()) {
    expect(read[i]).toBe(Math.max(0, Math.min(length, bytes.length - from)));
    expect(Buffer.compare(buffers[i]!.subarray(0, read[i]), bytes.subarray(from, from + length))).toBe(0);
  }
  // One when it is opened, four at once, then the neighbours that waited, the large one and the end.
  expect(server.requests.length).toBe(1 + 4 + 3);
  server.add(new Map([["w.bin", bytes.subarray(0, 2_100_000)]]));
  const late = [2_000_000, 2_200_000, 2_600_000].map((from) => file.read(new Uint8Array(300_000), 0, 300_000, from));
  for (const { status } of await Promise.allSettled(late)) expect(status).toBe("rejected");
  await server.close();
});

test("pictures and tokenizers come from the same sources", async () => {
  const png = new Uint8Array(
    await sharp({ create: { width: 9, height: 7, channels: 3, background: "#369" } })
      .png()
      .toBuffer(),
  );
  const json = new TextEncoder().encode(JSON.stringify(learnTokenizer(["red apple", "green apple"], 280)));
  const { vocabularySize } = await tokenizer(json);
  const server = await serve(
    new Map([
      ["x.png", png],
      ["tokenizer.json", json],
    ]),
  );
  const known = await picture(png, { size: 4 });
  for (const source of [new Blob([png]), new File([png], "x.png"), new URL("x.png", server.url)])
    expect(await picture(source, { size: 4 })).toEqual(known);
  for (const source of [new Blob([json]), new URL("tokenizer.json", server.url)])
    expect((await tokenizer(source)).vocabularySize).toBe(vocabularySize);
  await server.close();
});

test("what is no source is refused", async () => {
  await expect(load(3 as unknown as Source)).rejects.toThrow("a source must be a path, a File, a Blob, a URL");
  await expect(load(pathToFileURL(join(folder, "none")))).rejects.toThrow("no such file");
});
