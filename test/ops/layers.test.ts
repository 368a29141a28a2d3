/**
 * Layers with options of theirs beside PyTorch, on every executor: results and gradients. scripts/reference/layers.py
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { differentiate, type HostTensor, hostTensor, inputName, makeGraph, mulDims } from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  alignedBilinear,
  attention,
  attentionPooling,
  averagePool,
  axis,
  batchNorm,
  causalMask,
  convolution,
  type FeatureMap,
  gatedMlp,
  gelu,
  geluMlp,
  imageAxes,
  input,
  layerNorm,
  linear,
  maxPool,
  mlp,
  mul,
  type Params,
  patchEmbedding,
  quickGelu,
  relu,
  residual,
  resize,
  rmsNorm,
  rootParams,
  sum,
  swiGlu,
  symbol,
  transpose,
  transposedConvolution,
} from "../../dsl/index.ts";
import { allExecutors, executors, runOnce } from "../models/executors.ts";
import { difference } from "../models/support.ts";

interface Told {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly inputs: Readonly<Record<string, Told>>;
  readonly y: Told;
  readonly gradients: Readonly<Record<string, Told>>;
}
const cases: Readonly<Record<string, Case>> = JSON.parse(
  readFileSync(new URL("../fixtures/models/layers.json", import.meta.url), "utf8"),
);

const axes = (...sizes: readonly (readonly [string, number])[]): Axis[] =>
  sizes.map(([name, size]) => axis(name, size));
const [row6, feature6] = [axis("row", 3), axis("feature", 6)];
const map = (rows: number, columns: number) => axes(["channel", 2], ["row", rows], ["column", columns]);
const [heads, token, key, dim, width] = [
  axis("heads", 2),
  axis("token", 5),
  axis("key", 7),
  axis("dim", 4),
  axis("width", 3),
];

/** Inputs by name with their axes, and what is made of them; parameters are inputs of the case by their names. */
interface Layer {
  readonly inputs: Readonly<Record<string, readonly Axis[]>>;
  readonly parameters?: Readonly<Record<string, readonly Axis[]>>;
  readonly of: (x: Readonly<Record<string, AnyTensor>>, p: Params) => AnyTensor;
  readonly out: readonly string[];
}
const normed = { inputs: { x: [row6, feature6] }, out: ["row", "feature"] };
const pooled = (rows: number, columns: number, of: (x: FeatureMap<string>) => AnyTensor): Layer => ({
  inputs: { x: map(rows, columns) },
  out: ["channel", "row", "column"],
  of: ({ x }) => of(x as FeatureMap<string>),
});
const biased = (masked: boolean): Layer => ({
  inputs: { q: [heads, token, dim], k: [heads, key, dim], v: [heads, key, width], bias: [heads, token, key] },
  out: ["heads", "token", "width"],
  of: ({ q, k, v, bias }) =>
    attention(q!, k!, v!, { dot: dim, over: key, bias: bias! }, masked ? causalMask(token, key, 2) : undefined),
});
const patches = [axis("embed", 5), axis("channel", 3), axis("patch_row", 2), axis("patch_column", 2)];

const to = axis("to", 3);
const inGroups = axes(["group", 2], ["to_of_group", 3], ["kernel_row", 4], ["kernel_column", 4], ["channel", 2]);

