/** A model whose main graph serves no mode: another of its graphs has all the outputs that modes read. */
import * as h from "../../dsl/index.ts";

const config = { side: 8 };
const batch = h.axis("batch", "batch");

function pixels(side: number) {
  const image = h.imageAxes(side);
  return h.input("pixels", "f32", [batch, image.channel, image.row, image.column]);
}

/** The channels of an image are its classes. */
const colours = (side: number) => h.rename(pixels(side), h.axis("channel", 3), h.axis("class", 3));

export default h.defineModel<typeof config>({
  name: "served-graphs",
  summary: "the brightness of images; its heads are another graph",
  config,
  build: (_, c) => ({ brightness: h.mean(pixels(c.side), h.axis("channel", 3)) }),
  graphs: {
    heads: {
      summary: "the strength of each colour, of images and of their pixels, and unit vectors",
      build: (_, c) => {
        const map = colours(c.side);
        const scores = h.mean(h.mean(map, h.axisOf(map, "row")), h.axisOf(map, "column"));
        const ids = h.input("ids", "i32", [batch, h.axis("token", 4)]);
        const first = h.at(ids, h.axisOf(ids, "token"), 1);
        const letter = h.sub(h.cast(first, "f32"), 3 + "a".charCodeAt(0)); // of a byte tokenizer: a, b, c are 0, 1, 2
        const feature = h.axis("class", 3);
        const text = h.select(h.eq(h.cast(h.iota(feature), "f32"), letter), 1, 0);
        return { scores, map, image: h.l2Normalize(scores, feature), text };
      },
    },
  },
  modes: {
    classify: { graph: "heads", output: "scores" },
    segment: { graph: "heads", output: "map", stride: 1 },
    compare: { graph: "heads" },
  },
  preprocessing: { mean: [0, 0, 0], std: [1, 1, 1], interpolation: "bilinear" },
});
