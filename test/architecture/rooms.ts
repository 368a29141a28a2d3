/**
 * The rooms of the repository and the arrows between them; docs and code follow this table, not the other way round.
 */

/** One folder, or one file, that owns something. The longest path that a file lies under is its room. */
export type Room = {
  /** Rooms, or single files of rooms, that it may import; its own files always. */
  readonly imports: readonly string[];
  /** Rooms of which it may import types only. */
  readonly types?: readonly string[];
  /**
   * It also runs in a browser: no Node module, and no package but these, may be imported outside files named node-*.ts.
   */
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
  "backends/onnx": { imports: ["compiler", "backends", "backends/onnx/import"], browser: { packages: ["onnx-proto"] } },
  "backends/onnxruntime": { imports: ["compiler", "backends", "backends/onnx"] },
  runtime: {
    imports: ["compiler", "backends"],
    types: ["data", "dsl"],
    browser: { packages: ["@aws-crypto/crc32c", "protobufjs/minimal.js"] },
  },
  data: { imports: ["compiler"] },
  models: { imports: ["dsl"], browser: inBrowser },
  // The package: what it is in Node and what it is in a page, over the same shared files.
  api: {
    imports: [
      "dsl",
      "compiler",
      "backends",
      "backends/reference",
      "backends/webgpu",
      "backends/onnx",
      "backends/onnxruntime",
      "runtime",
      "data",
    ],
    browser: inBrowser,
  },
  cli: { imports: [...product, "api"] },
  examples: { imports: [...product, "cli"] },
  // The bench of pages bundles the package as a page has it, and starts the browser that tests start.
  bench: { imports: [...product, "api", "cli", "examples", "scripts"] },
  // Made on a machine with Node, into files that the page loads.
  "playground/build": { imports: ["data", "examples", "playground/machine/packed-emoji.ts"] },
  playground: {
    imports: [...product, "api", "examples"],
    browser: {
      packages: [
        "@codemirror/autocomplete",
        "@codemirror/commands",
        "@codemirror/lang-javascript",
        "@codemirror/language",
        "@codemirror/lint",
        "@codemirror/state",
        "@codemirror/view",
        "@lezer/highlight",
        "typescript-js",
      ],
    },
  },
  test: { imports: [...product, "api", "cli", "examples", "bench", "scripts", "playground"] },
  scripts: { imports: [] },
};

/** The rooms whose imports may go past the doors of others. */
export const insiders: readonly string[] = ["test"];

/** The file by which a room is entered from outside, where it is not `index.ts` alone. */
export const doors: Readonly<Record<string, { readonly file: string; readonly also?: RegExp }>> = {
  backends: { file: "backend.ts" },
  // A page must be able to load index.ts, so what reaches Node has a door of its own.
  "backends/webgpu": { file: "index.ts", also: /^backends\/webgpu\/node-index\.ts$/ },
  "backends/onnx": { file: "index.ts", also: /^backends\/onnx\/node-index\.ts$/ },
  runtime: { file: "index.ts", also: /^runtime\/(node-index|host\/browser)\.ts$/ },
  data: { file: "index.ts", also: /^data\/browser-index\.ts$/ },
  models: { file: "index.ts", also: /^models\/[^/]+\/index\.ts$/ },
  // The playground packs the emoji of the example, and shows examples as text.
  examples: { file: "index.ts", also: /^examples\/(emoji\/(set|artists)\.ts|[a-z-]+\.ts\?raw)$/ },
  // What the command line shares with the package, and users need not see, is in node-index.ts.
  api: { file: "index.ts", also: /^api\/(browser|node-index)\.ts$/ },
  // Scripts stand alone; those of the browser are what tests and the bench start it with.
  scripts: { file: "index.ts", also: /^scripts\/browser\/[^/]+\.ts$/ },
};

/**
 * Rooms inside the compiler that others of its rooms enter through their index.ts, or a file named here. compiler/ir
 * and compiler/diagnostics have none: all others are written in them, and take the file that is about what they need.
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
export const browserEntries: readonly string[] = [
  "backends/webgpu/runtime/browser-device.ts",
  "playground/main.ts",
  "playground/machine/compile-worker.ts",
  "playground/machine/run-worker.ts",
  "runtime/host/browser.ts",
  "runtime/index.ts",
  "api/browser.ts",
];

/** What package.json's "imports" stand for: in a page, which is what the limits on browsers are about, and in Node. */
export const hosts: Readonly<Record<string, { readonly browser: string; readonly node: string }>> = {
  "#host": { browser: "runtime/host/browser.ts", node: "runtime/host/node-host.ts" },
  "#several-ranks": {
    browser: "runtime/training/browser-several-ranks.ts",
    node: "runtime/training/several-ranks.ts",
  },
  "#patience": { browser: "data/browser-patience.ts", node: "data/node-patience.ts" },
};