const layers: Readonly<Record<string, Layer>> = {
  "layer norm": { ...normed, of: ({ x }, p) => layerNorm(p, x!, [feature6], { epsilon: 1e-3, scale: false }) },
  "layer norm with a scale": {
    ...normed,
    parameters: { weight: [feature6] },
    of: ({ x }, p) => layerNorm(p, x!, [feature6], { bias: false }),
  },
  "rms norm": { ...normed, of: ({ x }, p) => rmsNorm(p, x!, [feature6], { scale: false }) },
  "average pooling": pooled(6, 5, (x) => averagePool(x, { kernel: 2 })),
  "average pooling with zeros": pooled(6, 5, (x) => averagePool(x, { kernel: 3, stride: 2, padding: 1 })),
  "average pooling without zeros": pooled(6, 5, (x) =>
    averagePool(x, { kernel: [3, 2], stride: [2, 1], padding: [1, 0], countPadding: false }),
  ),
  "max pooling": pooled(7, 6, (x) => maxPool(x, { kernel: 3, stride: 2, padding: 1 })),
  "transposed convolution": {
    inputs: { x: map(3, 4) },
    parameters: { weight: axes(["to", 3], ["kernel_row", 3], ["kernel_column", 2], ["channel", 2]), bias: [to] },
    of: ({ x }, p) =>
      transposedConvolution(p, x as FeatureMap<"channel">, axis("channel", 2), to, {
        ...{ kernel: [3, 2], stride: [2, 3], padding: [1, 0], outputPadding: [1, 2], dilation: [2, 1] },
      }),
    out: ["to", "row", "column"],
  },
  "transposed convolution in groups": {
    inputs: { x: axes(["channel", 4], ["row", 3], ["column", 2]) },
    parameters: { weight: inGroups },
    of: ({ x }, p) =>
      transposedConvolution(p, x as FeatureMap<"channel">, axis("channel", 4), axis("to", 6), {
        ...{ kernel: 4, stride: 2, padding: 1, groups: 2, bias: false },
      }),
    out: ["to", "row", "column"],
  },
  "transposed convolution of tiles": {
    inputs: { x: map(3, 2) },
    parameters: {
      weight: axes(["to", 4], ["kernel_row", 3], ["kernel_column", 2], ["channel", 2]),
      bias: axes(["to", 4]),
    },
    of: ({ x }, p) =>
      transposedConvolution(p, x as FeatureMap<"channel">, axis("channel", 2), axis("to", 4), {
        ...{ kernel: [3, 2], stride: [3, 2] },
      }),
    out: ["to", "row", "column"],
  },
  "resizing with aligned corners": pooled(4, 5, (x) => resize(x, 7, 2, alignedBilinear)),
  "resizing to one pixel with aligned corners": pooled(4, 1, (x) => resize(x, 1, 3, alignedBilinear)),
  "patch embedding": {
    inputs: { image: axes(["channel", 3], ["row", 4], ["column", 6]) },
    parameters: { weight: patches },
    of: ({ image }, p) =>
      patchEmbedding(p, image!, imageAxes([4, 6]), 2, axis("embed", 5), axis("patch", 6), { bias: false }),
    out: ["embed", "patch"],
  },
  "attention with a bias": biased(false),
  "attention with a bias and a mask": biased(true),
};

const valued = (told: Told, over: readonly Axis[]): HostTensor =>
  hostTensor("f32", over as never, told.data as number[]);
const inOrder = (x: AnyTensor, names: readonly string[]): AnyTensor =>
  transpose(x, names.map((name) => x.type.axes.find((a) => a.name === name)!) as Axis[]);

describe.each(Object.entries(layers))("%s", (name, { inputs, parameters = {}, of, out }) => {
  const wanted = cases[name]!;

  it.each(allExecutors)("is PyTorch's, and its gradients are: $name", async (executor) => {
    const given = Object.fromEntries(
      Object.entries(inputs).map(([n, over]) => [n, input(n, "f32", over) as AnyTensor]),
    );
    const y = of(given, rootParams());
    const learned = makeGraph("y", [{ name: "y", node: y }]).inputs.filter((n) => n.op === "parameter");
    const loss = mul(sum(mul(mul(y, y), y), y.type.axes as Axis[]), 1 / 3);
    const sources = [...Object.values(given), ...learned];
    const order = { ...inputs, ...parameters };
    const graph = makeGraph("layer", [
      { name: "y", node: inOrder(y, out) },
      ...differentiate(loss, sources).map((node, i) => {
        const source = inputName(sources[i]!);
        return {
          name: `d_${source}`,
          node: inOrder(
            node as AnyTensor,
            order[source]!.map((a) => a.name),
          ),
        };
      }),
    ]);
    const values = (of: Readonly<Record<string, readonly Axis[]>>) =>
      Object.entries(of).map(([n, over]) => [n, valued(wanted.inputs[n]!, over)] as const);
    const results = await runOnce(executor, graph, Object.fromEntries(values(inputs)), new Map(values(parameters)));
    expect(Object.keys(results)).toHaveLength(1 + Object.keys(wanted.gradients).length);
    expect(difference(results.y!.data, wanted.y.data)).toBeLessThan(1e-5);
    for (const [n, told] of Object.entries(wanted.gradients))
      expect([n, difference(results[`d_${n}`]!.data, told.data)]).toEqual([n, expect.closeTo(0, 4)]);
  });
});

