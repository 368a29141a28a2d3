/** The rooms of the repository and the arrows between them; docs and code follow this table, not the other way round. */

/** One folder, or one file, that owns something. The longest path that a file lies under is its room. */
export type Room = {
  /** Rooms, or single files of rooms, that it may import; its own files always. */
  readonly imports: readonly string[];
  /** Rooms of which it may import types only. */
  readonly types?: readonly string[];
  /** It also runs in a browser: no Node module, and no package but these, may be imported outside files named node-*.ts. */
  readonly browser?: { readonly packages: readonly string[] };
};

const product = [
  "compiler",
  "dsl",
  "backends",
  "backends/reference",
  "backends/webgpu",
  "backends/onnx",
  "backends/onnxruntime",
  "runtime",
  "data",
  "models",
] as const;

/** What both levels of IR speak of: element types, op records and sizes, but no graph. */
const vocabulary = ["compiler/ir/dtype.ts", "compiler/ir/op.ts", "compiler/ir/dim.ts", "compiler/ir/host-tensor.ts"];

const insideCompiler = [
  "compiler/diagnostics",
  "compiler/ir",
  "compiler/ops",
  "compiler/rewrite",
  "compiler/driver",
  "compiler/kernel",
  "compiler/passes",
  "compiler/fusion",
  "compiler/lowering",
] as const;

const inBrowser = { packages: [] } as const;

export const rooms: Readonly<Record<string, Room>> = {
  // Inside the compiler the arrows point one way: graphs are transformed, then fused, then lowered to kernels.
  "compiler/diagnostics": { imports: [], browser: inBrowser },
  "compiler/ir": { imports: ["compiler/diagnostics"], browser: { packages: ["chevrotain"] } },
  "compiler/ops": { imports: ["compiler/diagnostics", "compiler/ir"], browser: inBrowser },
  "compiler/rewrite": { imports: ["compiler/diagnostics", "compiler/ir", "compiler/ops"], browser: inBrowser },
  "compiler/driver": { imports: ["compiler/diagnostics", "compiler/ir", "compiler/rewrite"], browser: inBrowser },
  "compiler/kernel": { imports: ["compiler/diagnostics", ...vocabulary], browser: inBrowser },
  "compiler/passes": {
    imports: ["compiler/diagnostics", "compiler/ir", "compiler/ops", "compiler/rewrite", "compiler/driver"],
    browser: inBrowser,
  },
  "compiler/fusion": {
    imports: ["compiler/diagnostics", "compiler/ir", "compiler/ops", "compiler/driver", "compiler/kernel"],
    browser: inBrowser,
  },
  "compiler/lowering": {
    imports: ["compiler/diagnostics", "compiler/ir", "compiler/ops", "compiler/kernel", "compiler/fusion"],
    browser: inBrowser,
  },
  "compiler/pipelines": { imports: insideCompiler, browser: inBrowser },
  compiler: { imports: [...insideCompiler, "compiler/pipelines"], browser: inBrowser },
  dsl: { imports: ["compiler"], browser: inBrowser },
  // The files that lie in backends/ itself: the interface, and what all who meet it share.
  backends: { imports: ["compiler"], browser: inBrowser },
  "backends/reference": { imports: ["compiler", "backends"], browser: inBrowser },
  "backends/webgpu/emit": { imports: ["compiler", "backends"], browser: inBrowser },
  "backends/webgpu": {
    imports: ["compiler", "backends", "backends/webgpu/emit"],
    browser: inBrowser,
  },
  // Reading is a room of its own: a page does it as well, and needs none of what writes.
  "backends/onnx/import": { imports: ["compiler"], browser: inBrowser },
  "backends/onnx": { imports: ["compiler", "backends", "backends/onnx/import"] },
  "backends/onnxruntime": { imports: ["compiler", "backends", "backends/onnx"] },
  runtime: { imports: ["compiler", "backends"], types: ["data", "dsl"] },
  data: { imports: ["compiler"] },
  models: { imports: ["dsl"], browser: inBrowser },
  cli: { imports: product },
  examples: { imports: [...product, "cli"] },
  bench: { imports: [...product, "cli", "examples"] },
  test: { imports: [...product, "cli", "examples", "bench", "scripts"] },
  scripts: { imports: [] },
};

/** The rooms whose imports may go past the doors of others. */
export const insiders: readonly string[] = ["test"];

/** The file by which a room is entered from outside, where it is not `index.ts` alone. */
export const doors: Readonly<Record<string, { readonly file: string; readonly also?: RegExp }>> = {
  backends: { file: "backend.ts" },
  // A page must be able to load index.ts, so what reaches Node has a door of its own.
  "backends/webgpu": { file: "index.ts", also: /^backends\/webgpu\/node-index\.ts$/ },
  models: { file: "index.ts", also: /^models\/[^/]+\/index\.ts$/ },
};

/**
 * Rooms inside the compiler that others of its rooms enter through their index.ts, or a file named here. compiler/ir and
 * compiler/diagnostics have none: all others are written in them, and take the file that is about what they need.
 */
export const innerDoors: Readonly<Record<string, { readonly also?: RegExp }>> = {
  "compiler/ops": {},
  "compiler/rewrite": {},
  "compiler/driver": {},
  // Index algebra goes by a door of its own: its add, mul and min are not those of ops.
  "compiler/kernel": { also: /^compiler\/kernel\/simplify\.ts$/ },
  "compiler/passes": {},
  "compiler/fusion": {},
  "compiler/lowering": {},
};

/** Files outside the browser rooms' folders that a page loads; nothing they reach may be Node's. */
export const browserEntries: readonly string[] = ["backends/webgpu/runtime/browser-device.ts"];
