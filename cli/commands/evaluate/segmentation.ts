/**
 * Semantic segmentation, compared at the annotation's own size. Mean IoU as in MMSegmentation 0.30
 * (mmseg/core/evaluation/metrics.py): counts summed over all images, classes that never occur excluded.
 */
import { basename } from "node:path";
import { FileError, type ImageSize, sizeOfSides, sizeText, UsageError } from "../../../compiler/index.ts";
import {
  type Classes,
  type Classification,
  classesDrawn,
  classification,
  decodeClasses,
  decodeResized,
  type ImageSource,
  imageDataUri,
  imageName,
  imageSides,
  orFileError,
  type RawSample,
  skipCounts,
} from "../../../data/index.ts";
import type { Card, ClassMap } from "../../../runtime/index.ts";
import { mapWithProgress } from "../../map-with-progress.ts";
import { counted } from "../data.ts";
import { labelsOf } from "../run/classify.ts";
import { type NamedModel, withWeights } from "../run/opened-model.ts";
import { classCount, openSegmenter, type Segmenting, segmentingOf } from "../run/segmenting.ts";
import { mostCards } from "./asking.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples } from "./samples.ts";

export const segmentation: Protocol = {
  summary: "classes of pixels: mean IoU, mean class accuracy, pixel accuracy, and those of each class",
  takes: ["labels", "language", "firstClass"],
  run: evaluateSegmentation,
};

/** The annotation value of unlabelled pixels. */
const ignored = 255;

async function evaluateSegmentation(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const segmenting = await segmentingOf(named, options);
  const { samples, skipped } = await readSamples("masks", options);
  const count = classCount(segmenting.graph);
  const labels = await labelsOf(options, count);
  const first = options.firstClass ?? segmenting.firstClass;
  const measures = classification(count);
  const skips = skipCounts();
  const cards: Card[] = [];
  let judged = 0;
  await withWeights(named, segmenting.graph, options, async (model) => {
    const segmenter = await openSegmenter(model, segmenting, options);
    await mapWithProgress(samples, { description: "segmenting", unit: "images" }, async (sample) => {
      const right = await annotationOf(sample, first, count).catch(orFileError);
      if (right instanceof FileError) return skips.add({ name: sample.name, reason: right.message });
      const found = await segmenter.classesOf(sample.image!, right);
      measures.add(found.data, right.data);
      judged += 1;
      if (options.out !== undefined && cards.length < mostCards)
        cards.push(await cardOf(sample.image!, found, right, count, labels));
    });
  });
  const broken = [...skipped, ...counted(skips.counts())];
  if (judged === 0) throw new FileError(`no image could be evaluated: ${broken[0]?.reason ?? "the data has none"}`);
  if (Number.isNaN(measures.accuracy()))
    throw new UsageError(
      "no annotated pixel has a class: all are 255, which is ignored, or below the model's first class",
    );
  return {
    samples: judged,
    results: resultsOf(measures, labels),
    asked: { ...windowOf(segmenting), firstClass: first },
    skipped: broken,
    ...(options.out !== undefined && {
      sections: [
        { kind: "heading", text: `The first ${cards.length} of ${judged}` },
        { kind: "cards", cards },
      ],
    }),
  };
}

/** The size at which images are segmented: whole, or in windows a stride apart. */
function windowOf({ stride, preprocessing }: Segmenting): Readonly<Record<string, string | number>> {
  const size = shown(preprocessing.geometry.size);
  return stride === undefined ? { whole: size } : { window: size, stride: shown(sizeOfSides(stride)) };
}

/** One number for a square, else "384 × 640". */
const shown = (size: ImageSize): number | string => (typeof size === "number" ? size : sizeText(size));

function resultsOf(measures: Classification, labels: readonly string[]): Results {
  const nameOf = (label: string, value: number) => (labels.indexOf(label) === value ? label : `${label} (${value})`);
  const classes = measures
    .byClass()
    .flatMap((figures, value) => (figures ? [[nameOf(labels[value]!, value), { ...figures }] as const] : []));
  return {
    all: {
      meanIou: measures.meanIou(),
      meanAccuracy: measures.meanAccuracy(),
      accuracy: measures.accuracy(),
    },
    classes: Object.fromEntries(classes),
  };
}

/**
 * Class numbers from 0, and -1 for unlabelled. Throws FileError if it cannot be read or differs from its image's size.
 */
async function annotationOf({ image, mask }: RawSample, first: number, count: number): Promise<ClassMap> {
  const { width, height, data }: Classes = await decodeClasses(mask!);
  const sides = await imageSides(image!);
  if (sides.width !== width || sides.height !== height)
    throw new FileError(
      `the image has ${sides.width} x ${sides.height} pixels, but its annotation has ${width} x ${height}`,
    );
  return {
    width,
    height,
    data: Int32Array.from(data).map((value) => {
      if (value === ignored || value < first) return -1;
      if (value - first < count) return value - first;
      throw new UsageError(
        `annotation "${imageName(mask!)}" has class ${value}, but the model has ${count} classes from ${first} on: set the number of the first class with --first-class`,
      );
    }),
  };
}

/** The image overlaid with prediction and annotation, and its largest classes. */
async function cardOf(
  image: ImageSource,
  found: ClassMap,
  right: ClassMap,
  count: number,
  labels: readonly string[],
): Promise<Card> {
  const picture = await decodeResized(image, () => right);
  const drawn = async (map: ClassMap, description: string) => {
    const name = imageName(image);
    return { image: await imageDataUri({ name, bytes: await classesDrawn(picture, map) }, 192), description };
  };
  const own = classification(count);
  own.add(found.data, right.data);
  return {
    title: basename(imageName(image)),
    pictures: [await drawn(found, "prediction"), await drawn(right, "ground truth")],
    remarks: [
      { label: "found", text: mostOf(found, labels) },
      { label: "right", text: mostOf(right, labels), mark: "expected" },
      { label: "accuracy", text: Number.isNaN(own.accuracy()) ? "–" : `${(100 * own.accuracy()).toFixed(1)} %` },
    ],
  };
}

const mostShown = 4;

function mostOf({ data }: ClassMap, labels: readonly string[]): string {
  const counts = new Map<number, number>();
  for (const value of data) if (value >= 0) counts.set(value, (counts.get(value) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, mostShown);
  return most.map(([value]) => labels[value]!).join(", ");
}