describe("a row that attention with a bias lets see nothing", () => {
  it("gives 0", async () => {
    const [q, k, v, bias] = ["q", "k", "v", "bias"].map((n) =>
      input(n, "f32", n === "q" ? [token, dim] : n === "k" ? [key, dim] : n === "v" ? [key, width] : [key]),
    ) as [AnyTensor, AnyTensor, AnyTensor, AnyTensor];
    const seen = input("seen", "bool", [token]) as AnyTensor;
    const graph = makeGraph("blind", [{ name: "y", node: attention(q, k, v, { dot: dim, over: key, bias }, seen) }]);
    const filled = (over: readonly Axis[], value: number) =>
      hostTensor("f32", over as never, new Array(over.reduce((n, a) => n * (a.size as number), 1)).fill(value));
    const feeds = {
      ...{ q: filled([token, dim], 1), k: filled([key, dim], 2), v: filled([key, width], 3), bias: filled([key], 9) },
      seen: hostTensor("bool", [token] as never, [1, 0, 1, 1, 0]),
    };
    for (const executor of allExecutors) {
      const { y } = await runOnce(executor, graph, feeds, new Map());
      const rows = Array.from({ length: 5 }, (_, i) => Math.round(y!.data[3 * i]! * 1e4) / 1e4);
      expect([executor.name, rows]).toEqual([executor.name, [3, 0, 3, 3, 0]]);
    }
  });
});

describe("a picture whose sizes are open", () => {
  it("is embedded at any size", async () => {
    const [rows, columns] = [mulDims(symbol("rows"), 2), mulDims(symbol("columns"), 2)];
    const open = imageAxes([rows, columns], 1);
    const image = input("image", "f32", [open.channel, open.row, open.column]);
    const patch = axis("patch", mulDims(symbol("rows"), symbol("columns")));
    const y = patchEmbedding<never, "embed", "patch">(rootParams(), image, open, 2, axis("embed", 1), patch, {
      bias: false,
    });
    const graph = makeGraph("open", [{ name: "y", node: y }]);
    const weights = new Map([
      [
        "weight",
        hostTensor(
          "f32",
          axes(["embed", 1], ["channel", 1], ["patch_row", 2], ["patch_column", 2]) as never,
          [1, 10, 100, 1000],
        ),
      ],
    ]);
    for (const executor of allExecutors)
      for (const [r, c] of [
        [2, 4],
        [4, 2],
        [6, 2],
      ] as const) {
        const sides = axes(["channel", 1], ["row", r], ["column", c]);
        const pixels = Array.from({ length: r * c }, (_, i) => i);
        const { y: got } = await runOnce(
          executor,
          graph,
          { image: hostTensor("f32", sides as never, pixels) },
          weights,
        );
        const wanted = Array.from({ length: (r * c) / 4 }, (_, i) => {
          const at = 2 * Math.floor(i / (c / 2)) * c + 2 * (i % (c / 2));
          return at + 10 * (at + 1) + 100 * (at + c) + 1000 * (at + c + 1);
        });
        expect([executor.name, ...got!.data]).toEqual([executor.name, ...wanted]);
      }
  });

  it("that no whole number of patches fills is refused", async () => {
    const open = imageAxes([mulDims(symbol("rows"), 2), 2], 1);
    const image = input("image", "f32", [open.channel, open.row, open.column]);
    const graph = makeGraph("open", [{ name: "y", node: mul(image, 2) }]);
    const odd = hostTensor("f32", axes(["channel", 1], ["row", 3], ["column", 2]) as never, new Array(6).fill(0));
    for (const executor of allExecutors)
      await expect(runOnce(executor, graph, { image: odd }, new Map())).rejects.toThrow(
        /axis "row" of input "image" is .*rows.*, but the feed has 3/,
      );
  });

  it("that patches do not fill is refused", () => {
    const sides = imageAxes([5, 4]);
    const image = input("image", "f32", [sides.channel, sides.row, sides.column]);
    const embed = () => patchEmbedding(rootParams(), image, sides, 2, axis("embed", 3), axis("patch", 4));
    expect(embed).toThrow(/axis "row" of 5 pixels is not divisible by the patch size, 2/);
  });
});

