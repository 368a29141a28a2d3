import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { checkImports, readImports } from "./import-graph.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));

describe("the repository", () => {
  test("has imports to check", () => {
    expect(readImports(repository).length).toBeGreaterThan(50);
  });

  test("keeps to the arrows, the doors and the browser's limits, without a circle", () => {
    expect(checkImports(repository)).toEqual([]);
  });
});

describe("the check", () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  /** Checks a small repository of the given files. */
  function check(files: Readonly<Record<string, string>>): readonly string[] {
    const root = mkdtempSync(join(tmpdir(), "heddle-imports-"));
    folders.push(root);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return checkImports(root);
  }

  test("accepts what the table allows", () => {
    const files = {
      "compiler/index.ts": 'export * from "./ir/node.ts";',
      "compiler/ir/node.ts": 'import { fail } from "../diagnostics/error.ts"; export const node = fail;',
      "compiler/ir/parse.ts": 'import { Lexer } from "chevrotain"; export const lexer = Lexer;',
      "compiler/kernel/expr.ts": 'import type { Dtype } from "../ir/dtype.ts"; export type E = Dtype;',
      "dsl/nn/linear.ts": 'import { node } from "../../compiler/index.ts"; export const linear = node;',
      "runtime/train.ts": 'import type { Batch } from "../data/index.ts"; export type Step = Batch;',
      "backends/webgpu/runtime/node-file.ts":
        'import fs from "node:fs"; import koffi from "koffi"; export { fs, koffi };',
      "backends/onnxruntime/device.ts": 'import { emit } from "../onnx/index.ts"; export { emit };',
      "examples/emoji.ts": 'import { vit } from "../models/vit/index.ts"; export { vit };',
      "test/a.test.ts": 'import { node } from "../compiler/ir/node.ts"; import "node:fs"; export { node };',
    };
    expect(check(files)).toEqual([]);
  });

  test("finds an arrow that points the wrong way, dynamic imports and types included", () => {
    expect(check({ "compiler/ir/a.ts": 'import { x } from "../ops/b.ts"; x();' })).toEqual([
      "compiler/ir/a.ts:1 imports compiler/ops/b.ts: compiler/ir may import only compiler/diagnostics",
    ]);
    expect(check({ "data/a.ts": '\nexport const x = () => import("../dsl/index.ts");' })).toEqual([
      "data/a.ts:2 imports dsl/index.ts: data may import only compiler",
    ]);
    expect(
      check({ "models/vit/a.ts": 'import type { X } from "../../compiler/index.ts"; export type Y = X;' }),
    ).toEqual(["models/vit/a.ts:1 imports compiler/index.ts: models may import only dsl"]);
    expect(check({ "backends/onnx/a.ts": 'export { x } from "../webgpu/index.ts";' })).toHaveLength(1);
    expect(check({ "cli/a.ts": 'import "../test/support/x.ts";' })).toHaveLength(1);
  });

  test("only fusion, lowering and the pipelines see both levels of IR", () => {
    const graph = 'import type { Graph } from "../ir/graph.ts"; export type X = Graph;';
    expect(check({ "compiler/kernel/a.ts": graph })).toHaveLength(1);
    expect(check({ "compiler/lowering/a.ts": `${graph} export * from "../kernel/index.ts";` })).toEqual([]);
    expect(check({ "compiler/passes/a.ts": `${graph} export * from "../kernel/index.ts";` })).toHaveLength(1);
  });

  test("types only means types only", () => {
    expect(check({ "runtime/a.ts": 'import { read } from "../data/index.ts"; read();' })).toEqual([
      "runtime/a.ts:1 imports data/index.ts: runtime may import types only from data",
    ]);
  });

  test("finds an import past another room's door", () => {
    expect(check({ "cli/a.ts": 'import { x } from "../runtime/session.ts"; x();' })).toEqual([
      "cli/a.ts:1 imports runtime/session.ts: the door of runtime is its index.ts",
    ]);
    expect(check({ "runtime/a.ts": 'import { feeds } from "../backends/feeds.ts"; feeds();' })).toEqual([
      "runtime/a.ts:1 imports backends/feeds.ts: the door of backends is its backend.ts",
    ]);
    expect(check({ "backends/onnx/a.ts": 'import { feeds } from "../feeds.ts"; feeds();' })).toEqual([]);
    expect(check({ "dsl/a.ts": 'import type { X } from "../compiler/ir/node.ts"; export type Y = X;' })).toEqual([
      "dsl/a.ts:1 imports compiler/ir/node.ts: the door of compiler is its index.ts",
    ]);
  });

  test("finds an import past the door of another room of the compiler", () => {
    const past = 'import type { Plan } from "../fusion/plan.ts"; export type X = Plan;';
    expect(check({ "compiler/lowering/a.ts": past })).toEqual([
      "compiler/lowering/a.ts:1 imports compiler/fusion/plan.ts: the door of compiler/fusion is its index.ts",
    ]);
    expect(check({ "compiler/index.ts": 'export * from "./passes/fold.ts";' })).toHaveLength(1);
    const allowed = {
      "compiler/lowering/a.ts": 'export * from "../fusion/index.ts"; export * from "../kernel/simplify.ts";',
      "compiler/fusion/index.ts": 'export * from "./plan.ts"; export * from "../ir/graph.ts";',
    };
    expect(check(allowed)).toEqual([]);
  });

  test("finds Node and packages where a browser runs", () => {
    expect(check({ "compiler/ir/a.ts": 'import fs from "node:fs"; fs;' })).toEqual([
      "compiler/ir/a.ts:1 imports node:fs: compiler/ir also runs in a browser",
    ]);
    expect(check({ "dsl/a.ts": 'import { join } from "path"; join();' })).toHaveLength(1);
    expect(check({ "backends/webgpu/emit/a.ts": 'import "node:fs";' })).toHaveLength(1);
    expect(check({ "models/vit/node-files.ts": 'import sharp from "sharp"; sharp;' })).toEqual([]);
    expect(check({ "dsl/a.ts": 'import chalk from "chalk"; chalk;' })).toEqual([
      "dsl/a.ts:1 imports chalk: dsl may import none of the packages",
    ]);
  });

  test("finds Node behind a file that a page loads", () => {
    expect(
      check({
        "backends/webgpu/runtime/browser-device.ts": 'import { x } from "./device.ts"; x();',
        "backends/webgpu/runtime/device.ts": 'export { x } from "./node-x.ts";',
        "backends/webgpu/runtime/node-x.ts": 'import "node:fs"; export const x = 1;',
      }),
    ).toEqual(["backends/webgpu/runtime/browser-device.ts reaches node:fs, and a page loads it"]);
  });

  test("finds a circle once, with its way around", () => {
    expect(
      check({
        "data/a.ts": 'import { b } from "./b.ts"; export const a = b;',
        "data/b.ts": 'import type { C } from "./c.ts"; export const b = 1 as C;',
        "data/c.ts": 'import { a } from "./a.ts"; export type C = typeof a;',
      }),
    ).toEqual(["files import each other in a circle: data/a.ts -> data/b.ts -> data/c.ts -> data/a.ts"]);
  });

  test("text that only looks like an import is none", () => {
    expect(check({ "compiler/a.ts": "/* import 'node:fs' */ export const x = `import fs from \"node:fs\"`;" })).toEqual(
      [],
    );
  });
});
