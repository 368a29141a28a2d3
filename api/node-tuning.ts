/** What `heddle tune` found on an adapter: where it is kept, what it is true of, and how devices come to use it. */
import { homedir } from "node:os";
import { join } from "node:path";
import { factsOf, type WebgpuBackend } from "../backends/webgpu/index.ts";
import { type Findings, foundKernels, type KernelOptions, lowering, type Program } from "../compiler/index.ts";
import { type MeasuredOn, readFindings, writeFindings } from "../runtime/index.ts";
import { versions } from "./node-versions.ts";

type GpuDevice = WebgpuBackend["gpu"];

/** Where what may be lost is kept: HEDDLE_CACHE, else where the system has such things. */
function cacheFolder(): string {
  const { HEDDLE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (HEDDLE_CACHE) return HEDDLE_CACHE;
  if (process.platform === "win32" && LOCALAPPDATA) return join(LOCALAPPDATA, "heddle");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "heddle");
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "heddle");
}

/** The file of an adapter for a kind of thing; what else it is true of stands in it. */
export function cachePath(kind: string, { adapter }: GpuDevice): string {
  const words = [adapter.vendor, adapter.architecture, adapter.device, adapter.backend].join(" ").toLowerCase();
  return join(cacheFolder(), kind, `${words.replace(/[^a-z0-9]+/g, "-").slice(0, 80)}.json`);
}

export const findingsPath = (gpu: GpuDevice): string => cachePath("findings", gpu);

/** What every measurement on an adapter is true of. */
export function measuredOn(gpu: GpuDevice): MeasuredOn {
  const { vendor, architecture, device, description, backend, software } = gpu.adapter;
  const { heddle, webgpu } = versions();
  return {
    adapter: [vendor, architecture, device].join(" "),
    driver: `${description} [${backend}]`, // Vulkan's description has the driver's version in it
    "npm webgpu": webgpu ?? "none",
    heddle: heddle ?? "none",
    threads: software ? "of the processor" : "of a GPU",
  };
}

const basisOf = (gpu: GpuDevice): MeasuredOn => ({
  ...measuredOn(gpu),
  schedules: lowering.markOfTables(lowering.scheduleTables, factsOf(gpu)),
});

/** Is told lines for people; by default they are on stderr. */
type Say = (text: string) => void;
const onStderr: Say = (text) => void process.stderr.write(`${text}\n`);

/** What was found on this adapter by this version; what is passed over is told. */
export async function knownFindings(gpu: GpuDevice, say = onStderr): Promise<Findings> {
  const { findings, ignored } = await readFindings(findingsPath(gpu), basisOf(gpu));
  if (ignored !== undefined) say(ignored);
  return findings;
}

export const keepFindings = (gpu: GpuDevice, findings: Findings): Promise<void> =>
  writeFindings(findingsPath(gpu), basisOf(gpu), findings);

/** HEDDLE_TUNING=off is for measuring without findings, and for tests. */
const isOff = (): boolean => process.env.HEDDLE_TUNING === "off";

/**
 * How a device compiles kernels: by what was found on it, unless `tuning` or HEDDLE_TUNING says no. How many kernels of a
 * program that is is told, once for each number.
 */
export async function tunedOptions(gpu: GpuDevice, tuning = true, say = onStderr): Promise<KernelOptions> {
  if (!tuning || isOff()) return {};
  const findings = await knownFindings(gpu, say);
  if (findings.size === 0) return {};
  const said = new Set<string>();
  const onStage = ({ stage, after }: { readonly stage: string; readonly after: unknown }) => {
    if (stage !== "kernels") return;
    const program = after as Program;
    const text = `${program.graph.name}: ${foundKernels(program)} of ${program.kernels.length} kernels by findings of heddle tune`;
    if (!said.has(text)) say(text);
    said.add(text);
  };
  return { findings, observers: [{ onStage }] };
}
