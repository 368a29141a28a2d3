/**
 * `sideEffects` in package.json: bundlers leave out other files of which nothing is used, though they would do
 * something.
 */
import { readFileSync } from "node:fs";
import { join, matchesGlob } from "node:path";
import { parseSync } from "vite";
import { expect, test } from "vitest";
import { sourceFiles } from "./import-graph.ts";

const root = join(import.meta.dirname, "../..");
const { sideEffects } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly sideEffects: readonly string[];
};

/** Whether a module does something when it is loaded, beyond declaring things. */
function doesSomething(path: string, code: string): boolean {
  const harmless = /Declaration$|^Export|^TSInterface|^TSType|^EmptyStatement$/;
  return parseSync(path, code).program.body.some((statement) =>
    statement.type === "ImportDeclaration"
      ? statement.specifiers.length === 0 && statement.importKind !== "type"
      : !harmless.test(statement.type),
  );
}

test("finds statements and imports for their effects, and no declarations", () => {
  const found = (code: string) => doesSomething("a.ts", code);
  expect(["register(1);", "for (const x of [1]) f(x);", 'import "./a.ts";', "a.b = 1;"].map(found)).toEqual(
    Array.from({ length: 4 }, () => true),
  );
  const declared = 'import { f } from "./a.ts"; import type {} from "./b.ts"; export const a = f(); export type X = 1;';
  expect(found(`${declared} interface Y {} function g() {} export * from "./c.ts"; let b = 1;`)).toBe(false);
});

test("names every file of the package that does something when it is loaded", () => {
  const rooms = ["api", "backends", "compiler", "data", "dsl", "models", "runtime"];
  const programs = /-(worker|process|watcher)\.ts$/; // started by their paths
  const acting = rooms
    .flatMap((room) => sourceFiles(root, room))
    .filter((path) => !programs.test(path))
    .filter((path) => doesSomething(path, readFileSync(join(root, path), "utf8")));
  expect(acting).toContain("compiler/ops/losses.ts");
  expect(acting.filter((path) => !sideEffects.some((glob) => matchesGlob(`./${path}`, glob)))).toEqual([]);
});

test("ops register in one folder only: a declaration elsewhere would be left out with its file", () => {
  const registering = ["compiler", "dsl", "models", "backends", "runtime"]
    .flatMap((room) => sourceFiles(root, room))
    .filter((path) =>
      /import [^;]*\b(registerOp|elementwise|record)\b[^;]*from "[^"]*(op|kinds)\.ts"/.test(
        readFileSync(join(root, path), "utf8"),
      ),
    );
  expect(registering.filter((path) => !path.startsWith("compiler/ops/"))).toEqual([]);
  expect(registering).toContain("compiler/ops/activations.ts");
});
