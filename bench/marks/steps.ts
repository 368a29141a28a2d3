/** Training steps of a stage on labelled images: losses, and time per step. */
import { type HostTensor, hostTensor, type Precision, type SizedAxis } from "../../compiler/index.ts";
import { type Stage, type TrainingStep, trainingStep } from "../../dsl/index.ts";
import { initialValue, keptParameters } from "../../runtime/index.ts";
import { fillStore } from "../heddle/train-vit.ts";
import { type MarkContext, wallMs } from "./mark.ts";
import { parameterPattern, patternOf, patternsOf, tensorOf, valuesOf } from "./pattern.ts";

export const stepFor = (stage: Stage, precision: Precision): TrainingStep => trainingStep({ ...stage, precision });

/** Number of steps whose losses are compared. */
export const compared = 3;

/** Sizes of a batch of images. */
export interface Pictures {
  readonly batch: number;
  readonly image: number;
  readonly classes: number;
}

export async function trainingSteps(
  { backend, shapes }: MarkContext,
  stage: Stage,
  pictures: Pictures,
  precision: Precision,
) {
  const step = stepFor(stage, precision);
  const store = backend.createStore();
  const executable = await backend.compile(step.graph, { precision });
  try {
    const drawn = step.trained.map((n): [string, HostTensor] => [
      String(n.attrs.name),
      tensorOf(n, parameterPattern(n)),
    ]);
    await fillStore(store, step, new Map(drawn));
    for (const node of keptParameters(step)) await store.write(String(node.attrs.name), initialValue(node, 0));
    const { lossScale } = step;
    if (lossScale) await store.write(lossScale.state, hostTensor("f32", [], [lossScale.initial]));
    const feeds = { pixels: pixelsOf(pictures), label: labelsOf(pictures) };
    const losses: number[] = [];
    const run = async () => {
      losses.push((await executable.run(feeds, store)).loss!.data[0]!);
    };
    for (let i = 0; i < compared; i++) await run();
    const sample = Float32Array.from(losses);
    return { sample, milliseconds: await wallMs(run, shapes.times), weights: patternsOf({ inputs: step.trained }) };
  } finally {
    executable.dispose();
    store.dispose();
  }
}

export function pixelsOf({ batch, image }: Pictures): HostTensor {
  const shape = { batch, channel: 3, row: image, column: image };
  const axes: SizedAxis[] = Object.entries(shape).map(([name, size]) => ({ name, size }));
  return hostTensor("f32", axes, valuesOf(patternOf("pixels", Object.values(shape))) as Float32Array);
}

const labelsOf = ({ batch, classes }: Pictures): HostTensor =>
  hostTensor(
    "i32",
    [{ name: "batch", size: batch }],
    Int32Array.from({ length: batch }, (_, i) => (7 * i + 3) % classes),
  );
