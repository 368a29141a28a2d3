/** `npm run playground` serves the page, `npm run playground:build` writes a static site. */
import { defineConfig } from "vite";
import { site } from "./site.ts";

export default defineConfig(site());
