/** onnxruntime's attention operators: each file computes what onnxruntime computes of it. */
import { expect, it } from "vitest";
import { type ImportOptions, importOnnx } from "../../../backends/onnx/import/index.ts";
import { evaluate } from "../../../backends/reference/index.ts";
import { computedTwice, type Fed, fileOf } from "./in-onnxruntime.ts";

/** Floats of a size, or given integers. */
interface Given {
  readonly dims: readonly number[];
  readonly ints?: readonly number[];
  /** The type of the integers; default int32. */
  readonly wide?: boolean;
}

interface Case {
  readonly op: string;
  /** Operands by name, in the operator's order; undefined leaves one out. */
  readonly inputs: Readonly<Record<string, Given | undefined>>;
  readonly ints?: Readonly<Record<string, number>>;
  readonly lists?: Readonly<Record<string, readonly number[]>>;
  readonly floats?: Readonly<Record<string, number>>;
  readonly texts?: Readonly<Record<string, string>>;
  /** The outputs to compare; default y. */
  readonly outputs?: readonly string[];
  /** All outputs; default those to compare. */
  readonly names?: readonly string[];
  readonly options?: ImportOptions;
}

const typeOf = ({ ints, wide }: Given): number => (ints ? (wide ? 7 : 6) : 1);

const infoOf = (name: string, given: Given) => ({
  name,
  type: { tensorType: { elemType: typeOf(given), shape: { dim: given.dims.map((dimValue) => ({ dimValue })) } } },
});

function file(one: Case): Uint8Array {
  const { op, inputs, ints = {}, lists = {}, floats = {}, texts = {}, outputs = ["y"], names = outputs } = one;
  const given = Object.entries(inputs).flatMap(([name, g]) => (g ? [[name, g] as const] : []));
  return fileOf({
    input: given.map(([name, g]) => infoOf(name, g)),
    output: names.map((name) => ({ name, type: { tensorType: { elemType: name === "lengths" ? 6 : 1 } } })),
    node: [
      {
        opType: op,
        domain: "com.microsoft",
        name: op,
        input: Object.entries(inputs).map(([name, g]) => (g ? name : "")),
        output: [...names],
        attribute: [
          ...Object.entries(ints).map(([name, i]) => ({ name, type: 2, i })),
          ...Object.entries(floats).map(([name, f]) => ({ name, type: 1, f })),
          ...Object.entries(texts).map(([name, text]) => ({ name, type: 3, s: new TextEncoder().encode(text) })),
          ...Object.entries(lists).map(([name, list]) => ({ name, type: 7, ints: [...list] })),
        ],
      },
    ],
  });
}

const valuesOf = ({ dims, ints }: Given, seed: number): number[] =>
  ints
    ? [...ints]
    : Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.fround(Math.sin(seed + i * 1.7)));

const fedOf = (given: Given, seed: number): Fed => ({
  type: given.ints ? (given.wide ? "int64" : "int32") : "float32",
  dims: given.dims,
  values: valuesOf(given, seed),
});

/** Compares the outputs with onnxruntime's; `kept` tells which elements are defined. */
async function compare(one: Case, kept: (name: string, i: number) => boolean = () => true): Promise<void> {
  const given = Object.entries(one.inputs).flatMap(([name, g], i) => (g ? [[name, fedOf(g, i + 1)] as const] : []));
  const compared = one.outputs ?? ["y"];
  for (const { name, want, made } of await computedTwice(file(one), Object.fromEntries(given), one.options)) {
    if (!compared.includes(name)) continue;
    expect(made.length, name).toBe(want.length);
    const apart = want.map((v, i) => (kept(name, i) ? Math.abs(v - made[i]!) : 0));
    expect(Math.max(...apart), name).toBeLessThan(2e-5);
  }
}

const [batch, heads, width, queries, keys] = [2, 3, 4, 5, 7];
const embed = heads * width;
const floats = (...dims: number[]): Given => ({ dims });
const whole = (dims: readonly number[], ints: readonly number[], wide = false): Given => ({ dims, ints, wide });
const qkv = { q: floats(batch, queries, embed), k: floats(batch, keys, embed), v: floats(batch, keys, embed) };
const seen = [1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0];

