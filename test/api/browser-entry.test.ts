import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as inNode from "../../api/index.ts";
import { bundleModule, type Site } from "../../scripts/browser/bundle.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-page-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bytes of all chunks of a bundle, gzipped one by one as a server sends them. */
const gzipped = (site: Site): number =>
  [...site].filter(([name]) => name.endsWith(".js")).reduce((n, [, code]) => n + gzipSync(code).length, 0);

type Page = typeof import("../../api/browser.ts");

let site: Site;
/** The files of which something is in the bundle. */
const bundled: string[] = [];
const listing: Plugin = {
  name: "listing",
  generateBundle: (_, files) => {
    for (const file of Object.values(files))
      for (const [path, { renderedLength }] of Object.entries(file.type === "chunk" ? file.modules : {}))
        if (renderedLength > 0) bundled.push(path.replaceAll("\\", "/"));
  },
};
beforeAll(async () => {
  // It throws where the entry reaches a Node module.
  site = await bundleModule("api/browser.ts", { minify: true, plugins: [listing] });
});

test("the whole runtime with its compiler is under 400 kB gzipped", () => {
  expect(gzipped(site)).toBeLessThan(400_000);
});

test("leaves out what reads ONNX, which has an entry of its own, and what only several ranks need", () => {
  expect(bundled.filter((path) => /backends\/onnx\/emit\//.test(path))).not.toEqual([]);
  const only =
    /backends\/onnx\/import\/(?!rounding)|runtime\/(sharding|offload)\/|runtime\/training\/(in-ranks|between)\./;
  expect(bundled.filter((path) => only.test(path))).toEqual([]);
});

test("has no URL relative to a module, which a bundler would take for a file to include", () => {
  const urls = [...site].flatMap(([, code]) => String(code).match(/new URL\([^()]*import\.meta\.url/g) ?? []);
  expect(urls).toEqual([]);
});

test("a page runs a compiled bundle with under 30 kB gzipped", () => {
  expect(gzipSync(readFileSync("backends/webgpu/bundle/run.js")).length).toBeLessThan(30_000);
});

describe("what the bundle is", () => {
  let page: Page;
  beforeAll(async () => {
    for (const [name, content] of site) writeFileSync(join(folder, name.replaceAll("/", "-")), content);
    page = (await import(pathToFileURL(join(folder, "page.js")).href)) as Page;
  });

  test("has all that the package has in Node", () => {
    const names = Object.keys(inNode);
    expect(names.filter((name) => !(name in page))).toEqual([]);
    expect(Object.keys(page).filter((name) => !names.includes(name))).toEqual([
      "folderFileSystem",
      "memoryFileSystem",
      "opfsFileSystem",
      "useFileSystem",
    ]);
  });

  test("trains, stops and goes on in memory, to the losses and weights of Node", async () => {
    const inTwo = async (h: Page | typeof inNode, at: string) => {
      const none = await lineFit(h, at, AbortSignal.abort());
      expect([none.stopped, none.steps]).toEqual([true, 0]);
      const ends = new AbortController();
      const begun = await lineFit(h, at, ends.signal, () => ends.abort());
      expect([begun.stopped, begun.steps]).toEqual([true, 1]);
      return await lineFit(h, at);
    };
    const [all, there] = [await inTwo(page, "/runs/line"), await inTwo(inNode, join(folder, "line"))];
    expect(all.losses).toEqual(there.losses);
    expect(all.losses.at(-1)!.loss).toBeLessThan(all.losses[0]!.loss);
    expect([...all.weights]).toEqual([...there.weights]);
    expect(existsSync("/runs/line")).toBe(false);
  });
});

/** A line through points, fitted by either package. */
async function lineFit(h: Page | typeof inNode, folder: string, signal?: AbortSignal, onBatch = () => {}) {
  const point = h.axis("point", 5);
  const stage = h.defineStage({
    name: "line",
    optimizer: { rate: h.constantRate(0.1) },
    loss: (p) => {
      const [x, y] = [h.input("x", "f32", [point]), h.input("y", "f32", [point])];
      const off = h.sub(h.add(h.mul(x, p.parameter("slope", [], h.zeros)), p.parameter("height", [], h.zeros)), y);
      return { loss: h.mean(h.mul(off, off), point) };
    },
  });
  const tensor = (data: readonly number[]) =>
    h.hostTensor("f32", [{ name: "point", size: 5 }], Float32Array.from(data));
  const xs = [-2, -1, 0, 1, 2];
  const device = await h.openDevice("reference");
  return await h.train(
    {
      stage,
      steps: 6,
      batch: (step) => {
        onBatch();
        return { x: tensor(xs.map((x) => x + step / 10)), y: tensor(xs.map((x) => 3 * (x + step / 10) + 1)) };
      },
      checkpointEvery: 2,
    },
    { device, folder, ...(signal && { signal }) },
  );
}
