/** A slice of `npm run fuzz:files`: corrupted files of every format are read, or refused with one of our errors. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileError, InternalError } from "../../compiler/index.ts";
import type { Format } from "./files/format.ts";
import { formats } from "./files/formats.ts";
import { mutated } from "./files/mutate.ts";
import { countDone, firstMissing } from "./files/session.ts";
import { faultOf, openExample } from "./files/try-seed.ts";

test.each(formats)("broken files of $name", { timeout: 60_000 }, async (format) => {
  const example = await openExample(format);
  const findings: (string | undefined)[] = [];
  for (let seed = 0; seed < 15; seed++) findings.push(await example.trySeed(seed));
  example.dispose();
  expect(findings.filter((f) => f !== undefined)).toEqual([]);
});

test("values nested without end are no fault of ours, wherever they stand", { timeout: 60_000 }, async () => {
  const endless = "[".repeat(50_000) + "]".repeat(50_000);
  const values = /(?<=[:[,]\s*)("(?:[^"\\]|\\.)*"(?!\s*:)|-?\d+(?:\.\d+)?|true|false|null)/g;
  const root = mkdtempSync(join(tmpdir(), "heddle-fuzz-nested-"));
  const findings: string[] = [];
  for (const format of formats) {
    const folder = join(root, format.name);
    mkdirSync(folder);
    for (const file of new Set(await format.write(folder))) {
      const sound = readFileSync(join(folder, file), "utf8");
      const places = /^\s*[[{]/.test(sound) ? [...sound.matchAll(values)] : [];
      for (const { 0: old, index } of places.slice(0, 6)) {
        const copy = join(root, "copy");
        cpSync(folder, copy, { recursive: true });
        writeFileSync(join(copy, file), sound.slice(0, index) + endless + sound.slice(index + old.length));
        const fault = await faultOf(() => format.read(copy, file));
        if (fault !== undefined) findings.push(`${format.name} ${file} at ${index}: ${fault}`);
        rmSync(copy, { recursive: true });
      }
    }
  }
  rmSync(root, { recursive: true });
  expect(findings).toEqual([]);
});

test("what is no fault of a file is a finding", async () => {
  const throwing = (error: unknown) => faultOf(() => Promise.reject(error));
  expect(await throwing(new TypeError("x is undefined"))).toContain("x is undefined");
  expect(await throwing(new InternalError("never"))).toContain("never");
  expect(await throwing(new FileError("a".repeat(30_000)))).toContain("an error of 30000 characters");
  expect(await throwing(new FileError("it is damaged"))).toBeUndefined();
  expect(await faultOf(async () => {})).toBeUndefined();
});

const text: Format = {
  name: "text",
  write: async (folder) => {
    writeFileSync(join(folder, "x.txt"), "0123456789".repeat(20));
    return ["x.txt"];
  },
  read: async () => {},
};

async function findingsOf(format: Format): Promise<readonly string[]> {
  const example = await openExample(format);
  const found: (string | undefined)[] = [];
  for (let seed = 0; seed < 60; seed++) found.push(await example.trySeed(seed));
  example.dispose();
  return found.filter((one) => one !== undefined);
}

test("a cut file that is read as if it were whole is a finding, where its format tells", async () => {
  expect(await findingsOf(text)).toEqual([]);
  const found = await findingsOf({ ...text, mayLack: 0 });
  expect(found.length).toBeGreaterThan(0);
  for (const one of found) expect(one).toContain("a file whose end is missing is read as if it were whole");
});

test("a file outside the folder that is read is a finding", async () => {
  const [first] = await findingsOf({
    ...text,
    read: async (folder) => writeFileSync(join(folder, "..", "stray"), readFileSync(join(folder, "x.txt"))),
  });
  expect(first).toBe("text seed 0 (x.txt): it left stray outside its folder");
});

test("what is tried is a copy of a sound example", async () => {
  let folder = "";
  const example = await openExample({ ...text, read: async (given) => void (folder = given) });
  await example.trySeed(3);
  expect(existsSync(join(folder, "x.txt"))).toBe(true);
  example.dispose();
  expect(existsSync(folder)).toBe(false);
});

test("a run goes on with the seeds that are missing", () => {
  const done = [
    [2, 5],
    [7, 9],
  ] as const;
  expect(firstMissing([0, 20], done)).toEqual([0, 2]);
  expect(firstMissing([2, 20], done)).toEqual([5, 7]);
  expect(firstMissing([7, 20], done)).toEqual([9, 20]);
  expect(firstMissing([3, 5], done)).toBeUndefined();
  expect(countDone([0, 8], done)).toBe(4);
});

test("mutations are what their seed says, and most change the file", () => {
  const file = Buffer.from('{"a": [1, 2, {"b": "c"}], "d": -5}');
  const made = Array.from({ length: 200 }, (_, seed) => mutated(file, seed).toString("latin1"));
  expect(made).toEqual(Array.from({ length: 200 }, (_, seed) => mutated(file, seed).toString("latin1")));
  expect(new Set(made).size).toBeGreaterThan(120);
});