it.each<[string, Case]>([
  ["of three operands", { op: "MultiHeadAttention", inputs: qkv, ints: { num_heads: heads } }],
  [
    "with a bias, a scale and values of another width",
    {
      op: "MultiHeadAttention",
      inputs: { ...qkv, v: floats(batch, keys, 6), bias: floats(2 * embed + 6) },
      ints: { num_heads: heads },
      floats: { scale: 0.7 },
    },
  ],
  [
    "with padding of keys and a bias of the logits",
    {
      op: "MultiHeadAttention",
      inputs: { ...qkv, bias: undefined, mask: whole([batch, keys], seen), added: floats(1, heads, queries, keys) },
      ints: { num_heads: heads },
    },
  ],
  [
    "with keys in heads",
    {
      op: "MultiHeadAttention",
      inputs: { q: qkv.q, k: floats(batch, heads, keys, width), v: floats(batch, heads, keys, width) },
      ints: { num_heads: heads },
    },
  ],
  [
    "over a cache, with the new one",
    {
      op: "MultiHeadAttention",
      inputs: {
        ...{ q: qkv.q, k: qkv.q, v: qkv.q, bias: undefined, mask: undefined, added: undefined },
        ...{ pastKey: floats(batch, heads, 4, width), pastValue: floats(batch, heads, 4, width) },
      },
      ints: { num_heads: heads, unidirectional: 1 },
      outputs: ["y", "key", "value"],
    },
  ],
])("MultiHeadAttention %s", (_, one) => compare(one));

const x = floats(batch, queries, embed);
const weight = floats(embed, 3 * embed);

it.each<[string, Case]>([
  ["plain", { op: "Attention", inputs: { x, weight, bias: floats(3 * embed) }, ints: { num_heads: heads } }],
  [
    "causal, over a cache, with the new one",
    {
      op: "Attention",
      inputs: { x, weight, bias: floats(3 * embed), mask: undefined, past: floats(2, batch, heads, 3, width) },
      ints: { num_heads: heads, unidirectional: 1 },
      outputs: ["y", "present"],
    },
  ],
  [
    "with a mask of keys",
    {
      op: "Attention",
      inputs: { x, weight, bias: floats(3 * embed), mask: whole([batch, queries], [1, 1, 1, 0, 0, 1, 1, 1, 1, 0]) },
      ints: { num_heads: heads },
    },
  ],
  [
    "with numbers of valid keys, and widths of its own",
    {
      op: "Attention",
      inputs: { x, weight: floats(embed, 12 + 12 + 6), bias: floats(30), mask: whole([batch], [3, 5]) },
      ints: { num_heads: heads },
      lists: { qkv_hidden_sizes: [12, 12, 6] },
    },
  ],
])("Attention %s", (_, one) => compare(one));

it.each<{ positions: Given; ints: Readonly<Record<string, number>> }>([
  { positions: whole([1], [2], true), ints: {} },
  { positions: whole([batch, queries], [0, 1, 2, 3, 4, 9, 3, 5, 7, 1], true), ints: { interleaved: 1 } },
])("RotaryEmbedding at $positions.ints", ({ positions, ints }) =>
  compare({
    op: "RotaryEmbedding",
    inputs: { x: floats(batch, queries, embed), positions, cos: floats(10, width / 2), sin: floats(10, width / 2) },
    ints,
  }),
);

it("RotaryEmbedding of a part of each head", () =>
  compare({
    op: "RotaryEmbedding",
    inputs: {
      x: floats(batch, heads, queries, 8),
      positions: whole([batch, queries], [0, 1, 2, 3, 4, 9, 3, 5, 7, 1], true),
      ...{ cos: floats(10, 2), sin: floats(10, 2) },
    },
    ints: { rotary_embedding_dim: 4, num_heads: heads },
  }));

// onnxruntime rotates heads of a multiple of 16.
const [group, wide] = [2, 16];
const tables = { cos: floats(32, wide / 2), sin: floats(32, wide / 2) };

