/** "640×A100-80G,IB-200G": devices, how many, and what joins them. */
import { didYouMean, UsageError } from "../../compiler/index.ts";
import { type Hardware, hardware } from "./hardware-records.ts";

export interface Link {
  readonly name: string;
  /** That a device sends, while it receives as many. */
  readonly bytesPerSecond: number;
}

/** Devices that are alike. */
export interface Cluster {
  readonly device: Hardware;
  readonly count: number;
  /** What joins them; none for one alone. */
  readonly link?: Link;
}

/** As `--hardware` names the device that is here. */
export const hereName = "here";

const hardwareNames: readonly string[] = [...hardware.map((h) => h.name), hereName];

const plain = (name: string): string => name.toLowerCase().replace(/[-_ ]/g, "");

/** What a text asks for, before the device's record is looked up. */
export interface HardwareText {
  readonly count: number;
  readonly device: string;
  readonly link?: Link;
}

/** No cluster has more: a number above is a slip. */
const mostDevices = 1e6;

/** Throws UsageError for what is not of the form. */
export function parseHardware(text: string): HardwareText {
  const match = /^\s*(?:(\d+)\s*[×xX*]\s*)?([A-Za-z][\w -]*?)\s*(?:,\s*(.+?)\s*)?$/.exec(text);
  const count = Number(match?.[1] ?? 1);
  if (!match || count < 1 || count > mostDevices)
    throw new UsageError(
      `--hardware is a device, how many of it and what joins them, as in H200, 8×A100-80G or 640×A100-80G,IB-200G; not "${text}"`,
    );
  return { count, device: match[2]!, ...(match[3] !== undefined && { link: parseLink(match[3]) }) };
}

/** A network by its bits a second: each device has that much to itself. */
function parseLink(text: string): Link {
  const match = /^([A-Za-z][A-Za-z0-9]*)-(\d+(?:\.\d+)?)G$/.exec(text);
  if (!match || Number(match[2]) === 0)
    throw new UsageError(
      `what joins devices is a name and its gigabits a second for each of them, as in IB-200G; not "${text}"`,
    );
  return { name: text, bytesPerSecond: (Number(match[2]) * 1e9) / 8 };
}

/** Throws UsageError for a device without a record. */
export function recordOf(name: string): Hardware {
  const found = hardware.find((h) => plain(h.name) === plain(name));
  if (found) return found;
  const near = didYouMean(name, hardwareNames) || ".";
  throw new UsageError(`no hardware "${name}" is on record${near} There are ${hardwareNames.join(", ")}.`);
}

/** Throws UsageError where several devices have nothing known that joins them. */
export function clusterOf(device: Hardware, { count, link }: HardwareText): Cluster {
  if (count === 1) return { device, count };
  const own = device.link && count <= device.link.devices ? device.link : undefined;
  const joined = link ?? own;
  if (joined) return { device, count, link: { name: joined.name, bytesPerSecond: joined.bytesPerSecond } };
  throw new UsageError(
    `say what joins ${count} of ${device.name}, as in ${count}×${device.name},IB-200G: ${
      device.link ? `its ${device.link.name} joins ${device.link.devices}` : "no link of it is on record"
    }`,
  );
}
