/** The package reads weights from all that it calls a source. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
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
import { memoryFileSystem } from "../../runtime/index.ts";
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
  await server.close();
  expect(await values(urlFiles(url, { cache }))).toEqual([1, -2, 0.5]);
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
  await expect(load(3 as unknown as Source)).rejects.toThrow("a source is a path, a File, a Blob, a URL");
  await expect(load(pathToFileURL(join(folder, "none")))).rejects.toThrow("no such file");
});
