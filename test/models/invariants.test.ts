import { describe, expect, test } from "vitest";
import { type Graph, type HostTensor, hostTensor, makeGraph, type Node, nodesOf } from "../../compiler/index.ts";
import { axis, input, rootParams, slice, transpose } from "../../dsl/index.ts";
import {
  captionStep,
  type GenerativeConfig,
  idsInput,
  internvit6b,
  languageHead,
  llama,
  type Pass,
  passVisible,
  pixelsInput,
  qllama,
  queryFeatures,
  textAxes,
  textEmbedding,
  visionTokens,
} from "../../models/index.ts";
import { executors, runOnce } from "./executors.ts";
import { anyFeeds, anyWeights, difference } from "./support.ts";

const config: GenerativeConfig = {
  vision: { ...internvit6b, width: 6, depth: 1, heads: 1, mlp: 7, image: 4, patch: 2 },
  text: {
    width: 8,
    depth: 3,
    heads: 2,
    mlp: 9,
    vocab: 13,
    context: 5,
    epsilon: 1e-6,
    attentionBias: false,
    rotaryBase: 10000,
    queries: 4,
    crossEvery: 2,
  },
  embed: 6,
  poolingHeads: 2,
};
const { context, queries } = config.text;
const sizes = { batch: 2, past: 0, tokens: 1 };
const part = (name: string, node: Node) => ({ name, node });
const idsOf = (rows: readonly (readonly number[])[]) =>
  hostTensor(
    "i32",
    [
      { name: "batch", size: rows.length },
      { name: "token", size: context },
    ],
    rows.flat(),
  );

/** Two texts, one with padding; and two others. */
const texts = idsOf([
  [1, 5, 6, 7, 2],
  [1, 9, 2, 0, 0],
]);
const others = idsOf([
  [1, 8, 2, 0, 0],
  [1, 3, 4, 11, 2],
]);

const executor = executors[0]!;

/** Queries and text of a pass, the queries alone, the text alone, with everything that they share. */
function features(pass: Pass): Graph {
  const p = rootParams().shared();
  const ids = idsInput(config.text);
  const vision = visionTokens(p, pixelsInput(config.vision), config);
  const out = qllama(p, vision, ids, config.text, pass);
  return makeGraph(pass, [
    part("queries", out.queries),
    part("text", out.text),
    part("queriesAlone", queryFeatures(p, vision, config.text)),
    part("textAlone", llama(p.scope("qllama.model"), ids, config.text)),
  ]);
}

async function run(graph: Graph, ids: HostTensor, seed = 1) {
  return await runOnce(executor, graph, { ...anyFeeds(graph, sizes, seed), ids }, anyWeights(graph, 5));
}

/** The features of tokens that are not padding. */
const ofTokens = (x: HostTensor, ids: HostTensor) =>
  Array.from(x.data).filter((_, i) => ids.data[Math.floor(i / config.text.width)] !== 0);