describe("a residual block", () => {
  const [embed, hidden] = [axis("embed", 4), axis("hidden", 6)];
  const x = input("x", "f32", [row6, embed]) as AnyTensor;
  const block = (arrangement: "pre-norm" | "post-norm" | "parallel", shared = false) => {
    const p = rootParams();
    const norm = (name: string) => (y: AnyTensor) => layerNorm(p.scope(name), y, [embed]);
    const first = norm("norm1");
    return residual(x, arrangement, [
      { norm: first, of: (y) => mlp(p.scope("a"), y, embed, hidden, { activation: relu as never }) },
      { norm: shared ? first : norm("norm2"), of: (y) => gatedMlp(p.scope("b"), y, embed, hidden, { bias: true }) },
    ]);
  };
  const names = (node: AnyTensor) =>
    makeGraph("b", [{ name: "y", node }])
      .inputs.map(inputName)
      .filter((n) => n !== "x");

  it("has the branches and norms that it is given, a shared one once", () => {
    expect(names(block("pre-norm")).filter((n) => n.startsWith("norm"))).toHaveLength(4);
    expect(names(block("parallel", true)).filter((n) => n.startsWith("norm"))).toHaveLength(2);
    expect(names(block("post-norm")).filter((n) => n.startsWith("b."))).toHaveLength(6);
    expect(() => residual(x, "sandwich" as never, [])).toThrow(/one of pre-norm, post-norm, parallel, got "sandwich"/);
  });

  it("is arranged as its name says", async () => {
    const double = (y: AnyTensor) => mul(y, 2) as AnyTensor;
    const [norm, of] = [double, (y: AnyTensor) => mul(y, 10) as AnyTensor];
    const branches = [
      { norm, of },
      { norm, of },
    ];
    const feeds = { x: hostTensor("f32", [row6, embed] as never, new Array(12).fill(1)) };
    const value = async (arrangement: "pre-norm" | "post-norm" | "parallel") => {
      const graph = makeGraph("r", [{ name: "y", node: residual(x, arrangement, branches) }]);
      return (await runOnce(executors[0]!, graph, feeds, new Map())).y!.data[0];
    };
    expect(await value("pre-norm")).toBe(21 * 21); // x + 20 x, twice
    expect(await value("post-norm")).toBe(22 * 22); // 2 · (x + 10 x), twice
    expect(await value("parallel")).toBe(41); // x + 20 x + 20 x
  });
});

