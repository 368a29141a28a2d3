/** SegFormer as a stranger would write it: Xie et al. 2021, arXiv:2105.15203; SegformerForSemanticSegmentation. */
import * as h from "../../../dsl/index.ts";

const config = {
  image: 64,
  widths: [8, 12, 16, 24],
  depths: [1, 2, 1, 1],
  heads: [1, 2, 2, 3],
  reductions: [8, 4, 2, 1],
  kernels: [7, 3, 3, 3],
  strides: [4, 2, 2, 2],
  ratios: [4, 4, 4, 4],
  decoder: 16,
  classes: 5,
};
type Settings = typeof config;
type FMap = h.FeatureMap<"batch" | "embed">;

const affine = (p: h.Params, x: FMap, epsilon = 1e-5): FMap => h.layerNorm(p, x, [h.axisOf(x, "embed")], epsilon);

function attention(p: h.Params, x: FMap, c: Settings, i: number): FMap {
  const embed = h.axisOf(x, "embed");
  const [heads, dim] = [h.axis("heads", c.heads[i]!), h.axis("head_dim", c.widths[i]! / c.heads[i]!)];
  const own = p.scope("self");
  const query = h.linear(own.scope("query"), x, [embed], [heads, dim]);
  const r = c.reductions[i]!;
  let seen: FMap = x;
  if (r > 1) {
    const out = h.axis("reduced", c.widths[i]!);
    const small = h.convolution(own.scope("sr"), x, embed, out, { kernel: r, stride: r, padding: 0 });
    seen = affine(own.scope("layer_norm"), h.rename(small, out, embed) as FMap);
  }
  const key = h.axis("key", h.mulDims(h.axisOf(seen, "row").size, h.axisOf(seen, "column").size));
  const flat = h.merge(seen, [h.axisOf(seen, "row"), h.axisOf(seen, "column")], key);
  const [k, v] = ["key", "value"].map((name) => h.linear(own.scope(name), flat, [embed], [heads, dim]));
  const mixed = h.attention(query, k!, v!, { dot: dim, over: key });
  return h.linear(p.scope("output.dense"), mixed, [heads, dim], [embed]) as FMap;
}

function mixFfn(p: h.Params, x: FMap, ratio: number): FMap {
  const embed = h.axisOf(x, "embed");
  const hidden = h.axis("hidden", (embed.size as number) * ratio);
  const up = h.linear(p.scope("dense1"), x, [embed], [hidden]);
  const out = h.axis("hidden", hidden.size);
  const deep = h.convolution(p.scope("dwconv.dwconv"), up as h.FeatureMap<"batch" | "hidden">, hidden, out, {
    kernel: 3,
    groups: hidden.size as number,
  });
  return h.linear(p.scope("dense2"), h.gelu(deep), [hidden], [embed]) as FMap;
}

function encoder(p: h.Params, c: Settings): FMap[] {
  const image = h.imageAxes(c.image);
  const pixels = h.input("pixels", "f32", [h.axis("batch", "batch"), image.channel, image.row, image.column]);
  const maps: FMap[] = [];
  for (const [i, width] of c.widths.entries()) {
    const embed = h.axis("embed", width);
    const patch = p.scope(`patch_embeddings.${i}`);
    const kernel = c.kernels[i]!;
    const padding = Math.floor(kernel / 2);
    const window = { kernel, stride: c.strides[i]!, padding } as const;
    const from = maps.length === 0 ? pixels : h.rename(maps.at(-1)!, h.axisOf(maps.at(-1)!, "embed"), image.channel);
    const channel = h.axisOf(from, "channel");
    let y: FMap = h.convolution<"batch" | "channel", "channel", "embed">(
      patch.scope("proj"),
      from,
      channel,
      embed,
      window,
    );
    y = affine(patch.scope("layer_norm"), y);
    for (let j = 0; j < c.depths[i]!; j++) {
      const block = p.scope(`block.${i}.${j}`);
      y = h.add(y, attention(block.scope("attention"), affine(block.scope("layer_norm_1"), y), c, i));
      y = h.add(y, mixFfn(block.scope("mlp"), affine(block.scope("layer_norm_2"), y), c.ratios[i]!));
    }
    y = affine(p.scope(`layer_norm.${i}`), y);
    maps.push(y);
  }
  return maps;
}

function decode(p: h.Params, maps: readonly FMap[], c: Settings, updates: h.StateUpdate[]) {
  const embed = h.axis("decoder", c.decoder);
  const [rows, columns] = [h.axisOf(maps[0]!, "row").size, h.axisOf(maps[0]!, "column").size];
  const all = maps.map((map, i) => {
    const to = h.linear(p.scope(`linear_c.${i}.proj`), map, [h.axisOf(map, "embed")], [embed]);
    return h.resize(to as h.FeatureMap<"batch" | "decoder">, rows, columns, h.bilinear);
  });
  const joined = h.concat(all.reverse(), embed) as h.FeatureMap<"batch" | "decoder">;
  const fused = h.axis("fused", c.decoder);
  const options = { kernel: 1, padding: 0, bias: false } as const;
  const mixed = h.convolution(p.scope("linear_fuse"), joined, h.axisOf(joined, "decoder"), fused, options);
  const normed = h.relu(h.batchNorm(p.scope("batch_norm"), mixed, fused, { updates }));
  return h.convolution(
    p.scope("classifier"),
    normed as h.FeatureMap<"batch" | "fused">,
    fused,
    h.axis("class", c.classes),
    {
      kernel: 1,
      padding: 0,
    },
  );
}

