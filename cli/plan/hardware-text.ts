/** Parses "640×A100-80G,IB-200G": a count, a device, and an interconnect. */
import { didYouMean, UsageError } from "../../compiler/index.ts";
import { type Hardware, hardware } from "./hardware-records.ts";

export interface Link {
  readonly name: string;
  /** Bytes per second and device, each way. */
  readonly bytesPerSecond: number;
}

/** A number of identical devices. */
export interface Cluster {
  readonly device: Hardware;
  readonly count: number;
  /** The interconnect; undefined for one device. */
  readonly link?: Link;
}

/** The name of this machine's device in `--hardware`. */
export const hereName = "here";

const hardwareNames: readonly string[] = [...hardware.map((h) => h.name), hereName];

const plain = (name: string): string => name.toLowerCase().replace(/[-_ ]/g, "");

/** The parsed text, before the device's record is looked up. */
export interface HardwareText {
  readonly count: number;
  readonly device: string;
  readonly link?: Link;
}

/** No cluster has more: a larger number is a typo. */
const mostDevices = 1e6;

/** Parses `--hardware`. Throws UsageError for another form. */
export function parseHardware(text: string): HardwareText {
  const match = /^\s*(?:(\d+)\s*[×xX*]\s*)?([A-Za-z][\w -]*?)\s*(?:,\s*(.+?)\s*)?$/.exec(text);
  const count = Number(match?.[1] ?? 1);
  if (!match || count < 1 || count > mostDevices)
    throw new UsageError(
      `--hardware must be a device, with how many of it and their interconnect, as in H200, 8×A100-80G or 640×A100-80G,IB-200G; got "${text}"`,
    );
  return { count, device: match[2]!, ...(match[3] !== undefined && { link: parseLink(match[3]) }) };
}

/** A network by its bits per second, all available to each device. */
function parseLink(text: string): Link {
  const match = /^([A-Za-z][A-Za-z0-9]*)-(\d+(?:\.\d+)?)G$/.exec(text);
  if (!match || Number(match[2]) === 0)
    throw new UsageError(
      `an interconnect must be a name and its gigabits per second of each device, as in IB-200G; got "${text}"`,
    );
  return { name: text, bytesPerSecond: (Number(match[2]) * 1e9) / 8 };
}

/** The record of a device. Throws UsageError for an unknown one. */
export function recordOf(name: string): Hardware {
  const found = hardware.find((h) => plain(h.name) === plain(name));
  if (found) return found;
  // "A100" is part of "A100-80G", and "H100" of "H100-SXM": nearer than what differs by a letter.
  const related = hardware
    .filter((h) => plain(h.name).includes(plain(name)) || plain(name).includes(plain(h.name)))
    .map((h) => `"${h.name}"`);
  const near = related.length > 0 ? `; did you mean ${related.join(" or ")}?` : didYouMean(name, hardwareNames) || ".";
  throw new UsageError(`unknown hardware "${name}"${near} Known hardware: ${hardwareNames.join(", ")}.`);
}

/** The cluster. Throws UsageError for several devices without a known interconnect. */
export function clusterOf(device: Hardware, { count, link }: HardwareText): Cluster {
  if (count === 1) return { device, count };
  const own = device.link && count <= device.link.devices ? device.link : undefined;
  const joined = link ?? own;
  if (joined) return { device, count, link: { name: joined.name, bytesPerSecond: joined.bytesPerSecond } };
  throw new UsageError(
    `give the interconnect of ${count} × ${device.name}, as in ${count}×${device.name},IB-200G: ${
      device.link ? `its ${device.link.name} connects ${device.link.devices}` : "it has no known interconnect"
    }`,
  );
}
