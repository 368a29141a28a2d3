/** A classifier of images of any size: centres of patches relative to the image, averaged over the grid. */
import * as h from "../../dsl/index.ts";

const config = { patch: 4, width: 8, classes: 3 };
type Settings = typeof config;

function tokens(p: h.Params, c: Settings): h.Tensor<"batch" | "token" | "embed"> {
  const [rows, columns] = [h.symbol("rows", { max: 16 }), h.symbol("columns", { max: 16 })];
  const image = h.imageAxes([h.mulDims(c.patch, rows), h.mulDims(c.patch, columns)]);
  const pixels = h.input("pixels", "f32", [h.axis("batch", "batch"), image.channel, image.row, image.column]);
  const [embed, token] = [h.axis("embed", c.width), h.axis("token", h.mulDims(rows, columns))];
  const x: h.Tensor<"batch" | "token" | "embed"> = h.patchEmbedding(
    p.scope("stem"),
    pixels,
    image,
    c.patch,
    embed,
    token,
  );
  const { row, column } = h.gridPositions(token, columns);
  const centre = (at: h.Tensor<"token">, all: h.Dim) => h.div(h.add(h.cast(at, "f32"), 0.5), h.sizeOf(all));
  return h.add(x, h.add(centre(row, rows), h.scale(centre(column, columns), 2)));
}

function scores(p: h.Params, c: Settings): h.Tensor<"batch" | "class"> {
  const x = tokens(p, c);
  const pooled = h.mean(x, h.axisOf(x, "token"));
  return h.linear(p.scope("head"), pooled, [h.axisOf(x, "embed")], [h.axis("class", c.classes)]);
}

export default h.defineModel<Settings>({
  name: "any-size",
  summary: "a classifier of images of any size",
  config,
  build: (p, c) => ({ scores: scores(p, c) }),
  graphs: { states: { summary: "the patches", build: (p, c) => ({ "block.0": tokens(p, c) }) } },
  stages: {
    classes: (c, given) => {
      const { steps, batch, rate } = h.settled({ steps: 2, batch: 2, rate: 0.01 }, given);
      const loss = (p: h.Params) => {
        const logits = scores(p, c);
        const rows = h.axisOf(logits, "batch");
        const label = h.input("label", "i32", [rows]);
        return { loss: h.mean(h.crossEntropy(logits, label, h.axisOf(logits, "class")), rows) };
      };
      return {
        config: c,
        ...{ steps, batch, rate },
        startsFrom: ["nothing"],
        stage: h.defineStage({ name: "classes", loss, optimizer: { rate: h.constantRate(rate) } }),
        data: h.stageData<"labels">({
          kind: "labels",
          image: { size: [8, 12], fit: "squash" },
          classes: c.classes,
          feeds: (samples) => ({ label: h.perRow(samples.map((s) => s.label)) }),
        }),
      };
    },
  },
  preprocessing: { fit: "squash", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  modes: { features: { graph: "states" }, classify: { output: "scores" } },
});
