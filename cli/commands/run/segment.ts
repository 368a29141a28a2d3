/** `heddle run ... segment`: segments images, as overlays and as annotation files. */
import { basename, extname, join } from "node:path";
import { UsageError } from "../../../compiler/index.ts";
import { classColour, classesDrawn, classesPng, decodeResized } from "../../../data/index.ts";
import { type ClassMap, escapeControls, writeFileAtomically } from "../../../runtime/index.ts";
import { mapWithProgress } from "../../map-with-progress.ts";
import { json } from "../../output.ts";
import { inOutputFolder } from "../../output-folder.ts";
import { labelsOf } from "./classify.ts";
import { openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { requirePictures } from "./pictures.ts";
import { classCount, openSegmenter, segmentingOf } from "./segmenting.ts";
import { printable } from "./writing.ts";

export interface SegmentOptions extends RunOptions {
  readonly image: readonly string[];
  readonly labels?: string;
  readonly language?: string;
  readonly out: string;
}

/** The files written for one image, and the fraction of its area of each class, largest first. */
export interface Segmented {
  readonly image: string;
  readonly drawn: string;
  readonly classes: string;
  readonly shares: readonly ClassShare[];
}

interface ClassShare {
  readonly label: string;
  readonly share: number;
  /** Its overlay colour, "#80ff00". */
  readonly colour: string;
}

export async function segmentCommand(source: string, options: SegmentOptions): Promise<number> {
  const named = await openModel(source, options);
  const segmenting = await segmentingOf(named, options);
  requirePictures(options.image);
  const stems = stemsOf(options.image);
  const labels = await labelsOf(options, classCount(segmenting.graph));
  const found = await inOutputFolder(options.out, () =>
    withWeights(named, segmenting.graph, options, async (model) => {
      const segmenter = await openSegmenter(model, segmenting, options);
      const shown = { description: "segmenting", unit: "images" };
      return await mapWithProgress(options.image, shown, async (image, i): Promise<Segmented> => {
        const picture = await decodeResized(image, (sides) => sides);
        const { width, height } = picture;
        const map = await segmenter.classesOf(image, { width, height });
        const drawn = join(options.out, `${stems[i]}.png`);
        const classes = join(options.out, `${stems[i]}.classes.png`);
        await writeFileAtomically(drawn, await classesDrawn(picture, map));
        await writeFileAtomically(classes, await classesPng(map, segmenting.firstClass));
        return { image, drawn, classes, shares: sharesOf(map, labels) };
      });
    }),
  );
  process.stdout.write(options.json ? `${json(found)}\n` : found.map(lines).join(""));
  return 0;
}

/** A file for each image, named after it. Throws UsageError if two images would share one. */
function stemsOf(images: readonly string[]): readonly string[] {
  const stems = images.map((path) => basename(path, extname(path)));
  const twice = stems.findIndex((stem, i) => stems.indexOf(stem) !== i);
  if (twice < 0) return stems;
  throw new UsageError(
    `"${images[stems.indexOf(stems[twice]!)]}" and "${images[twice]}" would both be written to ${stems[twice]}.png: run them separately`,
  );
}

function sharesOf({ data }: ClassMap, labels: readonly string[]): readonly ClassShare[] {
  const counts = labels.map(() => 0);
  for (const value of data) counts[value]! += 1;
  return counts
    .map((count, value) => ({ label: labels[value]!, share: count / data.length, colour: hex(value) }))
    .filter(({ share }) => share > 0)
    .sort((a, b) => b.share - a.share);
}

const hex = (value: number): string =>
  `#${classColour(value)
    .map((c) => c.toString(16).padStart(2, "0"))
    .join("")}`;

const lines = ({ drawn, shares }: Segmented): string =>
  [
    escapeControls(drawn),
    ...shares.map((s) => `  ${(100 * s.share).toFixed(1).padStart(5)} %  ${s.colour}  ${printable(s.label)}`),
    "",
  ].join("\n");
