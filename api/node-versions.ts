/** Versions of the software that produced a result, for summaries and bug reports. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const versionOf = (name: string): string | null => {
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return null; // optional dependency, not installed
  }
};

/** package.json is one level above this folder in a checkout, two in an installed package (dist/). */
export function heddleVersion(): string {
  const manifest = ["../package.json", "../../package.json"]
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url));
  return (JSON.parse(readFileSync(manifest!, "utf8")) as { version: string }).version;
}

export const versions = (): Record<string, string | null> => ({
  heddle: heddleVersion(),
  node: process.versions.node,
  onnxruntime: versionOf("onnxruntime-node"),
  webgpu: versionOf("webgpu"),
  platform: `${process.platform} ${process.arch}`,
});
