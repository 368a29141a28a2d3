/** How Vite makes the playground's page, from a dev server or as a static site. */
import { join } from "node:path";
import type { InlineConfig } from "vite";
import { generate } from "./generate.ts";
import { repository } from "./paths.ts";

export interface SiteOptions {
  /** How many emoji are packed; default as many as make a sheet of 1.3 MB. */
  readonly emoji?: number;
  /** Where the static site is written; default playground/dist. */
  readonly out?: string;
  /** Where the packed emoji and the declarations are kept between builds; not committed. */
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
    // Paths are relative, so that the site works below any folder of a server.
    base: "./",
    publicDir: generated,
    plugins: [{ name: "heddle-generated", buildStart: () => generate(generated, emoji) }],
    worker: { format: "es" },
    // Those of the workers, which the dev server would find late, and then load the page again.
    optimizeDeps: {
      include: ["typescript-js", "chevrotain", "@huggingface/tokenizers", "onnx-proto", "protobufjs/minimal.js"],
    },
    build: {
      outDir: out,
      emptyOutDir: true,
      target: "es2024",
      minify,
      // The language service is 3.5 MB of one package, in a worker of its own.
      chunkSizeWarningLimit: 5000,
    },
  };
}
