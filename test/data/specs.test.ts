import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { pathsOf } from "../../data/sources/spec.ts";
import { temporaryFolder } from "./support.ts";

it("takes stars and question marks as a regular expression would", async () => {
  const folder = temporaryFolder();
  const names = ["a", "b", "aa", "ab", "ba", "aba", "abab", "bbaab", "猫a", "🐈b"];
  for (const name of names) await writeFile(join(folder, name), "");
  const pattern = fc.array(fc.constantFrom("a", "b", "*", "?", "猫"), { minLength: 1, maxLength: 7 });
  fc.assert(
    fc.property(pattern, (parts) => {
      fc.pre(parts.some((part) => part === "*" || part === "?"));
      const like = new RegExp(`^${parts.join("").replaceAll("*", ".*").replaceAll("?", ".")}$`, "u");
      const wanted = names.filter((name) => like.test(name)).sort();
      const found = wanted.length > 0 ? pathsOf(join(folder, parts.join(""))) : [];
      expect(found).toEqual(wanted.map((name) => join(folder, name)));
    }),
  );
});

it("takes no time for many stars", async () => {
  const folder = temporaryFolder();
  await writeFile(join(folder, "a".repeat(200)), "");
  expect(() => pathsOf(join(folder, `${"*a".repeat(30)}b`))).toThrow("matches no file");
});
