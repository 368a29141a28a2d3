/**
 * A ViT for images of a height and a width, as person re-identification uses, as somebody else would write it.
 * Dosovitskiy et al. 2021, arXiv:2010.11929; names of transformers' ViTForImageClassification.
 */
import * as h from "../../../dsl/index.ts";

const config = { width: 16, depth: 2, heads: 2, mlp: 24, rows: 24, columns: 8, patch: 4, classes: 3 };
type Settings = { readonly [K in keyof typeof config]: number };
type Tokens = h.Tensor<"batch" | "token" | "embed">;

const gridOf = (c: Settings) => [c.rows / c.patch, c.columns / c.patch] as const;
const sizeOf = (c: Settings): h.ImageSize => [c.rows, c.columns];

function states(p: h.Params, c: Settings): Tokens[] {
  const [batch, embed, hidden] = [h.axis("batch", "batch"), h.axis("embed", c.width), h.axis("hidden", c.mlp)];
  const [heads, dim] = [h.axis("heads", c.heads), h.axis("head_dim", c.width / c.heads)];
  const patches = gridOf(c)[0] * gridOf(c)[1];
  const [patch, token, key] = [h.axis("token", patches), h.axis("token", patches + 1), h.axis("key", patches + 1)];
  const image = h.imageAxes([c.rows, c.columns]);
  const pixels = h.input("pixels", "f32", [batch, image.channel, image.row, image.column]);

  const at = p.scope("embeddings");
  const projection = at.scope("patch_embeddings.projection");
  const seen = h.patchEmbedding<"batch", "embed", "token">(projection, pixels, image, c.patch, embed, patch);
  const first = h.broadcast(at.parameter("cls_token", [h.axis("token", 1), embed], h.normal(0.02)), batch) as Tokens;
  const positions = at.parameter("position_embeddings", [token, embed], h.normal(0.02));
  const all: Tokens[] = [h.add(h.concat([first, seen], token), positions)];
  const norm = (scope: h.Params, x: Tokens) => h.layerNorm(scope, x, [embed], 1e-12);
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`encoder.layer.${i}`);
    const x = all.at(-1)!;
    const normed = norm(layer.scope("layernorm_before"), x);
    const project = (name: string) =>
      h.linear(layer.scope(`attention.attention.${name}`), normed, [embed], [heads, dim]);
    const [k, v] = [h.rename(project("key"), token, key), h.rename(project("value"), token, key)];
    const mixed = h.attention(project("query"), k, v, { dot: dim, over: key });
    const y: Tokens = h.add(x, h.linear(layer.scope("attention.output.dense"), mixed, [heads, dim], [embed]));
    const inner = h.linear(
      layer.scope("intermediate.dense"),
      norm(layer.scope("layernorm_after"), y),
      [embed],
      [hidden],
    );
    all.push(h.add(y, h.linear(layer.scope("output.dense"), h.gelu(inner), [hidden], [embed])));
  }
  return all;
}

function logits(p: h.Params, c: Settings): h.Tensor<"batch" | "label"> {
  const last = states(p.scope("vit"), c).at(-1)!;
  const [token, embed] = [h.axisOf(last, "token"), h.axisOf(last, "embed")];
  const first = h.at(h.layerNorm(p.scope("vit.layernorm"), last, [embed], 1e-12), token, 0);
  return h.linear(p.scope("classifier"), first, [embed], [h.axis("label", c.classes)]);
}

const both = (path: string, to: string, from: string) => [
  h.same(`${path}.weight`, `${to} ${from}`),
  h.same(`${path}.bias`, to),
];
const norms = (...paths: string[]) =>
  paths.flatMap((path) => [h.same(`${path}.weight`, "embed"), h.same(`${path}.bias`, "embed")]);

const layout: readonly h.TensorRule[] = [
  ...h.under("vit", "vit", [
    h.same("embeddings.cls_token", "1 token embed"),
    h.same("embeddings.position_embeddings", "1 token embed"),
    h.same("embeddings.patch_embeddings.projection.weight", "embed channel patch_row patch_column"),
    h.same("embeddings.patch_embeddings.projection.bias", "embed"),
    ...h.under("encoder.layer.{}", "encoder.layer.{}", [
      ...["query", "key", "value"].flatMap((of) => both(`attention.attention.${of}`, "heads*head_dim", "embed")),
      ...both("attention.output.dense", "embed", "heads*head_dim"),
      ...both("intermediate.dense", "hidden", "embed"),
      ...both("output.dense", "embed", "hidden"),
      ...norms("layernorm_before", "layernorm_after"),
    ]),
    ...norms("layernorm"),
  ]),
  ...both("classifier", "label", "embed"),
];

export default h.defineModel<Settings>({
  name: "tall-vit",
  summary: "a ViT of tall images",
  config,
  build: (p, c) => ({ logits: logits(p, c) }),
  graphs: {
    states: {
      summary: "the hidden states",
      build: (p, c) => Object.fromEntries(states(p.scope("vit"), c).map((x, i) => [`block.${i}`, x])),
    },
  },
  stages: {
    classes: (c, given) => {
      const { steps, batch, rate, crop } = h.settled({ steps: 12, batch: 4, rate: 0.01, crop: 1 }, given);
      return {
        config: c,
        ...{ steps, batch, rate },
        settings: { crop },
        startsFrom: ["nothing"],
        stage: h.defineStage({
          name: "classes",
          loss: (p) => {
            const scores = logits(p, c);
            const rows = h.axisOf(scores, "batch");
            const label = h.input("label", "i32", [rows]);
            return { loss: h.mean(h.crossEntropy(scores, label, h.axisOf(scores, "label")), rows) };
          },
          optimizer: { rate: h.constantRate(rate) },
        }),
        data: h.stageData<"labels">({
          kind: "labels",
          image: {
            ...{ size: sizeOf(c), fit: "crop" },
            augmentation: { flip: 0.5, ...(crop < 1 && { scale: [crop, 1] as const }) },
          },
          classes: c.classes,
          feeds: (samples) => ({ label: h.perRow(samples.map((s) => s.label)) }),
        }),
      };
    },
  },
  modes: { features: { graph: "states", before: 1 }, classify: { output: "logits" } },
  preprocessing: { ...h.imagenetPreprocessing },
  checkpoints: {
    layouts: [layout],
    fit: h.fitGridPositions<Settings>((parameter) => parameter === "vit.embeddings.position_embeddings", {
      grid: gridOf,
    }),
  },
});
