/** Multiply-accumulates of published sizes beside numbers that others counted. */
import { expect, test } from "vitest";
import { countMacs, graphSymbols } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";

function macsOf(name: string, set: object = {}, sizes: Readonly<Record<string, number>> = {}): number {
  const graph = trace(bundledModels.find((m) => m.name === name)!, set as never);
  return countMacs(graph, { ...Object.fromEntries(graphSymbols(graph).map((symbol) => [symbol, 1])), ...sizes });
}

test.each([
  // `_ops` of torchvision 0.29's weights, in thousand millions.
  ["resnet-18", 1.814],
  ["resnet-34", 3.664],
  ["resnet-50", 4.089],
  ["resnet-101", 7.801],
  ["resnet-152", 11.514],
  ["alexnet", 0.714],
  ["vit-b-16", 17.564],
  ["vit-b-32", 4.409],
  ["vit-l-16", 61.555],
  ["vit-h-14", 167.295],
])("%s takes %f thousand million, as torchvision says", (name, published) => {
  expect(Math.abs(macsOf(name) / 1e9 - published)).toBeLessThan(0.0006);
});

test.each([
  // docs/model_profile.csv of OpenCLIP, which counts a picture and a text, and two for a multiply-accumulate.
  ["clip-vit-b-32", 14.78],
  ["openclip-vit-b-16", 41.09],
  ["clip-vit-l-14", 175.33],
  ["clip-vit-l-14-336", 395.22],
  ["openclip-vit-h-14", 381.68],
  ["openclip-vit-g-14", 581.15],
  ["openclip-vit-bigg-14", 1065.36],
  ["eva01-clip-g-14", 547.36],
  ["eva02-clip-b-16", 41.09],
  ["eva02-clip-l-14", 175.3],
  ["eva02-clip-e-14", 2311.42],
  ["eva02-clip-e-14-plus", 2362.19],
])("%s takes half of %f thousand million, as OpenCLIP says", (name, published) => {
  expect(Math.abs((2 * macsOf(name)) / 1e9 - published)).toBeLessThan(0.006);
});

/**
 * Keys and values of the picture, which both passes of the Q-Former over it share here, and 32 cosines, which are not
 * taken.
 */
const shared = 6 * 2 * 257 * 1408 * 768 + 32 * 256;

test.each([
  // PyTorch's FlopCounterMode on transformers' classes: scripts/reference/operations.py.
  ["llava-1.5-7b", {}, {}, 14_825_902_618_624],
  ["internvl-chat-1.2", {}, {}, 79_103_962_866_944],
  ["gpt2", {}, { token: 1024 }, 145_824_153_600],
  ["dinov2-vit-s-14", { positions: 0 }, {}, 6_123_561_984],
  ["dinov2-vit-l-14", { positions: 0 }, {}, 81_011_982_336],
  ["blip2-qformer", {}, {}, 18_265_726_976 - shared],
])("%s takes what PyTorch counts", (name, set, sizes, counted) => {
  expect(macsOf(name, set, sizes)).toBe(counted);
});

/**
 * A class token attends and is attended to, which the paper's way of counting leaves out; it adds the convolution's
 * biases.
 */
test.each(["internvl-chat-1.2", "internvl-chat-1.5"])("%s differs from the paper's way by its class token", (name) => {
  const { paper, config } = bundledModels.find((m) => m.name === name)!;
  const [blocks, width, patches] = [45, 3200, 32 ** 2];
  const classToken = blocks * 2 * width * ((patches + 1) ** 2 - patches ** 2);
  expect(macsOf(name) - paper!.macs!(config)).toBe(classToken - patches * width);
});
