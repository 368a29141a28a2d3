/**
 * Every name that the language exports says what it is: its docstring is what editors show and the API reference
 * prints.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const declaration = /^export (?:async )?(?:const|function\*?|interface|type|class) (\w+)/;

interface Declared {
  readonly name: string;
  readonly place: string;
  readonly documented: boolean;
}

/** What a text declares and exports itself, each with whether a docstring stands before it. */
function declaredIn(text: string, file: string): Declared[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const name = declaration.exec(line)?.[1];
    if (name === undefined) return [];
    const before = lines.slice(0, i).findLastIndex((l) => !/^\s*\/\/ biome-ignore/.test(l));
    return [{ name, place: `${file}:${i + 1}`, documented: /\*\/\s*$/.test(lines[before] ?? "") }];
  });
}

const fileOf = (path: string) => declaredIn(readFileSync(join(root, path), "utf8"), path);

/** All that a door exports, through the files that it passes on; names of another room are looked for in all of it. */
function exportedBy(path: string): Declared[] {
  const text = readFileSync(join(root, path), "utf8");
  const own = declaredIn(text, path);
  const whole = [...text.matchAll(/^export \* from "(.*)";/gm)].flatMap(([, from]) =>
    exportedBy(join(dirname(path), from!)),
  );
  const named = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from "(.*)";/gm)].flatMap(([, list, from]) => {
    const target = join(dirname(path), from!);
    const among = target.endsWith("index.ts")
      ? globSync(`${dirname(target)}/**/*.ts`, { cwd: root }).flatMap(fileOf)
      : fileOf(target);
    const names = list!.split(",").map((part) => part.trim().replace(/^type /, ""));
    return names
      .filter((n) => n !== "")
      .map((name) => among.find((d) => d.name === name) ?? { name, place: target, documented: false });
  });
  return [...own, ...whole, ...named];
}

it("has a docstring on every name of the language", () => {
  const names = exportedBy("dsl/index.ts");
  expect(names.length).toBeGreaterThan(250);
  expect(names.filter((d) => !d.documented).map((d) => `${d.name} (${d.place})`)).toEqual([]);
});

it.each(["api/index.ts", "api/browser.ts"])("has a docstring on every name of the package: %s", (door) => {
  const names = exportedBy(door);
  expect(names.map((d) => d.name)).toContain("openDevice");
  expect(names.filter((d) => !d.documented).map((d) => `${d.name} (${d.place})`)).toEqual([]);
});

it("notices one without", () => {
  const text =
    "/** Said. */\nexport const a = 1;\nexport function b() {}\n/** Said. */\n// biome-ignore x: y\nexport type C = 1;\n";
  expect(declaredIn(text, "f").filter((d) => !d.documented)).toEqual([{ name: "b", place: "f:3", documented: false }]);
});
