/** heddle data: what it prints, and how it ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { heddle, modelFile, scratch, writePicture } from "./support.ts";

const folder = scratch("data");
afterAll(() => folder.remove());
const at = folder.at("captions");

beforeAll(async () => {
  mkdirSync(at);
  for (const [i, caption] of ["A brown dog runs", "IMG_2034", "一只狗在草地上奔跑", "A car"].entries()) {
    await writePicture(`${at}/${i}.png`, 50 * i, 9, 200 - 40 * i);
    writeFileSync(`${at}/${i}.txt`, caption);
  }
  writeFileSync(`${at}/4.jpg`, "no picture");
  writeFileSync(`${at}/4.txt`, "a caption");
});

const told = ({ out, ...rest }: { readonly out: string; readonly status: number }) => ({
  status: rest.status,
  out: out.replaceAll(folder.at(), "F"),
});

it("scan counts what there is and what is broken", async () => {
  expect(told(await heddle("data", "scan", at))).toMatchInlineSnapshot(`
    {
      "out": "  data       F/captions: 1 folder
      samples    4
      images     4, png 4; shorter side 20 to 20, median 20 pixels
      texts      4, 1 to 6, median 2 words
      languages  Latin 3, Han 1
      broken 1, by reason, each with an example
        1  image "…" cannot be read: Input file contains unsupported image format; F/captions/4.jpg
    ",
      "status": 0,
    }
  `);
});

it("filter counts what is dropped by reason, for people and programs", async () => {
  const args = ["data", "filter", at, "--filter", "no=placeholder", "--filter", "caption.words>=3"];
  expect(told(await heddle(...args))).toMatchInlineSnapshot(`
    {
      "out": "  kept  2
      dropped 2, by reason, each with an example
        1  no=placeholder; F/captions/1.png
        1  caption.words>=3; F/captions/3.png
      broken 1, by reason, each with an example
        1  image "…" cannot be read: Input file contains unsupported image format; F/captions/4.jpg
    ",
      "status": 0,
    }
  `);
  const { out } = await heddle(...args, "--json");
  expect(JSON.parse(out)).toMatchObject({
    kept: 2,
    dropped: [
      { reason: "no=placeholder", count: 1, example: `${at}/1.png` },
      { reason: "caption.words>=3", count: 1, example: `${at}/3.png` },
    ],
    broken: [{ count: 1, example: `${at}/4.jpg` }],
  });
});

it("write writes shards that scan reads, once", async () => {
  const out = folder.at("shards");
  const written = await heddle("data", "write", at, "--filter", "no=placeholder", "--out", out, "--shard-size", "4kB");
  expect(told(written)).toMatchInlineSnapshot(`
    {
      "out": "  folder   F/shards
      written  3 samples, 3 shards, 12.3 kB
      dropped 1, by reason, each with an example
        1  no=placeholder; F/captions/1.png
      broken 1, by reason, each with an example
        1  image "…" cannot be read: Input file contains unsupported image format; F/captions/4.jpg
    ",
      "status": 0,
    }
  `);
  expect(readdirSync(out)).toEqual(["000000.tar", "000001.tar", "000002.tar"]);
  expect(JSON.parse((await heddle("data", "scan", out, "--json")).out)).toMatchObject({ samples: 3, broken: [] });
  const again = await heddle("data", "write", at, "--out", out);
  expect(again.status).toBe(1);
  expect(again.err).toMatch(/already exists/);
});

it("says what is wrong with what was asked for", async () => {
  const said = async (...args: readonly string[]) => {
    const { status, err } = await heddle("data", ...args);
    return `${status} ${err.trim().replaceAll(folder.at(), "F")}`;
  };
  expect(await said("scan", folder.at("{0..9}.tar"))).toBe(
    "1 FileError: F/{0..9}.tar matches no file: F/0.tar does not exist",
  );
  expect(await said("scan", at, "--kind", "pictures")).toMatch(
    /^1 UsageError: --kind must be one of pairs, conversations/,
  );
  expect(await said("scan", at, "--kind", "labels")).toMatch(
    /^1 FileError: .* has no labels: it contains no class folders/,
  );
  expect(await said("scan", at, "--kind", "conversations")).toMatch(
    /^1 FileError: .*conversations cannot be read from folders, only from/,
  );
  expect(await said("filter", at)).toMatch(/^1 UsageError: data filter needs --filter/);
  expect(await said("filter", at, "--filter", "words>3")).toMatch(
    /^1 UsageError: "words>3" is not a filter: "words" is unknown/,
  );
  expect(await said("write", at, "--kind", "labels", "--out", folder.at("x"))).toMatch(
    /^1 UsageError: only pairs and conversations can be written as shards/,
  );
});

it("ends at Ctrl-C, and leaves nothing of what was written", async () => {
  const many = folder.at("many.jsonl");
  const line = `${JSON.stringify({ image: "captions/0.png", caption: "again and again" })}\n`;
  writeFileSync(many, line.repeat(20_000));
  const args = [modelFile("../../bin/heddle.js"), "data", "write", many, "--out", folder.at("never")];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  try {
    await once(child.stderr!, "data"); // its progress line
    child.kill("SIGINT");
    const [status] = await once(child, "close");
    expect(status).toBe(130);
    expect(readdirSync(folder.at()).filter((name) => name.startsWith("never"))).toEqual([]);
  } finally {
    child.kill("SIGKILL");
  }
});
