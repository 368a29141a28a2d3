/** The device of one rank among those on its machine: each has its own, or a share of the CPU. */
import { availableParallelism, hostname } from "node:os";
import { UsageError } from "../compiler/index.ts";
import type { Ranks } from "../runtime/index.ts";
import { type ChosenDevice, type DeviceChoice, type DeviceOptions, openDevice } from "./device.ts";

export interface RankDeviceOptions extends DeviceOptions {
  /** Whether ranks on one machine may share a device. */
  readonly share: boolean;
}

/** A device as a rank sees it; ids distinguish devices of the same name. */
export interface Seen {
  readonly id: string;
  readonly name: string;
}

/**
 * Opens the device of this rank. Throws UsageError on a machine with fewer devices than ranks, unless sharing is
 * allowed, and if a rank's device cannot be distinguished from others by name.
 */
export async function openRankDevice(
  choice: DeviceChoice,
  ranks: Ranks,
  options: RankDeviceOptions,
): Promise<ChosenDevice> {
  const { rank, size, node } = ranks.collectives;
  if (size === 1) return await openDevice(choice, options);
  const threads = Math.max(1, Math.floor(availableParallelism() / node.size));
  const seen = choice === "cpu" ? [] : await devicesSeen();
  if (choice === "cpu" || (choice === "auto" && seen.length === 0))
    return await openDevice("cpu", { ...options, threads });
  const all = await ranks.tell({ host: hostname(), seen });
  const shown = all.slice(0, rank + 1).filter(({ host }) => host === hostname());
  const place = `rank ${rank}, number ${node.rank} of ${node.size} on its machine,`;
  const at = deviceFor(
    shown.map((r) => r.seen),
    { place, share: options.share },
  );
  if (at === undefined) return await openDevice("webgpu", options);
  const { name, id } = seen[at]!;
  // Of several, WebGPU's own choice need not be the first.
  const opened = await openDevice("webgpu", seen.length === 1 ? options : { ...options, named: name });
  return { ...opened, reason: `${opened.reason}, ${id.slice(0, 8)}` };
}

/** Hardware GPUs visible to this process; none if a software adapter is asked for. */
async function devicesSeen(): Promise<readonly Seen[]> {
  if (!["", "system"].includes(process.env.HEDDLE_ADAPTER ?? "")) return [];
  const { listAdapters, physicalDevices } = await import("../backends/webgpu/node-index.ts");
  if (process.platform === "linux") return (await physicalDevices()).filter((d) => !d.software);
  return (await listAdapters()).filter((a) => !a.software).map((a) => ({ id: a.description, name: a.description }));
}

/**
 * The device, among those it sees, of the last rank in a machine's order: the first that no earlier rank has. A
 * launcher may show all devices to each rank, or each rank its own. With sharing it is the one that the fewest ranks
 * have; undefined if no hardware is visible. Throws UsageError if none is left, and if WebGPU cannot distinguish it
 * from another by name.
 */
export function deviceFor(
  shown: readonly (readonly Seen[])[],
  { place, share }: { readonly place: string; readonly share: boolean },
): number | undefined {
  const ranksOn = new Map<string, number>();
  const take = (seen: readonly Seen[]): number | undefined => {
    const counts = seen.map(({ id }, i) =>
      share && !isReached(seen, i) ? Number.POSITIVE_INFINITY : (ranksOn.get(id) ?? 0),
    );
    const fewest = Math.min(...counts);
    const at = share ? counts.indexOf(fewest) : counts.indexOf(0);
    if (at < 0) return undefined;
    ranksOn.set(seen[at]!.id, counts[at]! + 1);
    return at;
  };
  const seen = shown.at(-1)!;
  const at = shown.map(take).at(-1);
  if (share) return at;
  if (at === undefined) {
    const has = seen.length === 0 ? "only software adapters" : `${seen.length} (${seen.map((d) => d.name).join(", ")})`;
    throw new UsageError(
      `${place} finds no GPU that is not in use by another rank: there are ${has}. Start fewer ranks, or let them share one with --share-devices`,
    );
  }
  if (!isReached(seen, at))
    throw new UsageError(
      `${place} should use GPU number ${at} of those that it sees, but WebGPU cannot tell it from another "${seen[at]!.name}": have the launcher show each rank its own, as srun --gpus-per-task=1 does where Slurm confines devices (ConstrainDevices=yes)`,
    );
  return at;
}

/** Whether WebGPU finds the device number `at` by name: it takes the first whose name contains what is asked for. */
function isReached(seen: readonly Seen[], at: number): boolean {
  const { name } = seen[at]!;
  return !seen.some((d, i) => (i < at || d.name !== name) && d.name.includes(name));
}