it.each<[string, Case["ints"]]>([
  ["plain", {}],
  ["rotated", { do_rotary: 1 }],
  ["rotated in pairs, over the last tokens", { do_rotary: 1, rotary_interleaved: 1, local_window_size: 3 }],
])("GroupQueryAttention of a prompt, %s", (_, ints) =>
  compare({
    op: "GroupQueryAttention",
    inputs: {
      q: floats(batch, queries, 2 * group * wide),
      k: floats(batch, queries, group * wide),
      v: floats(batch, queries, group * wide),
      ...{ pastKey: undefined, pastValue: undefined },
      last: whole([batch], [queries - 1, queries - 1]),
      total: whole([1], [queries]),
      ...(ints?.do_rotary ? tables : {}),
    },
    ints: { num_heads: 2 * group, kv_num_heads: group, ...ints },
    outputs: ["y", "key", "value"],
  }),
);

/**
 * A cache of so many tokens, the last place of each row, and the number of new tokens; all tokens of the longest row.
 */
const overCache = (cached: number, last: readonly number[], tokens: number, ints: Case["ints"] = {}): Case => {
  const total = Math.max(...last) + 1;
  return {
    op: "GroupQueryAttention",
    inputs: {
      q: floats(last.length, tokens, 2 * group * wide),
      k: floats(last.length, tokens, group * wide),
      v: floats(last.length, tokens, group * wide),
      pastKey: floats(last.length, group, cached, wide),
      pastValue: floats(last.length, group, cached, wide),
      last: whole([last.length], last),
      total: whole([1], [total]),
      ...(ints.do_rotary ? tables : {}),
    },
    ints: { num_heads: 2 * group, kv_num_heads: group, ...ints },
    outputs: ["y", "key", "value"],
    options: { constants: { total: [total] } },
  };
};

/** Whether an element of a result lies in its row's tokens: what a cache has behind them is not defined. */
const inRow = (last: readonly number[], cached: number) => (name: string, i: number) => {
  const [row, token] = [Math.floor(i / (group * cached * wide)), Math.floor(i / wide) % cached];
  return name === "y" || token <= last[row]!;
};

it.each<[string, readonly number[], number, Case["ints"]]>([
  ["whose rows are equally long", [7, 7], 1, { do_rotary: 1 }],
  ["in several tokens at once", [9], 3, { do_rotary: 1 }],
  ["near the last tokens", [7, 7], 1, { local_window_size: 3 }],
  ["whose rows have different lengths", [7, 4], 1, { do_rotary: 1 }],
])("GroupQueryAttention over a cache %s", (_, last, tokens, ints) =>
  compare(overCache(7, last, tokens, ints), inRow(last, 7 + tokens)),
);

it.each<[string, readonly number[], number, Case["ints"]]>([
  ["of one token", [3, 3], 1, { do_rotary: 1 }],
  ["of rows of different lengths", [3, 6], 1, { do_rotary: 1 }],
  ["of several tokens, near the last ones", [5], 3, { local_window_size: 2 }],
  ["of a prompt, when nothing is in it", [4, 4], 5, { do_rotary: 1 }],
  ["to its last place", [8], 2, {}],
])("GroupQueryAttention over a cache allocated to its maximum is written in place: %s", (_, last, tokens, ints) =>
  compare(overCache(9, last, tokens, ints), inRow(last, 9)),
);

it("GroupQueryAttention over a cache that may grow or be written in place asks for the number of tokens", async () => {
  const { options, ...one } = overCache(9, [3], 1);
  await expect(importOnnx(file(one))).rejects.toThrow(
    'whether a cache of 9 tokens grows or is written in place depends on "total", which is computed when the model runs: if it is an input, give it as one of `constants`',
  );
  const { graph } = await importOnnx(file(one), options);
  const lengths = graph.outputs.slice(1).map((o) => o.node.type.axes.find((a) => a.name.includes("token"))!.size);
  expect(lengths).toEqual([9, 9]);
});

it("GroupQueryAttention of a prompt whose rows are padded, at the tokens that there are", () => {
  const lengths = [5, 3];
  const perRow = queries * 2 * group * wide;
  return compare(
    {
      op: "GroupQueryAttention",
      inputs: {
        q: floats(batch, queries, 2 * group * wide),
        k: floats(batch, queries, group * wide),
        v: floats(batch, queries, group * wide),
        ...{ pastKey: undefined, pastValue: undefined },
        last: whole(
          [batch],
          lengths.map((n) => n - 1),
        ),
        total: whole([1], [queries]),
        ...tables,
      },
      ints: { num_heads: 2 * group, kv_num_heads: group, do_rotary: 1 },
      outputs: ["y"],
      names: ["y", "key", "value"],
    },
    (_, i) => i % perRow < lengths[Math.floor(i / perRow)]! * 2 * group * wide,
  );
});

