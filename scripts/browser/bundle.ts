/**
 * Pages bundled by Vite into memory, as a user's project is bundled: conditions of exports and imports for browsers.
 */
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "vite";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Content by path below the site's root, without a leading "/". */
export type Site = ReadonlyMap<string, string | Uint8Array>;

export type BundleOptions = {
  /** Default false, so that stack traces can be read. */
  readonly minify?: boolean;
  readonly plugins?: readonly Plugin[];
};

/** The published names, as the exports of package.json have them once it is built. */
const published = [
  { find: /^heddle(\/browser)?$/, replacement: join(repository, "api/browser.ts") },
  { find: /^heddle\/models$/, replacement: join(repository, "models/index.ts") },
];

/**
 * Bundles a module with all that it imports; its entry is `page.js` and keeps its exports. A page of HTML keeps its
 * path. Throws where the module reaches a Node module, naming who imports it.
 */
export async function bundleModule(entry: string, { minify = false, plugins = [] }: BundleOptions = {}): Promise<Site> {
  const built = await build({
    configFile: false,
    root: repository,
    logLevel: "error",
    publicDir: false,
    base: "./",
    resolve: { alias: published },
    plugins: [noNodeModules, ...plugins],
    worker: { format: "es", plugins: () => [noNodeModules, ...plugins] },
    build: {
      write: false,
      minify,
      target: "esnext",
      modulePreload: false,
      assetsInlineLimit: 0,
      rolldownOptions: {
        input: { page: entry },
        preserveEntrySignatures: "strict",
        output: { entryFileNames: "[name].js" },
      },
    },
  });
  if (!("output" in built)) throw new Error(`Vite made ${Array.isArray(built) ? "several builds" : "a watcher"}`);
  return new Map(built.output.map((file) => [file.fileName, file.type === "chunk" ? file.code : file.source]));
}

/** Vite would put an empty module in a Node module's place, which fails late, in the page. */
const noNodeModules: Plugin = {
  name: "no-node-modules",
  enforce: "pre",
  resolveId(source, importer) {
    if (isBuiltin(source)) this.error(`${importer ?? "the entry"} imports ${source}, and a page has no Node`);
    return null;
  },
};