const scores = (p: h.Params, c: Settings, updates: h.StateUpdate[] = []) =>
  decode(p.scope("decode_head"), encoder(p.scope("segformer.encoder"), c), c, updates);

const both = (path: string, axes: string): h.TensorRule[] => [
  h.same(`${path}.weight`, axes),
  h.same(`${path}.bias`, axes.split(" ")[0]!),
];
const layout: readonly h.TensorRule[] = [
  ...h.under("segformer.encoder", "segformer.encoder", [
    ...both("patch_embeddings.{}.proj", "embed channel kernel_row kernel_column"),
    ...both("patch_embeddings.{}.layer_norm", "embed"),
    ...both("layer_norm.{}", "embed"),
    ...h.under("block.{}.{}", "block.{}.{}", [
      ...both("layer_norm_1", "embed"),
      ...both("layer_norm_2", "embed"),
      ...["query", "key", "value"].flatMap((n) => both(`attention.self.${n}`, "heads*head_dim embed")),
      ...both("attention.self.sr", "reduced embed kernel_row kernel_column"),
      ...both("attention.self.layer_norm", "embed"),
      ...both("attention.output.dense", "embed heads*head_dim"),
      ...both("mlp.dense1", "hidden embed"),
      ...both("mlp.dense2", "embed hidden"),
      h.same("mlp.dwconv.dwconv.weight", "group*hidden_of_group hidden kernel_row kernel_column"),
      h.same("mlp.dwconv.dwconv.bias", "hidden"),
    ]),
  ]),
  ...h.under("decode_head", "decode_head", [
    ...both("linear_c.{}.proj", "decoder embed"),
    h.same("linear_fuse.weight", "fused decoder kernel_row kernel_column"),
    ...["weight", "bias", "running_mean", "running_var"].map((n) => h.same(`batch_norm.${n}`, "fused")),
    ...both("classifier", "class fused kernel_row kernel_column"),
  ]),
];

const fields = {
  widths: "hidden_sizes",
  depths: "depths",
  heads: "num_attention_heads",
  reductions: "sr_ratios",
  kernels: "patch_sizes",
  strides: "strides",
  ratios: "mlp_ratios",
  decoder: "decoder_hidden_size",
} as const;

export default h.defineModel<Settings>({
  name: "segformer",
  summary: "SegFormer: a class of each pixel",
  config,
  build: (p, c) => ({ logits: scores(p, c) }),
  graphs: {
    states: {
      summary: "the maps of the four stages",
      build: (p, c) => Object.fromEntries(encoder(p.scope("segformer.encoder"), c).map((m, i) => [`block.${i}`, m])),
    },
  },
  stages: {
    masks: (c, given) => {
      const { steps, batch, rate } = h.settled({ steps: 10, batch: 2, rate: 1e-3 }, given);
      return {
        config: c,
        ...{ steps, batch, rate },
        startsFrom: ["nothing"],
        stage: h.defineStage({
          name: "masks",
          loss: (p) => {
            const updates: h.StateUpdate[] = [];
            const map = scores(p, c, updates);
            const full = h.resize(map, c.image, c.image, h.bilinear);
            const [rows, row, column] = [h.axisOf(full, "batch"), h.axisOf(full, "row"), h.axisOf(full, "column")];
            const label = h.input("label", "i32", [rows, row, column]);
            const known = h.ne(label, 255);
            const each = h.crossEntropy(full, h.select(known, label, 0), h.axisOf(full, "class"));
            const weight = h.cast(known, "f32");
            const all = [rows, row, column];
            return { loss: h.div(h.sum(h.mul(each, weight), all), h.sum(weight, all)), updates };
          },
          optimizer: { rate: h.cosine({ peak: rate, steps }) },
        }),
        data: h.stageData<"masks">({
          kind: "masks",
          image: { size: c.image, fit: "squash" },
          classes: c.classes,
          feeds: (samples) => ({ label: h.maskRows(samples, c.image) }),
        }),
      };
    },
  },
  modes: { features: { graph: "states" }, segment: { output: "logits" } },
  preprocessing: { ...h.imagenetPreprocessing, fit: "squash" },
  checkpoints: {
    layouts: [layout],
    fit: h.fitHeads(["decode_head.classifier"]),
    config: {
      types: ["segformer"],
      read: (json, c) => ({
        ...c,
        ...(Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, json[field]])) as Partial<Settings>),
        image: json.image_size as number,
        classes: json.id2label ? Object.keys(json.id2label as object).length : c.classes,
      }),
      write: (c) => ({
        architectures: ["SegformerForSemanticSegmentation"],
        model_type: "segformer",
        ...Object.fromEntries(Object.entries(fields).map(([key, field]) => [field, c[key as keyof Settings]])),
        image_size: c.image,
        id2label: Object.fromEntries(Array.from({ length: c.classes }, (_, i) => [i, `LABEL_${i}`])),
      }),
    },
  },
});
