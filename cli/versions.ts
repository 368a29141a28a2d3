/** Versions of what produced a result, for summaries and bug reports. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const versionOf = (name: string): string | null => {
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return null; // an optional dependency that is not installed
  }
};

export const heddleVersion = (): string => (require("../package.json") as { version: string }).version;

export const versions = (): Record<string, string | null> => ({
  heddle: heddleVersion(),
  node: process.versions.node,
  onnxruntime: versionOf("onnxruntime-node"),
  webgpu: versionOf("webgpu"),
  platform: `${process.platform} ${process.arch}`,
});
