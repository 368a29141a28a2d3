/** The playground's page: `npm run playground` serves it, `npm run playground:build` writes a static site. */
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { generate } from "./generate.ts";
import { generatedFolder, repository } from "./paths.ts";

const generated: Plugin = { name: "heddle-generated", buildStart: generate };

export default defineConfig({
  root: join(repository, "playground"),
  // Paths are relative, so that the site works below any folder of a server.
  base: "./",
  publicDir: generatedFolder,
  plugins: [generated],
  worker: { format: "es" },
  build: {
    outDir: join(repository, "playground", "dist"),
    emptyOutDir: true,
    target: "es2024",
    // The language service is 3.5 MB of one package, in a worker of its own.
    chunkSizeWarningLimit: 5000,
  },
});
