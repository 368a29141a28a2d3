/** The Vite configuration of the playground, for the dev server or a static site. */
import { join } from "node:path";
import type { InlineConfig } from "vite";
import { generate } from "./generate.ts";
import { repository } from "./paths.ts";

export interface SiteOptions {
  /** Number of emoji to pack; the default makes a sheet of 1.3 MB. */
  readonly emoji?: number;
  /** Output folder of the static site; default playground/dist. */
  readonly out?: string;
  /** Cache of the packed emoji and the declarations between builds; not committed. */
  readonly generated?: string;
  /** False for builds that nobody downloads. */
  readonly minify?: boolean;
}

export function site({
  emoji = 480,
  out = join(repository, "playground", "dist"),
  generated = join(repository, "node_modules", ".cache", "heddle", "playground"),
  minify = true,
}: SiteOptions = {}): InlineConfig {
  return {
    root: join(repository, "playground"),
    // Relative paths let the site be served from any folder.
    base: "./",
    publicDir: generated,
    plugins: [{ name: "heddle-generated", buildStart: () => generate(generated, emoji) }],
    worker: { format: "es" },
    // Dependencies of the workers, which the dev server would otherwise discover late and reload the page for.
    optimizeDeps: {
      include: ["typescript-js", "chevrotain", "@huggingface/tokenizers", "onnx-proto", "protobufjs/minimal.js"],
    },
    build: {
      outDir: out,
      emptyOutDir: true,
      target: "es2024",
      minify,
      // The language service, in a worker of its own, is a single package of 3.5 MB.
      chunkSizeWarningLimit: 5000,
    },
  };
}