describe("an option that a layer does not have", () => {
  const [embed, out] = [axis("embed", 4), axis("out", 3)];
  const x = input("x", "f32", [row6, embed]) as AnyTensor;
  const picture = input("p", "f32", axes(["channel", 3], ["row", 4], ["column", 4])) as FeatureMap<string>;
  const p = () => rootParams();
  const [channel, wrong] = [axis("channel", 3), (options: object) => options as never];
  it.each([
    [
      "linear",
      () => linear(p(), x, [embed], [out], wrong({ bais: false })),
      /linear has no option "bais"; did you mean "bias"\? It has: bias, init\./,
    ],
    ["mlp", () => mlp(p(), x, embed, out, wrong({ activate: gelu })), /mlp has no option "activate"/],
    ["gatedMlp", () => gatedMlp(p(), x, embed, out, wrong({ activaton: quickGelu })), /did you mean "activation"\?/],
    [
      "geluMlp",
      () => geluMlp(p(), x, embed, out, wrong({ activation: quickGelu })),
      /geluMlp has no option "activation"\. It has: bias, init, outInit\./,
    ],
    [
      "swiGlu",
      () => swiGlu(p(), x, embed, out, wrong({ activation: gelu })),
      /swiGlu has no option "activation"\. It has: bias, init\./,
    ],
    ["layerNorm", () => layerNorm(p(), x, [embed], wrong({ epsilom: 1 })), /layerNorm has no option "epsilom"/],
    ["rmsNorm", () => rmsNorm(p(), x, [embed], wrong({ bias: true })), /rmsNorm has no option "bias"/],
    [
      "convolution",
      () => convolution(p(), picture, channel, out, wrong({ kernel: 3, strides: 2 })),
      /did you mean "stride"\?/,
    ],
    [
      "transposedConvolution",
      () => transposedConvolution(p(), picture, channel, out, wrong({ kernel: 2, strides: 2 })),
      /did you mean "stride"\?/,
    ],
    ["maxPool", () => maxPool(picture, wrong({ kernel: 2, pad: 1 })), /maxPool has no option "pad"/],
    ["averagePool", () => averagePool(picture, wrong({ kernel: 2, ceil: true })), /averagePool has no option "ceil"/],
    ["batchNorm", () => batchNorm(p(), x, embed, wrong({ updates: [], eps: 1 })), /batchNorm has no option "eps"/],
    [
      "attention",
      () => attention(x, x, x, wrong({ dot: embed, over: row6, mask: x })),
      /attention has no option "mask"/,
    ],
    [
      "attentionPooling",
      () => attentionPooling(p(), x as never, wrong({ token: row6, embed, out, heads: 2, head: 1 })),
      /no option "head"/,
    ],
    [
      "patchEmbedding",
      () => patchEmbedding(p(), picture, imageAxes(4), 2, out, axis("patch", 4), wrong({ bais: false })),
      /patchEmbedding has no option "bais"/,
    ],
  ] as const)("is an error that names it: %s", (_, use, message) => {
    expect(use).toThrow(message);
  });
});

it("a transposed convolution between axes of one name has the same parameters whether or not its tiles overlap", () => {
  const channel = axis("channel", 2);
  const parameters = (kernel: number) => {
    const x = input("x", "f32", map(3, 3)) as FeatureMap<"channel">;
    const y = transposedConvolution(rootParams(), x, channel, channel, { kernel, stride: 2 });
    const { inputs } = makeGraph("y", [{ name: "y", node: y }]);
    return inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), n.type.axes.map((a) => a.name)]);
  };
  const weight = ["channel_out", "kernel_row", "kernel_column", "channel"];
  expect(parameters(2)).toEqual([
    ["weight", weight],
    ["bias", ["channel_out"]],
  ]);
  expect(parameters(3)).toEqual(parameters(2));
});

it("a transposed convolution in groups is initialized by the channels that each result reads", () => {
  const channel = axis("channel", 4);
  const stdOf = (groups: number) => {
    const x = input("x", "f32", [channel, axis("row", 3), axis("column", 3)]) as FeatureMap<"channel">;
    const y = transposedConvolution(rootParams(), x, channel, axis("to", 4), { kernel: 3, stride: 2, groups });
    const { inputs } = makeGraph("y", [{ name: "y", node: y }]);
    return inputs.find((n) => n.op === "parameter" && inputName(n) === "weight")!.attrs.init;
  };
  expect(stdOf(1)).toMatchObject({ std: 0.5 });
  expect(stdOf(4)).toMatchObject({ std: 1 });
});