describe("QLLaMA", () => {
  test.each(["contrastive", "generative"] as const)("asks the same in the %s pass as with no text", async (pass) => {
    const graph = features(pass);
    const [first, second] = [await run(graph, texts), await run(graph, others)];
    expect(difference(first.queries!.data, first.queriesAlone!.data)).toBeLessThan(1e-12);
    expect(difference(second.queries!.data, first.queries!.data)).toBeLessThan(1e-12);
  });

  test("lets its queries see the text in the matching pass", async () => {
    const graph = features("matching");
    const [first, second] = [await run(graph, texts), await run(graph, others)];
    expect(difference(second.queries!.data, first.queries!.data)).toBeGreaterThan(1e-3);
  });

  test("reads a text in the contrastive pass as it does alone, places and all", async () => {
    const got = await run(features("contrastive"), texts);
    // Rotary attention sees distances only, so that text may begin at 0 or after the queries.
    expect(difference(ofTokens(got.text!, texts), ofTokens(got.textAlone!, texts))).toBeLessThan(1e-12);
  });

  test.each([
    { pass: "contrastive" as const, sees: false },
    { pass: "generative" as const, sees: true },
    { pass: "matching" as const, sees: true },
  ])("has texts that depend on the image in the $pass pass: $sees", async ({ pass, sees }) => {
    const graph = features(pass);
    const [first, second] = [await run(graph, texts, 1), await run(graph, texts, 2)];
    const apart = difference(ofTokens(second.text!, texts), ofTokens(first.text!, texts));
    if (sees) expect(apart).toBeGreaterThan(1e-3);
    else expect(apart).toBeLessThan(1e-12);
  });

  test("embeds texts without queries, cross-attention or image", () => {
    const graph = makeGraph("text", [part("text", textEmbedding(rootParams(), idsInput(config.text), config))]);
    const names = nodesOf(graph).flatMap((n) =>
      n.op === "parameter" || n.op === "input" ? [String(n.attrs.name)] : [],
    );
    expect(names.filter((n) => /cross_attn|query|vision|pixels/.test(n))).toEqual([]);
    expect(names).toContain("ids");
  });

  test("computes the keys and values of the image once for all passes", () => {
    const p = rootParams().shared();
    const vision = visionTokens(p, pixelsInput(config.vision), config);
    const passes = (["matching", "contrastive", "generative"] as const).map((pass) =>
      qllama(p, vision, idsInput(config.text, pass), config.text, pass),
    );
    const nodes = nodesOf(
      makeGraph(
        "passes",
        passes.map((out, i) => part(`${i}`, out.text)),
      ),
    );
    const keys = nodes.filter((n) => n.op === "contract" && n.operands.some(isKeyWeight));
    expect(keys.length).toBe(2); // layers 0 and 2
  });

  test("writes with a cache what the generative pass says", async () => {
    const p = rootParams().shared();
    const ids = idsInput(config.text);
    const a = textAxes(config.text);
    const vision = visionTokens(p, pixelsInput(config.vision), config);
    const out = qllama(p, vision, ids, config.text, "generative");
    const logits = transpose(languageHead(p.scope("qllama"), out.text, a, config.text), [a.batch, a.token, a.vocab]);
    // Keys and values of all but the last text token, as a prefill leaves them.
    const before = queries + context - 1;
    const keys = axis("key_token", before + 1);
    const memory = out.memory.flatMap(({ key, value }, i) =>
      Object.entries({ key, value }).map(([what, x]) => {
        const kept = slice(x, keys, 0, before);
        return part(`past_key_values.${i}.${what}`, transpose(kept, [a.batch, a.heads, keys, a.headDim]));
      }),
    );
    const whole = makeGraph("whole", [part("logits", logits), ...memory]);
    const full = idsOf([
      [1, 5, 6, 7, 3],
      [1, 9, 4, 8, 12],
    ]);
    const expected = await run(whole, full);
    const step = makeGraph(
      "step",
      Object.entries(captionStep(rootParams(), config)).map(([n, node]) => part(n, node)),
    );
    const rows = { name: "batch", size: 2 };
    const one = [rows, { name: "token", size: 1 }];
    const { logits: want, ...past } = expected;
    const feeds = {
      ...past,
      input_ids: hostTensor("i32", one, [3, 12]),
      position_ids: hostTensor("i32", one, [before, before]),
      attention_mask: hostTensor(
        "i32",
        [rows, { name: "key_token", size: before + 1 }],
        new Array(2 * before + 2).fill(1),
      ),
    };
    const got = await runOnce(executor, step, feeds, anyWeights(whole, 5));
    const { vocab } = config.text;
    const last = [0, 1].flatMap((b) =>
      Array.from(want!.data).slice(((b + 1) * context - 1) * vocab, (b + 1) * context * vocab),
    );
    expect(difference(got.logits!.data, last)).toBeLessThan(1e-12);
  });
});

const isKeyWeight = (n: Node) => n.op === "parameter" && String(n.attrs.name).endsWith("cross_attn.k_proj.weight");

/** Section 2.3 of the reference: who sees whom, for queries (q) and a text of 3 tokens and padding. */
const masks: readonly { readonly pass: Pass; readonly rows: readonly string[] }[] = [
  { pass: "matching", rows: ["qqtttppp", "qqtttppp", "qqtttppp", "qqtttppp", "qqtttppp"] },
  { pass: "contrastive", rows: ["qq", "qq", "  t", "  tt", "  ttt"] },
  { pass: "generative", rows: ["qq", "qq", "qqt", "qqtt", "qqttt"] },
];

describe("the masks of the passes", () => {
  test.each(masks)("are those of the table: $pass", async ({ pass, rows }) => {
    const c = { ...config.text, queries: 2 };
    const a = textAxes(c);
    const ids = input("ids", "i32", [a.batch, a.token]);
    const graph = makeGraph("mask", [part("mask", passVisible(pass, ids, c))]);
    const given = hostTensor(
      "i32",
      [
        { name: "batch", size: 1 },
        { name: "token", size: context },
      ],
      [1, 4, 2, 0, 0],
    );
    const { mask } = await runOnce(executor, graph, { ids: given }, new Map());
    const keys = queries - 2 + context; // two queries, three tokens, two of padding
    const seen = (row: number, key: number) => {
      const at = mask!.axes.length === 2 ? key : mask!.axes[1]!.name === "token" ? row * keys + key : key * keys + row;
      return mask!.data[at] === 1;
    };
    for (const [row, text] of rows.entries()) {
      const want = Array.from(
        { length: keys },
        (_, key) => key < 5 && "qt".includes(text[key] ?? " ") && text[key] !== " ",
      );
      expect(
        Array.from({ length: keys }, (_, key) => seen(row, key)),
        `row ${row}`,
      ).toEqual(want);
    }
  });
});
