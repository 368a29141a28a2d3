/** Segments images with a model that has the mode segment: by sliding windows, or the whole image at once. */
import {
  bindSizes,
  type Graph,
  type Sides,
  selectOutputs,
  sidesOf,
  sizeOfSides,
  sizeText,
  symbol,
  UsageError,
} from "../../../compiler/index.ts";
import {
  coveringSides,
  decodeResized,
  type Geometry,
  type ImageSource,
  imageTensor,
  type Pixels,
  white,
} from "../../../data/index.ts";
import type { SegmentMode } from "../../../dsl/index.ts";
import { type ClassMap, classesOfScores, scoreMap, scoresOf, windowStarts } from "../../../runtime/index.ts";
import { shapeText } from "../../preprocessing-text.ts";
import { graphOf, type LoadedModel, modeOf, type NamedModel } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { type PicturePreprocessing, preprocessingFor } from "./pictures.ts";
import { requireOutputs } from "./towers.ts";

/** How a model segments images. */
export interface Segmenting {
  readonly graph: Graph;
  readonly preprocessing: PicturePreprocessing;
  /** Strides of the windows across and down; undefined if the whole image is squashed into one. */
  readonly stride?: Sides;
  /** The image's sides are rounded up to a multiple of this. */
  readonly multiple: number;
  readonly firstClass: number;
  readonly output: string;
}

export interface Segmenter {
  /** The class of each pixel of an image of these sides. */
  classesOf(picture: ImageSource, sides: Sides): Promise<ClassMap>;
}

const usualStride = 2 / 3;

/** Resolves the settings. Throws UsageError if the model has no mode segment, and for a fit other than squash. */
export async function segmentingOf(named: NamedModel, options: RunOptions): Promise<Segmenting> {
  const mode = modeOf(named, "segment");
  const served = graphOf(named, mode.graph);
  requireOutputs(served, "segment", [mode.output]);
  const graph = selectOutputs(served, [mode.output]);
  const share = strideOf(mode);
  const asked = fitOf(named, options);
  /** Of a file or of all modes alike, a fit is none of a model that declares windows. */
  const isWhole = ({ fit }: Geometry) => fit === "squash" && (asked === "squash" || mode.stride === undefined);
  const stride = ({ size }: Geometry): Sides => {
    const { width, height } = sidesOf(size);
    const part = (side: number) => Math.max(1, Math.round(share * side));
    return { width: part(width), height: part(height) };
  };
  const shape = (geometry: Geometry): string =>
    isWhole(geometry)
      ? shapeText({ ...geometry, fit: "squash" })
      : `windows ${strideText(stride(geometry))} apart, ${geometry.interpolation ?? "bicubic"}`;
  const preprocessing = await preprocessingFor(named, graph, "segment", options, shape);
  const { multiple = 1, firstClass = preprocessing.firstClass ?? 0, output } = mode;
  return {
    ...{ graph, preprocessing, firstClass, output },
    ...(!isWhole(preprocessing.geometry) && { stride: stride(preprocessing.geometry) }),
    multiple: typeof multiple === "function" ? multiple(named.config!) : multiple,
  };
}

/** "16", or "16 × 32" down and across. */
const strideText = (stride: Sides): string =>
  stride.width === stride.height ? String(stride.width) : sizeText(sizeOfSides(stride));

function strideOf({ stride = usualStride }: SegmentMode): number {
  if (stride > 0 && stride <= 1) return stride;
  throw new UsageError(
    `modes.segment.stride is ${stride}, but must be a fraction of a window's side, above 0 and at most 1`,
  );
}

function fitOf({ model }: NamedModel, { fit }: RunOptions): "squash" | undefined {
  const ofRecord = model?.preprocessing?.fit;
  const asked = fit ?? (typeof ofRecord === "object" ? ofRecord.segment : undefined);
  if (asked === undefined || asked === "squash") return asked;
  throw new UsageError(
    `segment needs the whole image, in windows or with --fit squash; ${asked} would leave pixels without a class`,
  );
}

/** Compiles once, for runs of up to `--batch` windows. */
export async function openSegmenter(model: LoadedModel, of: Segmenting, { batch }: RunOptions): Promise<Segmenter> {
  const session = await model.session(
    bindSizes(of.graph, { batch: model.fixed ? batch : symbol("batch", { max: batch }) }),
  );
  const { size, interpolation } = of.preprocessing.geometry;
  const window = sidesOf(size);
  const scoresAt = async (picture: Pixels, places: readonly Place[]) => {
    const rows = model.fixed ? Array.from({ length: batch }, (_, i) => places[i] ?? places.at(-1)!) : places;
    const { [of.output]: scores } = await session.run({ pixels: pixelsOf(picture, rows, of.preprocessing) });
    return scoresOf(scores!);
  };
  return {
    async classesOf(source, sides) {
      const picture = await decodeResized(source, (own) => seenSides(own, of), interpolation);
      if (!of.stride) return classesOfScores((await scoresAt(picture, [{ left: 0, top: 0 }]))[0]!, sides);
      const places = windowsOf(picture, window, of.stride);
      const map = scoreMap(picture, window);
      for (let from = 0; from < places.length; from += batch) {
        const own = places.slice(from, from + batch);
        const found = await scoresAt(picture, own);
        for (const [i, place] of own.entries()) map.add(found[i]!, place);
      }
      return map.classes(sides);
    },
  };
}

/** The resized sides: the image covers a window; both are rounded up to the record's multiple. */
function seenSides(picture: Sides, { stride, multiple, preprocessing }: Segmenting): Sides {
  const { size } = preprocessing.geometry;
  const window = sidesOf(size);
  if (stride === undefined) return window;
  const up = (length: number, least: number) => Math.max(least, Math.ceil(length / multiple) * multiple);
  const { width, height } = coveringSides(picture, size);
  return { width: up(width, window.width), height: up(height, window.height) };
}

/** The number of classes of a graph's output. */
export function classCount({ name, outputs }: Graph): number {
  const size = outputs[0]!.node.type.axes.find((a) => a.name === "class")?.size;
  if (typeof size === "number") return size;
  throw new UsageError(
    `the output "${outputs[0]!.name}" of "${name}" has no axis "class" of a known size: segment needs one`,
  );
}

interface Place {
  readonly left: number;
  readonly top: number;
}

const windowsOf = ({ width, height }: Sides, window: Sides, stride: Sides): readonly Place[] =>
  windowStarts(height, window.height, stride.height).flatMap((top) =>
    windowStarts(width, window.width, stride.width).map((left) => ({ left, top })),
  );

function pixelsOf(
  picture: Pixels,
  places: readonly Place[],
  { geometry: { size }, normalization }: PicturePreprocessing,
) {
  const views = places.map((place) => ({
    window: { ...place, ...sidesOf(size) },
    flip: false,
    background: white,
  }));
  return imageTensor(
    places.map(() => picture),
    { size, normalization, views },
  );
}
