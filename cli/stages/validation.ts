/** `--validate`: periodic evaluation of a stage's weights on held-out samples. */
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import { type Classification, classification, type Embeddings, retrieval } from "../../data/index.ts";
import { type Recipe, type Stage, type ValidationGraph, validationGraph } from "../../dsl/index.ts";
import { drawnBeside, type Settings, type Validation } from "../../runtime/index.ts";
import type { ValidationBatch } from "./feeding.ts";

const ks = [1, 5, 10] as const;

/** The names of a validation's metrics. */
function figureNames({ means, found, classified }: ValidationGraph, recipe: Pick<Recipe, "data">): string[] {
  return [
    ...means,
    ...(found ? ks.flatMap((k) => [`recall_at_${k}`, `image_recall_at_${k}`, `text_recall_at_${k}`]) : []),
    ...(classified ? ["accuracy", ...(recipe.data?.kind === "masks" ? ["mean_iou"] : [])] : []),
  ];
}

/**
 * The validation of a stage, on the same batches each time. Throws UsageError, before training, if the metric that
 * selects the best weights does not exist.
 */
export function stageValidation(
  recipe: Recipe,
  stage: Stage,
  settings: Settings,
): (batches: (note: (text: string) => void) => AsyncIterable<ValidationBatch>) => Validation {
  const judged = validationGraph(stage, recipe.validation);
  const names = figureNames(judged, recipe);
  const metric = String(settings.best);
  if (!names.includes(metric))
    throw new UsageError(`best is "${metric}", but must be a metric of the validation: ${names.join(", ")}`);
  const isLoss = judged.means.includes(metric);
  const seed = Number(settings.seed);
  return (batches) => ({
    every: Number(settings.validateEvery),
    best: { metric, mode: isLoss ? "min" : "max" },
    run: async ({ evaluate, note }) => {
      const measured = measures(judged);
      let step = 0;
      for await (const batch of batches(note)) {
        // What the loss draws besides dropout, such as its choice of negatives, is the same in each validation.
        const drawn = drawnBeside(judged.graph, batch.feeds, { seed, stream: "validation", step: step++ });
        measured.add(batch, await evaluate(judged.graph, { ...batch.feeds, ...drawn }));
      }
      const figures = measured.figures();
      return Object.fromEntries(names.map((name) => [name, figures[name]!]));
    },
  });
}

/** Accumulates metrics over the batches. */
function measures({ means, found, classified }: ValidationGraph) {
  const sums = new Map(means.map((name) => [name, 0]));
  let weights = 0;
  const vectors = { image: [] as HostTensor[], text: [] as HostTensor[] };
  const groups: string[] = [];
  const classes: Classification | undefined = classified && classification(classified.classes);
  return {
    add(batch: ValidationBatch, outputs: Readonly<Record<string, HostTensor>>): void {
      const weight = outputs.weight ? Number(outputs.weight.data[0]) : batch.samples.length;
      weights += weight;
      // A batch without targets has loss 0, and its other metrics may be undefined.
      for (const name of weight > 0 ? means : [])
        sums.set(name, sums.get(name)! + weight * Number(outputs[name]!.data[0]));
      if (found) {
        vectors.image.push(outputs.image!);
        vectors.text.push(outputs.text!);
        groups.push(...batch.samples.map((sample, i) => groupOf(sample) ?? `row ${groups.length + i}`));
      }
      if (classified) classes!.add(outputs.predicted!.data, batch.feeds[classified.label]!.data);
    },
    figures: (): Readonly<Record<string, number>> => {
      if (groups.length === 0 && weights === 0) throw new UsageError("validation found no usable sample");
      return {
        ...Object.fromEntries([...sums].map(([name, sum]) => [name, sum / weights])),
        ...(found && recalls(joined(vectors.image), joined(vectors.text), groups)),
        ...(classes && { accuracy: classes.accuracy(), mean_iou: classes.meanIou() }),
      };
    },
  };
}

const groupOf = (sample: object): string | undefined => ("group" in sample ? String(sample.group) : undefined);

/** Vectors [batch, feature] of all batches. */
function joined(parts: readonly HostTensor[]): Embeddings {
  const data = new Float32Array(parts.reduce((n, part) => n + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(Float32Array.from(part.data, Number), at);
    at += part.data.length;
  }
  return { data, width: parts[0]!.axes.at(-1)!.size };
}

/** Recall of images by texts and of texts by images; texts of one group belong to one image. */
function recalls(images: Embeddings, texts: Embeddings, groups: readonly string[]): Record<string, number> {
  const { width } = images;
  const first = new Map<string, number>();
  for (const group of groups) if (!first.has(group)) first.set(group, first.size);
  const pictures = new Float32Array(first.size * width);
  for (const [row, group] of [...groups.entries()].reverse())
    pictures.set(images.data.subarray(row * width, (row + 1) * width), first.get(group)! * width);
  const { textToImage, imageToText } = retrieval(
    texts,
    { data: pictures, width },
    { ks, positives: (text) => [first.get(groups[text]!)!] },
  );
  return Object.fromEntries(
    ks.flatMap((k) => {
      const [image, text] = [textToImage[`r${k}`]!, imageToText[`r${k}`]!];
      return [
        [`recall_at_${k}`, (image + text) / 2],
        [`image_recall_at_${k}`, image],
        [`text_recall_at_${k}`, text],
      ];
    }),
  );
}
