/** A training step of a ViT: pictures in, loss out, AdamW; in f16 with f32 master weights, and in f32. */
import type { CompileOptions } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, type SizedAxis } from "../../compiler/index.ts";
import { type Stage, type TrainingStep, trainingStep } from "../../dsl/index.ts";
import { fillStore } from "../heddle/train-vit.ts";
import { type VitConfig, vitStage } from "../model/vit.ts";
import { join, type MarkContext, type MarkGroup, wallMs } from "./mark.ts";
import { parameterPattern, patternOf, patternsOf, tensorOf, valuesOf } from "./pattern.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";

const configOf = (s: Shapes): VitConfig => ({
  ...{ batch: s.batch, tokens: (s.image / s.patch) ** 2 + 1, width: s.width, heads: s.heads, mlp: 4 * s.width },
  ...{ depth: s.depth, image: s.image, patch: s.patch, classes: s.classes },
});

const names = (s: Shapes) => {
  const what = `ViT step, width ${s.width}, ${s.depth} blocks, batch ${s.batch}`;
  return { f16: `${what}, f16`, f32: `${what}, f32` };
};

/** Steps whose losses are compared. */
const compared = 3;

export const training: MarkGroup = {
  name: "train",
  marks: (s) => ({
    [names(s).f16]: { unit: "ms", first: 130, goal: 70 },
    [names(s).f32]: { unit: "ms", first: 520, goal: 450 },
  }),
  measure: async (context, record) => {
    const { shapes } = context;
    const half = halfOptions(context);
    for (const precision of ["f16", "f32"] as const) {
      const isHalf = precision === "f16";
      if (isHalf && Object.keys(half.options).length === 0) {
        record(names(shapes).f16, { skipped: "training in f16 is not there yet" });
        continue;
      }
      const { losses, milliseconds, weights } = await steps(context, precision);
      record(names(shapes)[precision], {
        value: milliseconds,
        sample: losses,
        tolerance: isHalf ? 2e-2 : 1e-3,
        peer: { run: "train", precision, weights, steps: compared, ...configOf(shapes) },
        ...join(isHalf ? half.note : undefined),
      });
    }
  },
};

/** In f32 nothing is asked for, as every version has it. */
const askedFor = (precision: "f16" | "f32") => (precision === "f16" ? { precision } : {});

export const stepOf = (shapes: Shapes, precision: "f16" | "f32"): TrainingStep =>
  trainingStep({ ...vitStage(configOf(shapes)), ...askedFor(precision) } as Stage);

async function steps({ backend, shapes }: MarkContext, precision: "f16" | "f32") {
  const config = configOf(shapes);
  const step = stepOf(shapes, precision);
  const store = backend.createStore();
  const executable = await backend.compile(step.graph, askedFor(precision) as CompileOptions);
  try {
    const drawn = step.trained.map((n): [string, HostTensor] => [
      String(n.attrs.name),
      tensorOf(n, parameterPattern(n)),
    ]);
    await fillStore(store, step, new Map(drawn));
    const { lossScale } = step as TrainingStep & { lossScale?: { state: string; initial: number } };
    if (lossScale) await store.write(lossScale.state, hostTensor("f32", [], [lossScale.initial]));
    const feeds = batchOf(config);
    const losses: number[] = [];
    const run = async () => {
      losses.push((await executable.run(feeds, store)).loss!.data[0]!);
    };
    for (let i = 0; i < compared; i++) await run();
    const sample = Float32Array.from(losses);
    const milliseconds = await wallMs(run, shapes.times);
    return { losses: sample, milliseconds, weights: patternsOf({ inputs: step.trained }) };
  } finally {
    executable.dispose();
    store.dispose();
  }
}

function batchOf(c: VitConfig): Record<string, HostTensor> {
  const shape = { batch: c.batch, channel: 3, row: c.image, column: c.image };
  const axes: SizedAxis[] = Object.entries(shape).map(([name, size]) => ({ name, size }));
  const pixels = valuesOf(patternOf("pixels", Object.values(shape)));
  const label = Int32Array.from({ length: c.batch }, (_, i) => (7 * i + 3) % c.classes);
  return { pixels: hostTensor("f32", axes, pixels as Float32Array), label: hostTensor("i32", [axes[0]!], label) };
}
