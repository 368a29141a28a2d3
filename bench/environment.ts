/** The machine and software of a measurement. */
import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { coldDrivers } from "./fresh-process.ts";
import { installedJax } from "./peers/install.ts";

export interface Environment {
  readonly date: string;
  readonly system: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Load average over the minute before the benchmark; well above 0, other work slows it down. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
  /** Environment variables of every process. */
  readonly variables: Readonly<Record<string, string>>;
}

const require = createRequire(import.meta.url);

const versionOf = (manifest: string): string => {
  try {
    return (require(manifest) as { version: string }).version;
  } catch {
    return "not installed";
  }
};

export async function readEnvironment(): Promise<Environment> {
  return {
    date: new Date().toISOString(),
    system: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    loadBefore: loadavg()[0]!,
    versions: {
      heddle: versionOf("../package.json"),
      node: process.versions.node,
      webgpu: versionOf("webgpu/package.json"),
      "jax-js": (await installedJax()) ?? "not installed",
      "onnxruntime-node": versionOf("onnxruntime-node/package.json"),
    },
    variables: coldDrivers,
  };
}
