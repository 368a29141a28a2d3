/** Checks labels and ids of a batch against their index range on the host: the device would silently clamp them. */
import {
  dimValue,
  type Graph,
  type HostTensor,
  indexFeeds,
  inputName,
  locationOf,
  printLocation,
  UsageError,
} from "../../compiler/index.ts";
import type { TrainingBatch, TrainingJob } from "./job.ts";

/** Throws UsageError for the first out-of-range index in a batch's feeds. */
export type CheckIndices = (batch: TrainingBatch, step: number) => void;

/** An input is checked once for each op that reads it; verdicts on small numbers are cached. */
interface Check {
  readonly input: string;
  readonly accepts: (element: number) => boolean;
  /** "axis "class" of 10 (cross_entropy at model.ts:43:20): it chooses 12". */
  readonly refused: (element: number) => string;
}

export function indexChecks({ step, sizes }: Pick<TrainingJob, "step" | "sizes">): CheckIndices {
  const { graph, accumulation } = step;
  const graphs = [graph, ...(accumulation?.cached ? [accumulation.cached.features] : [])];
  const checks = graphs.flatMap((one) => checksOf(one, sizes));
  return ({ feeds, names }, at) => {
    for (const { input, accepts, refused } of checks) {
      const tensor = feeds[input];
      const place = tensor?.data === undefined ? -1 : firstOutside(tensor.data, accepts); // no tensor: reported elsewhere
      if (place < 0) continue;
      const { where, sample } = placeOf(tensor!, place, names);
      const of = sample === undefined ? "" : ` of ${sample}`;
      throw new UsageError(
        `step ${at}: input "${input}" is ${tensor!.data[place]} at [${where}]${of}, ${refused(Number(tensor!.data[place]))}\n  hint: fix the data, or let the model handle such values, as with max(label, 0) and a mask`,
      );
    }
  };
}

function checksOf(graph: Graph, sizes: TrainingJob["sizes"]): readonly Check[] {
  const seen = new Set<string>();
  return indexFeeds(graph).flatMap(({ feed, reader, axis, size, chosen }): readonly Check[] => {
    const most = dimValue(size, sizes);
    const fits = (element: number): boolean => {
      const index = chosen(element);
      return Number.isInteger(element) && index >= 0 && index < most;
    };
    // The gradient reads the same indices as the loss.
    const key = `${inputName(feed)} ${axis} ${most} ${[-1, 0, most - 1, most, 255].map(chosen)}`;
    if (seen.has(key)) return [];
    seen.add(key);
    const from = `${reader.op} at ${printLocation(locationOf(reader.birth))} reads axis "${axis}"`;
    return [
      {
        input: inputName(feed),
        accepts: remembered(fits),
        refused: (element) =>
          Number.isInteger(element)
            ? `but ${from}, whose indices are 0 to ${most - 1}`
            : `which is not an integer; ${from} with it`,
      },
    ];
  });
}

/**
 * The range of numbers whose verdict is cached: ignore marks such as -100, all labels, and the ids of most
 * vocabularies.
 */
const [rememberedFrom, rememberedBelow] = [-1024, 2 ** 17];

function remembered(fits: (element: number) => boolean): (element: number) => boolean {
  const verdicts = new Uint8Array(rememberedBelow - rememberedFrom); // 0: unknown, 1: in range, 2: out of range
  return (element) => {
    if (!(element >= rememberedFrom && element < rememberedBelow && Number.isInteger(element))) return fits(element);
    const at = element - rememberedFrom;
    verdicts[at] ||= fits(element) ? 1 : 2;
    return verdicts[at] === 1;
  };
}

function firstOutside(data: HostTensor["data"], accepts: (element: number) => boolean): number {
  for (let i = 0; i < data.length; i += 1) if (!accepts(Number(data[i]))) return i;
  return -1;
}

/** "batch=3, token=17", and the name of that sample. */
function placeOf({ axes }: HostTensor, element: number, names: readonly string[] | undefined) {
  let left = element;
  const at = [...axes].reverse().map(({ name, size }) => {
    const index = left % size;
    left = Math.floor(left / size);
    return { name, index };
  });
  const row = at.find(({ name }) => name === "batch")?.index;
  const where = at.reverse().map(({ name, index }) => `${name}=${index}`);
  return { where: where.join(", "), sample: row === undefined ? undefined : names?.[row] };
}
