/**
 * Tuning results of `heddle tune` for an adapter: where they are cached, what invalidates them, and how devices use
 * them.
 */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { factsOf, type WebgpuBackend } from "../backends/webgpu/index.ts";
import {
  type Findings,
  foundKernels,
  type KernelOptions,
  lowering,
  type Program,
  UsageError,
} from "../compiler/index.ts";
import { type MeasuredOn, readFindings, writeFindings } from "../runtime/index.ts";
import { markOfCode } from "./node-code-mark.ts";
import { versions } from "./node-versions.ts";

type GpuDevice = WebgpuBackend["gpu"];

/** The cache folder: HEDDLE_CACHE, else the system's. */
function cacheFolder(): string {
  const { HEDDLE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (HEDDLE_CACHE) return HEDDLE_CACHE;
  if (process.platform === "win32" && LOCALAPPDATA) return join(LOCALAPPDATA, "heddle");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "heddle");
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "heddle");
}

/** The cache file of an adapter for one kind of data; further validity conditions are stored in it. */
export function cachePath(kind: string, { adapter }: GpuDevice): string {
  const words = [adapter.vendor, adapter.architecture, adapter.device, adapter.backend].join(" ").toLowerCase();
  return join(cacheFolder(), kind, `${words.replace(/[^a-z0-9]+/g, "-").slice(0, 80)}.json`);
}

export const findingsPath = (gpu: GpuDevice): string => cachePath("findings", gpu);

/** The environment for which measurements on an adapter are valid. */
export function measuredOn(gpu: GpuDevice): MeasuredOn {
  const { vendor, architecture, device, description, backend, software } = gpu.adapter;
  const { heddle, webgpu } = versions();
  return {
    adapter: [vendor, architecture, device].join(" "),
    driver: `${description} [${backend}]`, // Vulkan's description includes the driver version
    "npm webgpu": webgpu ?? "none",
    heddle: heddle ?? "none",
    threads: software ? "of the processor" : "of a GPU",
  };
}

/** Undefined if heddle's own files cannot be read: then nothing tells whether findings are of the same code. */
async function basisOf(gpu: GpuDevice): Promise<MeasuredOn | undefined> {
  const code = await markOfCode();
  if (code === undefined) return undefined;
  return { ...measuredOn(gpu), schedules: lowering.markOfTables(lowering.scheduleTables, factsOf(gpu)), code };
}

const unknownCode =
  "heddle's source files cannot be read, so the tuning results cannot be matched to this version of the code";

/** Receives messages; default prints them to stderr. */
type Say = (text: string) => void;
const onStderr: Say = (text) => void process.stderr.write(`${text}\n`);

/** The tuning results for this adapter and version; ignored ones are reported. */
export async function knownFindings(gpu: GpuDevice, say = onStderr): Promise<Findings> {
  const path = findingsPath(gpu);
  if (!existsSync(path)) return new Map();
  const basis = await basisOf(gpu);
  if (!basis) {
    say(`ignoring the tuning results in ${path}: ${unknownCode}`);
    return new Map();
  }
  const { findings, ignored } = await readFindings(path, basis);
  if (ignored !== undefined) say(ignored);
  return findings;
}

/** Stores tuning results for this adapter and version. Throws UsageError if heddle's own files cannot be read. */
export async function keepFindings(gpu: GpuDevice, findings: Findings): Promise<void> {
  const basis = await basisOf(gpu);
  if (!basis) throw new UsageError(`cannot store tuning results: ${unknownCode}`);
  return writeFindings(findingsPath(gpu), basis, findings);
}

/** HEDDLE_TUNING=off is for measuring without tuning results, and for tests. */
const isOff = (): boolean => process.env.HEDDLE_TUNING === "off";

/**
 * Compile options with the tuning results of a device, unless `tuning` or HEDDLE_TUNING disables them. Reports, once
 * for each count, how many kernels of a program they cover.
 */
export async function tunedOptions(gpu: GpuDevice, tuning = true, say = onStderr): Promise<KernelOptions> {
  if (!tuning || isOff()) return {};
  const findings = await knownFindings(gpu, say);
  if (findings.size === 0) return {};
  const said = new Set<string>();
  const onStage = ({ stage, after }: { readonly stage: string; readonly after: unknown }) => {
    if (stage !== "kernels") return;
    const program = after as Program;
    const text = `${program.graph.name}: ${foundKernels(program)} of ${program.kernels.length} kernels use results of heddle tune`;
    if (!said.has(text)) say(text);
    said.add(text);
  };
  return { findings, observers: [{ onStage }] };
}
