/** A slice of what `npm run fuzz:files` does: broken files of every format are read, or refused with one of our errors. */
import { expect, test } from "vitest";
import { FileError, InternalError } from "../../compiler/index.ts";
import { formats } from "./files/formats.ts";
import { mutated } from "./files/mutate.ts";
import { faultOf, openExample } from "./files/try-seed.ts";

test.each(formats)("broken files of $name", { timeout: 60_000 }, async (format) => {
  const example = await openExample(format);
  const findings: (string | undefined)[] = [];
  for (let seed = 0; seed < 25; seed++) findings.push(await example.trySeed(seed));
  example.dispose();
  expect(findings.filter((f) => f !== undefined)).toEqual([]);
});

test("what is no fault of a file is a finding", async () => {
  const throwing = (error: unknown) => faultOf(() => Promise.reject(error));
  expect(await throwing(new TypeError("x is undefined"))).toContain("x is undefined");
  expect(await throwing(new InternalError("never"))).toContain("never");
  expect(await throwing(new FileError("a".repeat(30_000)))).toContain("an error of 30000 characters");
  expect(await throwing(new FileError("it is damaged"))).toBeUndefined();
  expect(await faultOf(async () => {})).toBeUndefined();
});

test("mutations are what their seed says, and most change the file", () => {
  const file = Buffer.from('{"a": [1, 2, {"b": "c"}], "d": -5}');
  const made = Array.from({ length: 200 }, (_, seed) => mutated(file, seed).toString("latin1"));
  expect(made).toEqual(Array.from({ length: 200 }, (_, seed) => mutated(file, seed).toString("latin1")));
  expect(new Set(made).size).toBeGreaterThan(120);
});
