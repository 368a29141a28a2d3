/** Types are erased as Node erases them, without TypeScript; what is more than types is left to TypeScript. */
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { expect, it } from "vitest";
import { erased } from "../../playground/editor/erase-types.ts";

const root = join(import.meta.dirname, "../..");
const below = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(root, folder, name));

/** Without what may differ: comments within types, and the empty statements that replace whole ones. */
const bare = (code: string) => code.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "").replace(/[\s;]/g, "");

/** The text by line, each without spaces at its end. */
const lines = (text: string) => text.split("\n").map((line) => line.trimEnd());

it("leaves of real modules what Node runs, at the same positions", () => {
  const files = ["examples", "playground/examples"].flatMap(below);
  const all = files.map((path) => readFileSync(path, "utf8")).map((text) => ({ text, code: erased(text) }));
  const known = all.filter(({ code }) => code !== undefined);
  expect(known.length).toBeGreaterThan(0.9 * files.length);
  for (const { text, code } of known) {
    expect(bare(code!.js)).toBe(bare(stripTypeScriptTypes(text)));
    expect(code!.js).toHaveLength(text.length);
    expect(code!.js.split("\n").map((line) => line.length)).toEqual(text.split("\n").map((line) => line.length));
  }
});

it.each([
  ["a cast", "const y = x as T;", "const y = x ;"],
  ["a cast at the end of a line before a parenthesis", "let y = x as T\n(f)()", "let y = x ;\n(f)()"],
  ["a check", "f(x satisfies T<U>, [y as const])", "f(x , [y ])"],
  ["non-null", "x!.y![0]", "x .y [0]"],
  ["a type between statements", "x\ntype A = B\n(y)", "x\n;\n(y)"],
  ["a type alone", "interface A<T> extends B { c: D }\nexport type { E } from 'f'", ";\n;"],
  ["ambient names", "declare const a: B;\ndeclare namespace c { let d: e }\nf", ";\n;\nf"],
  ["an overload", "function f(a: A): B;\nexport function f(a?: A): B {}", ";\nexport function f(a   )    {}"],
  ["this", "function f(this: A, b: B) {} function g(this: A) {}", "function f( b ) {} function g( ) {}"],
  ["an arrow's type over lines", "const f = (a: A): {\n  b: C;\n} => a", "const f = (a    \n\n) => a"],
  ["type arguments", "f<A>(b); new C<D, E[]>(); class F extends G<H> implements I, J {}", undefined],
  ["imports", "import { type A, b, type C as D } from 'e';\nimport type F from 'g';", "import {  b, } from 'e';\n;"],
  [
    "members",
    "abstract class A extends Z { private readonly a?: B = 1; declare b: C; c!: D; abstract e(): F; override g(): H {} }",
    undefined,
  ],
])("erases %s", (_, text, want) => {
  const { js } = erased(text)!;
  const spaced = (code: string) => lines(code).map((line) => line.replace(/\s+/g, " "));
  if (want !== undefined) expect(spaced(js)).toEqual(spaced(want));
  expect(bare(js)).toBe(bare(stripTypeScriptTypes(text)));
});

it.each([
  ["an enum", "enum A { b }"],
  ["a namespace", "namespace A { export const b = 1 }"],
  ["a parameter that is a property", "class A { constructor(private b: C) {} }"],
  ["an old cast", "const a = <B>c"],
  ["a decorator", "@a class B {}"],
  ["a syntax error", "const a: = 1"],
  ["an error within a type", "const a: { b: = } = 1"],
  ["what its parser takes for comparisons", "const f = async <T>(a: T) => a"],
  ["a member that would continue the line before", "class A { a = 1\n private [b] = 2 }"],
])("leaves %s to TypeScript", (_, text) => {
  expect(erased(text)).toBeUndefined();
});

it("knows the imports", () => {
  const text = "import * as h from 'heddle';\nexport { a } from \"./b.ts\";\nimport type { T } from 'c';\nimport('d')";
  const { imports } = erased(text)!;
  expect(imports.map(({ name, from, to }) => [name, text.slice(from, to)])).toEqual([
    ["heddle", "'heddle'"],
    ["./b.ts", '"./b.ts"'],
    ["d", "'d'"],
  ]);
});