it("MultiHeadAttention of packed operands, which onnxruntime's CPU lacks, is that of its parts", async () => {
  const packed = floats(batch, queries, heads, 3, width);
  const values = valuesOf(packed, 1);
  const of = (k: number) =>
    Float64Array.from(
      values.filter((_, i) => Math.floor(i / width) % 3 === k), // [batch, queries, heads, width]
    );
  const run = async (one: Case, given: Readonly<Record<string, Float64Array>>) => {
    const { graph } = await importOnnx(file(one));
    return evaluate(graph, new Map(Object.entries(given))).get("y")!.data;
  };
  const ints = { num_heads: heads };
  const made = await run({ op: "MultiHeadAttention", inputs: { q: packed }, ints }, { q: Float64Array.from(values) });
  const flat = floats(batch, queries, embed);
  const want = await run(
    { op: "MultiHeadAttention", inputs: { q: flat, k: flat, v: flat }, ints },
    { q: of(0), k: of(1), v: of(2) },
  );
  expect(made.length).toBe(batch * queries * embed);
  made.forEach((v, i) => void expect(v).toBeCloseTo(want[i]!, 12));
});

it("GroupQueryAttention of packed operands", () =>
  compare({
    op: "GroupQueryAttention",
    inputs: {
      q: floats(batch, 1, 4 * group * wide),
      ...{ k: undefined, v: undefined },
      ...{ pastKey: floats(batch, group, 7, wide), pastValue: floats(batch, group, 7, wide) },
      last: whole([batch], [7, 7]),
      total: whole([1], [8]),
      ...tables,
    },
    ints: { num_heads: 2 * group, kv_num_heads: group, do_rotary: 1 },
    outputs: ["y", "key", "value"],
    options: { constants: { total: [8] } },
  }));

it.each([
  { what: "words and positions", segments: undefined, positions: undefined },
  { what: "segments too", segments: whole([2, 3], [0, 1, 1, 0, 0, 1]), positions: undefined },
  { what: "given positions", segments: undefined, positions: whole([2, 3], [4, 0, 2, 1, 1, 3]) },
  { what: "words without a mask", segments: undefined, positions: undefined, mask: null },
])("EmbedLayerNormalization of $what", ({ segments, positions, mask = whole([2, 3], [1, 1, 0, 1, 1, 1]) }) =>
  compare({
    op: "EmbedLayerNormalization",
    inputs: {
      ids: whole([2, 3], [6, 0, 2, 1, 5, 3]),
      segments,
      ...{ words: floats(7, 8), places: floats(5, 8), kinds: segments && floats(2, 8) },
      ...{ gamma: floats(8), beta: floats(8) },
      mask: mask ?? undefined,
      positions,
    },
    floats: { epsilon: 1e-6 },
    outputs: ["y", "lengths"],
  }),
);

it("a result that is not imported is named with its node where something reads it", async () => {
  const inputs = { x: floats(1, 2, 8), skip: floats(1, 2, 8), gamma: floats(8), beta: floats(8) };
  const norm = { op: "SkipLayerNormalization", inputs, names: ["y", "mean"] };
  await expect(importOnnx(file(norm))).rejects.toThrow(
    'the output "mean" is output 1 of node "SkipLayerNormalization" (com.microsoft.SkipLayerNormalization), which is not supported',
  );
  expect((await importOnnx(file(norm), { outputs: ["y"] })).graph.outputs).toHaveLength(1);
});

it("GroupQueryAttention over a quantized cache is refused", async () => {
  const inputs = {
    ...{ q: floats(1, 1, 4), k: floats(1, 1, 4), v: floats(1, 1, 4), pastKey: undefined, pastValue: undefined },
    ...{ last: whole([1], [0]), total: whole([1], [1]) },
  };
  const ints = { num_heads: 1, kv_num_heads: 1 };
  const refused = importOnnx(file({ op: "GroupQueryAttention", inputs, ints, texts: { k_quant_type: "PER_TENSOR" } }));
  await expect(refused).rejects.toThrow("k_quant_type PER_TENSOR is not imported");
});
