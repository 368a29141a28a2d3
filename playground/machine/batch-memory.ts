/** What the inputs of a step need on the device, before anything is compiled for them. */
import {
  type AdapterFacts,
  bindSizes,
  deviceElementBytes,
  type Graph,
  inputName,
  isFeed,
  type Node,
  UsageError,
} from "../../compiler/index.ts";
import { bytes } from "../shell/figures.ts";

/**
 * Throws UsageError if an input of a step for `rows` examples exceeds what the device can bind to a kernel: compiling
 * for it takes long before it fails, and making such a batch would take all of the page's memory.
 */
export function requireRoom(
  step: Graph,
  rows: number,
  { maxBindingBytes }: Pick<AdapterFacts, "maxBindingBytes">,
): void {
  const sizes = new Map(fedBytes(step, rows));
  const [largest, size] = [...sizes].reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0] as const);
  if (size <= maxBindingBytes) return;
  const of = `a batch of ${rows.toLocaleString("en")} needs ${bytes(size)} for its input "${largest}" alone`;
  const most = Math.floor(maxBindingBytes / (size / rows)).toLocaleString("en");
  throw new UsageError(
    `${of}, more than the ${bytes(maxBindingBytes)} that the device can bind\n  hint: use a smaller batch: the input has room for ${most}, and what the model computes from it needs memory too`,
  );
}

/** The bytes of each input that is fed, by name. */
const fedBytes = (step: Graph, rows: number): [string, number][] =>
  bindSizes(step, { batch: rows })
    .inputs.filter(isFeed)
    .map((node) => [inputName(node), bytesOf(node)]);

const bytesOf = ({ type }: Node): number =>
  type.axes.reduce((n, axis) => n * Number(axis.size), deviceElementBytes(type.dtype));
