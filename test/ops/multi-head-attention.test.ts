/** The attention layer, against attention spelled out by head in plain loops. */
import { expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { hostTensor, inputName, makeGraph } from "../../compiler/index.ts";
import {
  axis,
  input,
  layerNorm,
  mlp,
  multiHeadAttention,
  normal,
  rootParams,
  uniform,
  zeros,
} from "../../dsl/index.ts";
import { createSession } from "../../runtime/index.ts";
import { seeded } from "../support/samples.ts";

const [rows, tokens, seenTokens, width, seenWidth, heads, dim] = [2, 3, 4, 6, 5, 2, 3];
const draw = seeded(7);
const drawn = (n: number) => Array.from({ length: n }, () => draw() - 0.5);

it.each([
  ["what is seen, of another width", "seen", heads, []],
  ["itself, causally", "causal", heads, []],
  ["what is seen, by queries that share keys", "seen", 1, []],
  ["what is seen, with a bias of each head's logits", "seen", heads, ["heads", "token", "key_token"]],
  ["what is seen, with a bias of the logits of queries that share keys", "seen", 1, ["batch", "group", "key_token"]],
  ["itself, causally, with a bias", "causal", heads, ["heads", "key_token"]],
] as const)("mixes values of %s", async (_, kind, keyHeads, biased) => {
  const own = kind === "causal";
  const [count, from] = own ? [tokens, width] : [seenTokens, seenWidth];
  const [batch, token] = [axis("batch", rows), axis("token", tokens)];
  const x = input("x", "f32", [batch, token, axis("embed", width)]);
  const seen = input("seen", "f32", [batch, axis("token", count), axis("embed", from)]);
  const sizes = { batch: rows, token: tokens, heads: keyHeads, group: heads / keyHeads, key_token: count };
  const ofBias = biased.map((name) => axis(name, sizes[name]));
  const logitBias = ofBias.length > 0 ? { logitBias: input("bias", "f32", ofBias) } : {};
  const made = multiHeadAttention(rootParams(), x, {
    ...{ heads, keyHeads, ...logitBias },
    ...(own ? { causal: true } : { seen }),
  });
  const graph = makeGraph("attend", [{ name: "y", node: made }]);
  const weights = new Map(
    graph.inputs
      .filter((n) => n.op === "parameter")
      .map((n) => {
        const axes = n.type.axes.map((a) => ({ name: a.name, size: a.size as number }));
        return [inputName(n), hostTensor("f32", axes, drawn(axes.reduce((k, a) => k * a.size, 1)))] as const;
      }),
  );
  const [xs, ys] = [drawn(rows * tokens * width), drawn(rows * count * from)];
  const session = await createSession(referenceBackend(), graph, weights);
  const feeds = { x: hostTensor("f32", [batch, token, axis("embed", width)] as never, xs) };
  const other = { seen: hostTensor("f32", [batch, axis("token", count), axis("embed", from)] as never, ys) };
  const added = hostTensor("f32", ofBias as never, drawn(ofBias.reduce((n, a) => n * (a.size as number), 1)));
  const more = { ...(!own && other), ...(ofBias.length > 0 && { bias: added }) };
  const { y } = await session.run({ ...feeds, ...more });
  const biasOf = (at: Readonly<Record<string, number>>) =>
    ofBias.length === 0 ? 0 : added.data[ofBias.reduce((n, a) => n * (a.size as number) + at[a.name]!, 0)]!;
  const of = (name: string) => weights.get(name)!.data;
  const shared = (h: number) => Math.floor((h * keyHeads) / heads);
  const project = (name: string, h: number, d: number, v: readonly number[]) =>
    of(`${name}.bias`)[h * dim + d]! +
    v.reduce((sum, e, i) => sum + e * of(`${name}.weight`)[(h * dim + d) * v.length + i]!, 0);
  for (let b = 0; b < rows; b++)
    for (let t = 0; t < tokens; t++) {
      const query = xs.slice((b * tokens + t) * width, (b * tokens + t + 1) * width);
      const keys = Array.from({ length: count }, (_, j) =>
        (own ? xs : ys).slice((b * count + j) * from, (b * count + j + 1) * from),
      ).slice(0, own ? t + 1 : count);
      const mixed = Array.from({ length: heads * dim }, (_, i) => {
        const [h, d] = [Math.floor(i / dim), i % dim];
        const place = { batch: b, token: t, heads: shared(h), group: h % (heads / keyHeads) };
        const scores = keys.map((k, j) => {
          let dot = 0;
          for (let e = 0; e < dim; e++) dot += project("q", h, e, query) * project("k", shared(h), e, k);
          return Math.exp(dot / Math.sqrt(dim) + biasOf({ ...place, key_token: j }));
        });
        const total = scores.reduce((s, v) => s + v, 0);
        return keys.reduce((sum, k, j) => sum + (scores[j]! / total) * project("v", shared(h), d, k), 0);
      });
      for (let e = 0; e < width; e++) {
        const want = of("out.bias")[e]! + mixed.reduce((s, m, i) => s + m * of("out.weight")[e * heads * dim + i]!, 0);
        expect(y!.data[(b * tokens + t) * width + e]).toBeCloseTo(want, 5);
      }
    }
});

it("takes keys without bias, a layer before the last projection, and another beginning of that", () => {
  const p = rootParams();
  const x = input("x", "f32", [axis("batch", rows), axis("token", tokens), axis("embed", width)]);
  const made = multiHeadAttention(p.scope("attn"), x, {
    ...{ heads, keyBias: false, init: normal(0.5), outInit: uniform(0, 1) },
    inner: (y, over) => layerNorm(p.scope("attn.norm"), y, [...over]),
  });
  const y = mlp(p.scope("mlp"), made, axis("embed", width), axis("hidden", 4), { outInit: zeros });
  const { inputs } = makeGraph("attend", [{ name: "y", node: y }]);
  const begins = new Map(inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), n.attrs.init]));
  expect(begins.get("attn.q.weight")).toEqual(normal(0.5));
  expect(begins.get("attn.out.weight")).toEqual(uniform(0, 1));
  expect(begins.get("mlp.fc2.weight")).toEqual(zeros);
  expect(begins.get("mlp.fc1.weight")).not.toEqual(zeros);
  expect(begins.has("attn.norm.weight")).toBe(true);
  expect([..."qkv"].filter((name) => begins.has(`attn.${name}.bias`))).toEqual(["q", "v"]);
});

it("refuses heads of keys that queries cannot share evenly", () => {
  const x = input("x", "f32", [axis("batch", rows), axis("token", tokens), axis("embed", width)]);
  expect(() => multiHeadAttention(rootParams(), x, { heads: 3, keyHeads: 2 })).toThrow(
    "3 query heads are not divisible by 2 key and value heads",
  );
});

it("refuses a bias with an axis that the logits do not have", () => {
  const x = input("x", "f32", [axis("batch", rows), axis("token", tokens), axis("embed", width)]);
  const logitBias = input("bias", "f32", [axis("head", heads), axis("token", tokens)]);
  expect(() => multiHeadAttention(rootParams(), x, { heads, logitBias })).toThrow(
    'logitBias of multiHeadAttention has the axis "head", but the logits have only [batch, token, heads, key_token]',
  );
});
