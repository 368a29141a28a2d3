/** Devices say what the interpreter says of each model at configurations that nobody chose, gradients included. */
import { describe, expect, test } from "vitest";
import { allExecutors, runOnce } from "./executors.ts";
import { runInterpreted } from "./interpreted.ts";
import { families, randomModel } from "./random-models.ts";
import { difference, largest } from "./support.ts";

const [reference, ...others] = allExecutors;
const devices = others.map((device) => ({ ...device, run: runOnce.bind(undefined, device) }));
const interpreted = { name: "kernels of webgpu, interpreted", tolerance: 1e-4, run: runInterpreted };

/** One of each, small enough for the software adapter; what a seed came to is told by a failure. */
const seeds: Readonly<Record<string, number>> = {
  internvit: 31,
  llama: 13,
  "decoder step": 8,
  "grouped decoder step": 2,
  "chat of tiles": 4,
  "qllama matching": 23,
  "qllama contrastive": 17,
  "qllama generative": 37,
  "internvl-c": 17,
  "internvl-g": 15,
  "stage 2": 23,
  retrieval: 37,
  "chat of patches": 34,
  "chat of queries": 36,
  probe: 28,
  "linear segmentation": 2,
  upernet: 11,
};
const cases = Object.keys(families).map((name) => ({ name, seed: seeds[name]! }));

/**
 * Of these, the software adapter has every kind of kernel in another model, which contains them, at sizes just as odd.
 */
const parts = new Set([
  "internvit",
  "llama",
  "qllama matching",
  "qllama contrastive",
  "qllama generative",
  "retrieval",
  "chat of patches",
]);

/**
 * The software adapter takes a third of a minute to compile the kernels of each of these, and runs the same parts
 * beside PyTorch at other sizes (chat-, contrastive-, generative- and heads-parity.test.ts): here the kernels that it
 * would compile are interpreted.
 */
const large = new Set(["chat of queries", "internvl-c", "internvl-g", "stage 2", "upernet"]);

describe.each(cases)("$name with seed $seed", ({ name, seed }) => {
  const { config, graph, feeds, weights } = randomModel(name, seed);
  const wanted = runOnce(reference!, graph, feeds, weights);

  const ran = devices
    .filter((device) => device.name !== "webgpu" || !parts.has(name))
    .map((device) => (device.name === "webgpu" && large.has(name) ? interpreted : device));
  test.each(ran)("is the same on $name, gradients included", async (device) => {
    const [want, got] = [await wanted, await device.run(graph, feeds, weights)];
    const gradients = Object.keys(want).filter((n) => weights.has(n));
    const outputs = Object.keys(want).filter((n) => !weights.has(n));
    // What is 0 but for rounding, as the contrastive loss of one pair is, or the gradient of what a batch norm takes
    // the mean of, has the size of its terms: that of the others. On each device such sums were seen to keep 6e-6 of
    // it.
    const floorOf = (names: readonly string[]) => 1e-2 * Math.max(...names.map((n) => largest(want[n]!.data)));
    const [floor, outputFloor] = [floorOf(gradients), floorOf(outputs)];
    expect(floor).toBeGreaterThan(1e-6);
    for (const [n, value] of Object.entries(want)) {
      const isGradient = weights.has(n);
      const apart = difference(got[n]!.data, value.data, isGradient ? floor : outputFloor);
      const limit = isGradient ? 10 * device.tolerance : device.tolerance;
      expect(apart, `${n} of ${JSON.stringify(config)}`).toBeLessThan(limit);
    }
  });
});
