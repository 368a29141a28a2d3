/**
 * ResNet's kernels, counted: one a convolution forward, and nothing of the size of unfolded maps in either direction.
 */
import { describe, expect, it } from "vitest";
import { baselineFacts, kernelIr, type Program } from "../../compiler/index.ts";
import { type ResnetSizes, resnetForward, resnetStep } from "../support/resnet.ts";
import { adapters, compileFor, withoutSplits } from "./support.ts";

const sizes: ResnetSizes = { batch: 8, image: 64, blocks: [1, 1], width: 64, classes: 10 };
/** Stem, three of each block, and a shortcut of each. */
const convolutions = 9;
/**
 * The largest map: after the stem, and after the first stage's last convolution. All parameters together are smaller.
 */
const largestMap = 4 * sizes.batch * Math.max(32 * 32 * sizes.width, 16 * 16 * 4 * sizes.width);

const h200 = { ...baselineFacts, ...kernelIr.recordedAdapters["nvidia-h200"].facts };
/** Bytes of each tensor that a kernel writes. */
const written = ({ kernels }: Program) =>
  kernels.flatMap(({ kernel, bindings }) =>
    bindings.filter((_, i) => kernel.buffers[i]!.access === "read_write").map((b) => 4 * Number(b.length)),
  );

describe.each(Object.entries({ ...adapters, h200 }))("on a %s adapter", (_, facts) => {
  it("a forward pass is a kernel for each convolution, with its norm, activation and residual", () => {
    const program = compileFor(resnetForward(sizes), facts);
    // The others: the pooling of the stem, the mean of the map, the classifier.
    expect(program.kernels.map((k) => k.kind).filter((k) => k === "contraction")).toHaveLength(convolutions + 1);
    expect(withoutSplits(program)).toBe(convolutions + 3);
    expect(Math.max(...written(program))).toBe(largestMap);
  });

  it("a training step writes no unfolded map", () => {
    const program = compileFor(resnetStep(sizes), facts);
    // The pooling's gradient reads more tensors than eight bindings hold, and then has windows in memory: 9 of 4
    // places.
    const most = facts.maxBindings > 8 ? largestMap : (9 / 4) * largestMap;
    expect(Math.max(...written(program))).toBe(most);
    const products = program.kernels.filter((k) => k.kind === "contraction");
    // Both gradients of each convolution but the first; those of the classifier; a strided one's in four parts.
    expect(products.length).toBeLessThanOrEqual(3 * convolutions - 1 + 3 + 3);
  });
});
