/** Versions of what produced a result, for summaries and bug reports. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const versionOf = (name: string): string | null => {
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return null; // an optional dependency that is not installed
  }
};

/** The manifest lies above cli/ in a checkout, and above dist/cli/ in an installed package. */
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
