/**
 * Strided copies between parameters and checkpoint tensors, for tensors that several parameters share and parameters
 * that are split over several tensors.
 */
import { elementCount, type HostTensor, hostTensor, type SizedAxis } from "../compiler/index.ts";
import type { CheckpointPlace } from "../dsl/index.ts";

/** Whether a parameter is stored alone in one tensor, up to a permutation of its axes. */
export const isWhole = (places: readonly CheckpointPlace[]): boolean =>
  places.length === 1 && places[0]!.shared === undefined && places[0]!.entry === undefined;

/** Groups places by parameter. */
export function byParameter(layout: readonly CheckpointPlace[]): Map<string, readonly CheckpointPlace[]> {
  const places = new Map<string, CheckpointPlace[]>();
  for (const place of layout) places.set(place.parameter, [...(places.get(place.parameter) ?? []), place]);
  return places;
}

/** A dimension of the stored tensor: an axis of the parameter (`axis`), a fixed index (`at`), or both. */
interface Dimension {
  readonly size: number;
  readonly stride: number;
  readonly axis?: string;
  readonly at?: number;
}

/** The stored dimensions of a tensor, outermost first. */
function dimensionsOf({ order, shared = [] }: CheckpointPlace, sizes: ReadonlyMap<string, number>): Dimension[] {
  const laid: Omit<Dimension, "stride">[] = [];
  for (let i = 0; i <= order.length; i++) {
    const held = shared.filter((s) => s.before === i);
    const along = held.find((s) => s.along !== undefined);
    laid.push(...held.filter((s) => s !== along).map(({ size, at }) => ({ size, at })));
    if (along) laid.push({ size: along.size, at: along.at, axis: along.along! });
    else if (i < order.length) laid.push({ size: sizes.get(order[i]!)!, axis: order[i]! });
  }
  let stride = 1;
  return laid
    .reverse()
    .map((dimension) => {
      const placed = { ...dimension, stride };
      stride *= dimension.size;
      return placed;
    })
    .reverse();
}

/** Where a parameter's elements lie in an array: the first element's index, and the stride along each axis. */
interface Steps {
  readonly first: number;
  readonly steps: readonly number[];
}

interface Block {
  /** Sizes of the parameter's axes; 1 for an axis that is split over tensors. */
  readonly sizes: readonly number[];
  readonly ofParameter: Steps;
  readonly ofTensor: Steps;
}

/** The block of a parameter that one tensor holds, with its strides in both. */
function blockOf(place: CheckpointPlace, axes: readonly SizedAxis[]): Block {
  const { entry } = place;
  const dimensions = dimensionsOf(place, new Map(axes.map((a) => [a.name, a.size])));
  const own = axes.map((_, i) => axes.slice(i + 1).reduce((n, a) => n * a.size, 1));
  const spread = axes.findIndex((a) => a.name === entry?.axis);
  return {
    sizes: axes.map((a, i) => (i === spread ? 1 : a.size)),
    ofParameter: { first: spread < 0 ? 0 : entry!.at * own[spread]!, steps: own },
    ofTensor: {
      first: dimensions.reduce((n, { at = 0, stride }) => n + at * stride, 0),
      steps: axes.map((a) => dimensions.find((d) => d.axis === a.name)?.stride ?? 0),
    },
  };
}

type Floats = Float32Array | Float16Array;

function copyBlock(sizes: readonly number[], from: Floats, source: Steps, into: Floats, target: Steps): void {
  const index = sizes.map(() => 0);
  let [read, write] = [source.first, target.first];
  for (let left = elementCount(sizes.map((size, i) => ({ name: `${i}`, size }))); left > 0; left--) {
    into[write] = from[read]!;
    for (let d = sizes.length - 1; d >= 0; d--) {
      read += source.steps[d]!;
      write += target.steps[d]!;
      if (++index[d]! < sizes[d]!) break;
      read -= source.steps[d]! * sizes[d]!;
      write -= target.steps[d]! * sizes[d]!;
      index[d] = 0;
    }
  }
}

/**
 * Assembles a parameter, with its own axes in their own order, from the tensors that hold it; `read` returns the
 * elements of one tensor.
 */
export async function fromPlaces(
  places: readonly CheckpointPlace[],
  axes: readonly SizedAxis[],
  dtype: "f32" | "f16",
  read: (place: CheckpointPlace) => Promise<Floats>,
): Promise<HostTensor> {
  const data = new (dtype === "f16" ? Float16Array : Float32Array)(elementCount(axes));
  for (const place of places) {
    const { sizes, ofParameter, ofTensor } = blockOf(place, axes);
    copyBlock(sizes, await read(place), ofTensor, data, ofParameter);
  }
  return hostTensor(dtype, axes, data);
}

/** Copies the part of a parameter that a tensor holds into that tensor's elements. */
export function intoPlace(place: CheckpointPlace, { axes, data }: HostTensor, tensor: Float32Array): void {
  const { sizes, ofParameter, ofTensor } = blockOf(place, axes);
  copyBlock(sizes, data as Floats, ofParameter, tensor, ofTensor);
}

/** The number of elements of a tensor that belong to one place. */
export const shareOf = ({ shape, shared = [] }: CheckpointPlace): number =>
  shape.reduce((n, size) => n * size, 1) / shared.reduce((n, { size, count }) => (n * size) / count, 1);
