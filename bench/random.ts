/**
 * The cost of a training step's random numbers, relative to its computation: `npm run bench -- random`. Host time is
 * measured on one core of this machine; device time is a lower bound, from the number of operations and the peak rate.
 */
import { Command } from "commander";
import {
  bindSizes,
  countStepOperations,
  type Distribution,
  elementCount,
  inputName,
  type SizedAxis,
  sourceOf,
} from "../compiler/index.ts";
import { configure, trainingStep } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { fillRandom } from "../runtime/index.ts";
import { median } from "./statistics.ts";

/** Stages with random inputs, at published sizes, with a batch that fits one device. */
const cases: readonly (readonly [
  model: string,
  stage: string,
  batch: number,
  set?: Readonly<Record<string, string>>,
])[] = [
  ["internvl-c", "1.1", 256],
  ["internvl-c", "1.2", 256],
  ["internvl-g", "retrieval", 128],
  ["internvl-g", "2", 256, { negatives: "mined" }],
  ["internvl-g", "2", 4096, { negatives: "mined" }],
  ["internvit-6b-upernet", "full", 16],
];

/** Peak f16 FLOP/s of an H200's matrix units, by its data sheet. */
const peak = 989.4e12;

export async function randomBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench random")
    .description("How long a host draws the random numbers of a step, beside the step's operations at a GPU's peak.")
    .option("--runs <n>", "how often they are drawn", Number, 5);
  program.parse([...argv], { from: "user" });
  const { runs } = program.opts<{ readonly runs: number }>();
  for (const one of cases) process.stdout.write(`${measured(one, runs)}\n`);
  return 0;
}

function measured([name, stage, batch, set = {}]: (typeof cases)[number], runs: number): string {
  const model = bundledModels.find((m) => m.name === name)!;
  const recipe = model.stages![stage]!(configure(model as never, {} as never) as never, { batch, ...set });
  const { graph } = trainingStep(recipe.stage);
  const inputs = bindSizes(graph, { batch }).inputs.filter((n) => sourceOf(n) === "random");
  const counts = inputs.map((n) => elementCount(n.type.axes as readonly SizedAxis[]));
  const seconds = Array.from({ length: runs }, (_, run) => {
    const begun = performance.now();
    for (const [i, n] of inputs.entries())
      fillRandom(n.attrs.dist as unknown as Distribution, [counts[i]!], 1, inputName(n), run);
    return (performance.now() - begun) / 1e3;
  });
  const numbers = counts.reduce((a, b) => a + b, 0);
  const { forward, backward, update } = countStepOperations(graph, { batch });
  const least = (forward.flops + backward.flops + update.flops) / peak;
  const host = median(seconds);
  return [
    `${name} ${stage}${Object.keys(set).length > 0 ? ` ${Object.values(set)}` : ""}, batch ${batch}:`,
    `${inputs.length} tensors, ${numbers} numbers, ${(4 * numbers) / 1e3} kB,`,
    `drawn in ${(host * 1e3).toPrecision(3)} ms; operations at the peak ${(least * 1e3).toPrecision(4)} ms:`,
    `${((100 * host) / least).toPrecision(2)} %`,
  ].join(" ");
}
